"""The options of the mount, as mount.fuse(8) and mount(8) name them."""

from __future__ import annotations

import re
from typing import Final

# Options are a comma-separated ASCII string: anything else in the name could add options of its own.
_UNSAFE_IN_FSNAME: Final = re.compile(r"[^A-Za-z0-9._:/-]")


def render_mount_options(state_label: str, *, allow_other: bool) -> tuple[str, ...]:
    """Return the options; `state_label` names the state store without secrets and shows as the mount's source."""
    options = (
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "default_permissions",
        "subtype=readyfs",
        f"fsname={_UNSAFE_IN_FSNAME.sub('_', state_label)}",
    )
    return (*options, "allow_other") if allow_other else options
