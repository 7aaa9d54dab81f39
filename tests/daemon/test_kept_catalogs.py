"""Views that go while somebody asks for them: each answer is of before, and told of, or says that it has expired."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from readyfs.catalog.tree import Catalog
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.history.moments import Moment
from readyfs.pins.file import PinFile
from readyfs.pins.lease_clock import LeaseClock
from readyfs.pins.limits import Limits
from readyfs.pins.registry import Registry
from readyfs.vfs.views import View
from tests.catalog.rows import Row, build

CATALOG = build([Row()])
NAME = CATALOG.fingerprint
LIMITS = Limits(default_s=60.0, max_s=60.0, grace_s=60.0, per_user=3, memory=1 << 30)


class FakeHistory:
    """Keeps one catalog until it is dropped, of which it may be late to tell. `meanwhile` comes after an answer."""

    def __init__(self) -> None:
        self.kept: dict[str, Catalog] = {NAME: CATALOG}
        self.held: Callable[[], Collection[str]] = tuple
        self.on_removed: Callable[[str], None] = lambda fingerprint: None
        self.meanwhile: Callable[[], None] = lambda: None

    def moments(self) -> Sequence[Moment]:
        moments = [Moment(one, 1) for one in self.kept]
        self.meanwhile()
        return moments

    def find(self, name: str) -> str | None:
        return None

    def first_taken_at_ns(self, fingerprint: str) -> int | None:
        taken_at_ns = 1 if fingerprint in self.kept else None
        self.meanwhile()
        return taken_at_ns

    def catalog(self, fingerprint: str, *, may_block: bool) -> Catalog | None:
        return self.kept.get(fingerprint)

    def drop(self) -> None:
        self.meanwhile = lambda: None
        del self.kept[NAME]
        self.on_removed(NAME)


@pytest.fixture
def history() -> FakeHistory:
    return FakeHistory()


@pytest.fixture
def kept(history: FakeHistory, tmp_path: Path) -> KeptCatalogs:
    clock = LeaseClock(lambda: 1000.0, lambda: 10**18)
    return KeptCatalogs(history, Registry(PinFile(tmp_path, Path("/mnt/ready"), clock), LIMITS, clock))


def find(kept: KeptCatalogs) -> View:
    view = kept.find(NAME, may_block=False)
    assert view is not None
    return view


def test_view_of_which_the_history_has_not_told_yet_has_expired(history: FakeHistory, kept: KeptCatalogs) -> None:
    assert not find(kept).expired
    del history.kept[NAME]
    assert list(kept.held()) == [NAME]
    assert find(kept).expired
    assert kept.advance() == [NAME]
    history.on_removed(NAME)
    assert (find(kept).expired, kept.advance()) == (True, [])


@pytest.mark.parametrize("is_known", [True, False])
def test_view_that_goes_while_it_is_looked_for_has_expired(
    history: FakeHistory, kept: KeptCatalogs, is_known: bool
) -> None:
    if is_known:
        assert not find(kept).expired
    history.meanwhile = history.drop
    view = find(kept)
    assert kept.advance() == [NAME]
    # Whoever was told of it as it was before is told of its end.
    assert view.expired
    assert find(kept).expired
    assert list(kept.held()) == [NAME]
