"""Views that go while somebody asks for them: each answer is of before, and told of, or says that it has expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from readyfs.catalog.tree import Catalog
from readyfs.daemon.kept_catalogs import KeptCatalogs
from readyfs.history.moments import Moment
from readyfs.pins.asker import Asker
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
        self.asked: Counter[str] = Counter()

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
        self.asked[fingerprint] += 1
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


def test_view_that_was_looked_at_is_answered_without_a_question_until_the_history_tells_of_its_end(
    history: FakeHistory, kept: KeptCatalogs
) -> None:
    view = find(kept)
    assert find(kept) is view
    assert history.asked == {NAME: 1}
    del history.kept[NAME]
    # It ends for everybody at once, and the kernel is told afterwards: what is answered until then is of before.
    assert (list(kept.held()), find(kept).expired, kept.advance()) == ([NAME], False, [])
    history.on_removed(NAME)
    assert (list(kept.held()), find(kept).expired, kept.advance()) == ([NAME], True, [NAME])
    history.on_removed(NAME)
    assert (find(kept).expired, kept.advance()) == (True, [])


def test_view_that_is_kept_anew_in_its_grace_time_is_back(history: FakeHistory, kept: KeptCatalogs) -> None:
    assert not find(kept).expired
    history.drop()
    assert (find(kept).expired, kept.advance()) == (True, [NAME])
    history.kept[NAME] = CATALOG
    assert (find(kept).expired, kept.advance()) == (False, [NAME])
    history.drop()
    assert (find(kept).expired, kept.advance()) == (True, [NAME])


def test_end_of_the_leases_of_a_view_is_as_they_are_now(kept: KeptCatalogs) -> None:
    view = find(kept)
    registry, job = kept.registry, Asker(7)
    assert kept.expires_at_ns(NAME) is None
    registry.pin("job", 10.0, "", job, NAME, 1)
    ends_ns = registry.clock.wall_ns(1010.0)
    assert kept.expires_at_ns(NAME) == ends_ns
    registry.renew("job", 30.0, job)
    assert kept.expires_at_ns(NAME) == ends_ns + 20 * 10**9
    registry.confirm(registry.unpin("job", job))
    assert kept.expires_at_ns(NAME) is None
    assert find(kept) is view


@pytest.mark.parametrize("is_known", [True, False])
def test_view_that_goes_while_it_is_looked_for_has_expired(
    history: FakeHistory, kept: KeptCatalogs, is_known: bool
) -> None:
    if is_known:
        assert not find(kept).expired
        kept.let_go(NAME)  # so that it is looked for again
    history.meanwhile = history.drop
    view = find(kept)
    assert kept.advance() == [NAME]
    # Whoever was told of it as it was before is told of its end.
    assert view.expired
    assert find(kept).expired
    assert list(kept.held()) == [NAME]
