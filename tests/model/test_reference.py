"""The reference model itself: it must refuse what a mount must not show."""

from __future__ import annotations

import errno
from datetime import UTC, datetime

import pytest

from readyfs.demo.producer import LogicalPartition
from tests.model.reference import (
    REQUIRED,
    Ambiguous,
    FileRules,
    Mismatch,
    Ready,
    Reference,
    Row,
    RunKey,
    RunTruth,
    Seen,
    Version,
    shown_name,
    shown_path,
)

PARTITION = LogicalPartition("s1", "c1", "q1", "2024-06-01")
PATH = (b"c1", b"q1", b"2024-06-01")
NOW = datetime(2024, 6, 2, tzinfo=UTC)
NAME = b"payload.jsonl"


def row(run_id: str | None = "r1", status: str = "success") -> Row:
    return Row(status, run_id, NOW, 1)


def runs_of(version: Version) -> str | None:
    meaning = version.tree.get(PATH)
    return meaning.run.run_id if isinstance(meaning, Ready) else None


def test_only_ready_rows_make_paths() -> None:
    unready = [row(status="failed"), row(status="pending"), row(run_id=None), row(run_id="")]
    assert not any(Version(1, {PARTITION: one}).tree for one in unready)
    assert [Version(1, {PARTITION: one}).withheld for one in unready] == [0, 0, 1, 1]
    version = Version(1, {PARTITION: row()})
    assert list(version.tree) == [PATH]
    assert version.names == {(): {b"c1"}, (b"c1",): {b"q1"}, (b"c1", b"q1"): {b"2024-06-01"}}


def test_two_sources_with_one_path_are_ambiguous() -> None:
    version = Version(1, {PARTITION: row(), PARTITION._replace(source="s2"): row()})
    assert version.tree == {PATH: Ambiguous.AMBIGUOUS}
    assert (version.partitions, version.withheld) == (0, 1)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("007", b"007"),
        ("a:b", b"a%3Ab"),
        ("100%", b"100%25"),
        ("a/b", None),
        ("..", None),
        ("", None),
        ("x" * 256, None),
    ],
)
def test_values_become_safe_names_or_none(value: str, name: bytes | None) -> None:
    assert shown_name(value) == name


def test_unparsable_date_has_no_path() -> None:
    assert shown_path(PARTITION._replace(logical_date="2024-06-31")) is None


def test_quiet_reference_allows_the_version_in_force_only() -> None:
    reference = Reference()
    reference.commit({PARTITION: row("r1")})
    reference.refreshed()
    reference.commit({PARTITION: row("r2")})
    reference.observe("p", "r1", lambda version: runs_of(version) == "r1")
    with pytest.raises(Mismatch, match="fits no version"):
        reference.observe("p", "r2", lambda version: runs_of(version) == "r2")
    reference.refreshed()
    reference.observe("p", "r2", lambda version: runs_of(version) == "r2")
    with pytest.raises(Mismatch, match="fits no version"):
        reference.observe("p", "r1", lambda version: runs_of(version) == "r1")


def test_nothing_goes_back_while_a_refresh_may_run() -> None:
    reference = Reference()
    reference.refresh_may_run()
    for run_id in ("r1", "r2", "r3"):
        reference.commit({PARTITION: row(run_id)})
    reference.observe("p", "r2", lambda version: runs_of(version) == "r2")
    with pytest.raises(Mismatch, match="older"):
        reference.observe("p", "r1", lambda version: runs_of(version) == "r1")
    reference.observe("another", "r1", lambda version: runs_of(version) == "r1")
    reference.observe("p", "r3", lambda version: runs_of(version) == "r3")


def test_versions_before_the_refresh_are_gone_after_it() -> None:
    reference = Reference()
    reference.refresh_may_run()
    reference.commit({PARTITION: row("r1")})
    reference.refreshed()
    assert [version.number for version in reference.alive] == [1]


def whole_run() -> RunTruth:
    files = {NAME: b"x\n", b"metadata.json": b"{}\n", b"extra": b""}
    return RunTruth(RunKey(PARTITION, "r1"), files, dict.fromkeys(files, 5), sealed=True)


def test_whole_run_allows_its_own_bytes_only() -> None:
    run = whole_run()
    rules, meaning = FileRules({run.key: run}), Ready(run.key, row())
    assert rules.open_fits(meaning, NAME, b"x\n")
    assert not any(rules.open_fits(meaning, NAME, other) for other in (b"y\n", b"", errno.EIO, errno.ENOENT))
    assert rules.open_fits(meaning, b"none", errno.ENOENT)
    assert rules.stat_fits(meaning, NAME, Seen(False, 2, 5, 9))
    assert not any(
        rules.stat_fits(meaning, NAME, other)
        for other in (Seen(False, 1, 5, 9), Seen(False, 2, 6, 9), Seen(True, 2, 5, 9), errno.EIO)
    )
    assert rules.listing_fits(meaning, frozenset(run.files))
    assert not rules.listing_fits(meaning, REQUIRED)


def test_broken_run_can_be_seen_and_not_opened() -> None:
    run = whole_run()
    run.away = {NAME}
    rules, meaning = FileRules({run.key: run}), Ready(run.key, row())
    assert rules.open_fits(meaning, NAME, errno.EIO)
    assert not any(rules.open_fits(meaning, NAME, other) for other in (b"x\n", b"", errno.ENOENT))
    assert rules.open_fits(meaning, b"metadata.json", b"{}\n")
    assert rules.stat_fits(meaning, NAME, Seen(False, 4096, 0, 9))
    assert not any(rules.stat_fits(meaning, NAME, other) for other in (errno.EIO, errno.ENOENT, Seen(False, 0, 0, 9)))
    assert not any(rules.listing_fits(meaning, other) for other in (frozenset[bytes](), errno.ENOENT, errno.EIO))


def test_unsealed_run_gives_nothing_even_of_what_is_there() -> None:
    run = RunTruth(RunKey(PARTITION, "r1"), {NAME: b"half"}, {NAME: 5})
    rules, meaning = FileRules({run.key: run}), Ready(run.key, row())
    assert rules.open_fits(meaning, NAME, errno.EIO)
    assert not rules.open_fits(meaning, NAME, b"half")
    assert not rules.stat_fits(meaning, NAME, Seen(False, 4, 5, 9))
    assert not rules.listing_fits(meaning, frozenset({NAME}))


def test_absent_and_ambiguous_paths() -> None:
    rules = FileRules({})
    assert rules.open_fits(None, NAME, errno.ENOENT)
    assert not rules.open_fits(None, NAME, errno.EIO)
    assert rules.open_fits(Ambiguous.AMBIGUOUS, NAME, errno.EIO)
    assert rules.listing_fits(Ambiguous.AMBIGUOUS, REQUIRED)
    assert not rules.stat_fits(Ambiguous.AMBIGUOUS, NAME, errno.EIO)
