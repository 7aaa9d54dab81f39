"""The store that the tests put between the filesystem and the disk."""

from __future__ import annotations

import errno

import pytest

from tests.catalog.rows import Row
from tests.vfs.place import PAYLOAD, Place


def test_watched_store_answers_what_the_real_one_does_and_counts(place: Place) -> None:
    place.write(Row(), b"hello")
    names = [entry.name for entry in place.store.list_directory(Row().partition)]
    assert names == [b"metadata.json", b"payload.jsonl"]
    file = place.store.open_file(Row().partition, (PAYLOAD,))
    assert file.pread(10, 0) == b"hello"
    file.close()
    assert place.store.calls == {"list": 1, "open": 1}
    assert place.store.label == str(place.base)
    assert place.store.describe(Row().partition) == str(place.run_directory(Row()))
    place.store.check()


def test_watched_store_fails_when_told_to(place: Place) -> None:
    place.write(Row())
    place.store.failure = OSError(errno.EIO, "broken")
    with pytest.raises(OSError, match="broken"):
        place.store.list_directory(Row().partition)
    with pytest.raises(OSError, match="broken"):
        place.store.open_file(Row().partition, (PAYLOAD,))
    place.store.failure = None
    assert place.store.list_directory(Row().partition)


def test_watched_store_acts_before_it_answers(place: Place) -> None:
    place.write(Row())
    seen: list[str] = []
    place.store.before = seen.append
    place.store.list_directory(Row().partition)
    assert seen == ["list"]
