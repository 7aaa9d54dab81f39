"""What a refusal says to the person at the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from readyfs.errors import MountPointError, UserError


def refusal(act: Callable[[], object], kind: type[UserError] = MountPointError) -> str:
    """Return the one line with which something is refused; check its class and that it has a remedy."""
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return str(caught.value)
