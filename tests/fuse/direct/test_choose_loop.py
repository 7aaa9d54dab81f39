"""Which loop serves: the words, what is there, and what it answers when it is checked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from readyfs import native
from readyfs.errors import FuseError
from readyfs.fuse.direct.choose_loop import choose_loop, find_fault
from readyfs.fuse.direct.protocol import IN_HEADER, Opcode
from readyfs.fuse.engine_words import EngineLoopWord
from tests.fuse.direct import compiled_trap
from tests.fuse.direct.looped import needs_module
from tests.mount.daemon import Place, mounted, partition, try_to_mount

TRAPPED = (sys.executable, compiled_trap.__file__)
EVENT = "the compiled loop fails its check, Python serves instead"


class Lying:
    """A module whose loop answers one operation otherwise."""

    def __init__(self, opcode: int, lie: Callable[[bytes | None], bytes | None]) -> None:
        assert native.module is not None
        self.Rows = native.module.Rows
        self._opcode, self._lie = opcode, lie

    def Loop(self, *arguments: Any) -> Any:
        assert native.module is not None
        loop = native.module.Loop(*arguments)

        class Other:
            allow_opens = loop.allow_opens

            @staticmethod
            def answer(request: bytes) -> bytes | None:
                found: bytes | None = loop.answer(request)
                return self._lie(found) if IN_HEADER.unpack_from(request)[1] == self._opcode else found

        return Other


def corrupt(found: bytes | None) -> bytes:
    return bytes([*(found or b"x" * 16)[:-1], 77])


@needs_module
def test_compiled_loop_passes_its_check_and_serves() -> None:
    assert find_fault(native.module) is None
    assert choose_loop(EngineLoopWord.AUTO).word is EngineLoopWord.NATIVE
    assert choose_loop(EngineLoopWord.NATIVE).reason == "as asked for"
    assert choose_loop(EngineLoopWord.SHADOW).word is EngineLoopWord.SHADOW
    assert choose_loop(EngineLoopWord.PYTHON).word is EngineLoopWord.PYTHON


@needs_module
@pytest.mark.parametrize(
    ("opcode", "operation"),
    [
        (Opcode.GETATTR, "getattr"),
        (Opcode.OPEN, "open"),
        (Opcode.READ, "read"),
        (Opcode.RELEASE, "release"),
        (Opcode.IOCTL, "ioctl"),
        (Opcode.STATFS, "statfs"),
    ],
)
@pytest.mark.parametrize("lie", [corrupt, lambda found: None if found else b""], ids=["other", "none"])
def test_loop_that_answers_otherwise_does_not_serve(
    opcode: int, operation: str, lie: Callable[[bytes | None], bytes | None]
) -> None:
    module = Lying(opcode, lie)
    with capture_logs() as logs:
        choice = choose_loop(EngineLoopWord.AUTO, module)
    assert choice.word is EngineLoopWord.PYTHON
    assert choice.reason == f"it fails its check: {operation} is answered otherwise"
    assert [line["event"] for line in logs] == [EVENT]
    with pytest.raises(FuseError, match=f"it fails its check: {operation} is answered otherwise"):
        choose_loop(EngineLoopWord.NATIVE, module)


def test_module_that_is_nothing_like_it_does_not_serve() -> None:
    assert find_fault(object())


def test_without_a_module_auto_is_python_without_a_word() -> None:
    with capture_logs() as logs:
        choice = choose_loop(EngineLoopWord.AUTO, None, "it was not compiled")
    assert (choice.word, choice.reason) == (EngineLoopWord.PYTHON, "it was not compiled")
    assert not logs


@pytest.mark.parametrize("word", [EngineLoopWord.NATIVE, EngineLoopWord.SHADOW])
def test_without_a_module_what_needs_it_is_refused(word: EngineLoopWord) -> None:
    with pytest.raises(FuseError, match="the native loop cannot be had: it was not compiled"):
        choose_loop(word, None, "it was not compiled")


@needs_module
@pytest.mark.parametrize("word", ["native", "python"])
def test_status_says_which_loop_serves(place: Place, word: str) -> None:
    with mounted(place, "--engine-loop", word, engine="opened") as daemon:
        status = daemon.status()
        assert (status["engine_loop"], status["engine_loop_reason"]) == (word, "as asked for")
        assert status["engine_loop_mismatches"] == {}


@needs_module
def test_nothing_is_compiled_where_python_serves(place: Place) -> None:
    """Neither the inode table, nor looks at the raw store, nor the packing of answers."""
    place.producer.write_and_publish(partition(), "r1", b"x\n")
    with mounted(place, "--engine-loop", "python", engine="opened", wrapper=TRAPPED) as daemon:
        directory = daemon.of(partition()).parent
        assert sorted(path.name for path in directory.iterdir()) == ["metadata.json", "payload.jsonl"]
        assert daemon.of(partition()).read_bytes() == b"x\n"


@needs_module
def test_module_that_fails_its_check_is_not_used_at_all() -> None:
    assert choose_loop(EngineLoopWord.AUTO).compiled is native.module
    with capture_logs():
        assert choose_loop(EngineLoopWord.AUTO, Lying(Opcode.READ, corrupt)).compiled is None
    assert choose_loop(EngineLoopWord.PYTHON).compiled is None


def test_other_engine_has_no_choice(place: Place) -> None:
    done = try_to_mount(place, "--engine-loop", "python", engine="pyfuse3")
    assert done.returncode == 2
    assert "--engine-loop is a choice of the direct engine" in done.stderr
