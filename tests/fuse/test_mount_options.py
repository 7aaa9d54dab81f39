from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readyfs.fuse.mount_options import render_mount_options


def test_mount_is_read_only_and_runs_nothing() -> None:
    """V8."""
    options = render_mount_options("sqlite:/data/state.db", allow_other=False)
    assert {"ro", "nosuid", "nodev", "noexec", "default_permissions"} <= set(options)
    assert "subtype=readyfs" in options
    assert "fsname=sqlite:/data/state.db" in options


@pytest.mark.parametrize("allowed", [True, False])
def test_others_are_let_in_only_when_told_so(allowed: bool) -> None:
    assert ("allow_other" in render_mount_options("x", allow_other=allowed)) is allowed


@given(st.text())
def test_no_label_can_add_an_option(label: str) -> None:
    """Options are joined by commas, and a backslash or newline means something to mount(8) and mountinfo."""
    options = render_mount_options(label, allow_other=False)
    assert len(options) == len(render_mount_options("x", allow_other=False))
    text = ",".join(options)
    assert text.count(",") == len(options) - 1
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set("\\ \"'")


def test_unsafe_characters_of_the_label_are_replaced() -> None:
    options = render_mount_options("sqlite:/a b,allow_other\\012ü", allow_other=False)
    assert "fsname=sqlite:/a_b_allow_other_012_" in options
