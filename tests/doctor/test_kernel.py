"""What the kernel offers, asked of the kernel, with nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from readyfs.doctor import kernel
from readyfs.doctor.bounded import run_checks
from readyfs.doctor.finding import Finding, Verdict
from readyfs.doctor.kernel import kernel_check
from readyfs.doctor.subject import Subject
from readyfs.fuse.direct.channel import Channel
from readyfs.fuse.direct.negotiation import Offer
from readyfs.fuse.direct.protocol import InitFlag
from readyfs.fuse.engine import KernelLacksError
from readyfs.fuse.engine_words import EngineWord, ReadsWord
from readyfs.fuse.mount_table import read_mount_table
from tests.doctor import ordinary_probe
from tests.doctor.subjects import make_subject
from tests.fuse.direct.raw_mounts import behind_two_overlays
from tests.fuse.live_mount import AS_NOBODY
from tests.mount.daemon import Place, partition

ROOT = Path(__file__).parents[2]


def examine(subject: Subject) -> dict[str, Finding]:
    before = leftovers()
    ((_, findings),) = run_checks([kernel_check(subject)], 30, repr)
    assert leftovers() == before
    return {one.name: one for one in findings}


def leftovers() -> list[str]:
    mounts = [str(one.mount_point) for one in read_mount_table() if "readyfs-doctor-" in str(one.mount_point)]
    return [*mounts, *map(str, Path(tempfile.gettempdir()).glob("readyfs-doctor-*"))]


def test_this_kernel_leads_to_the_direct_engine_and_passthrough() -> None:
    found = examine(make_subject())
    assert {one.verdict for one in found.values()} == {Verdict.OK}
    assert found["engine"].summary.startswith("direct: the kernel speaks FUSE 7.")
    assert found["reads"].summary.startswith("auto: by passthrough from ")


@pytest.mark.parametrize("refused", [False, True])
def test_store_that_refuses_passthrough_is_a_note(tmp_path: Path, refused: bool) -> None:
    place = Place(tmp_path)
    place.producer.write_and_publish(partition(), "r1", b"x")
    place.producer.close()
    with behind_two_overlays(place.raw / "s1", place.base) if refused else nullcontext():
        found = examine(make_subject(state=place.state, raw=str(place.raw)))["reads"]
    assert found.verdict is (Verdict.NOTE if refused else Verdict.OK)
    assert ("refuses passthrough" in found.summary) == refused


def test_what_was_asked_for_is_said() -> None:
    assert examine(make_subject(engine=EngineWord.PYFUSE3))["engine"].summary == "pyfuse3, as asked for"
    assert examine(make_subject(reads=ReadsWord.OPENED))["reads"].summary == "opened: as asked for"


def test_a_way_of_reading_in_which_damage_can_be_overlooked_is_a_warning() -> None:
    found = examine(make_subject(reads=ReadsWord.CACHED))["reads"]
    assert (found.verdict, "not at open" in found.summary) == (Verdict.WARNING, True)


def test_a_kernel_that_lacks_too_much_leads_to_the_other_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: object, **__: object) -> Offer:
        raise KernelLacksError("the kernel's FUSE does not offer MAX_PAGES", "")

    monkeypatch.setattr(Channel, "mount", lack)
    found = examine(make_subject())["engine"]
    assert (found.verdict, "pyfuse3, would serve" in found.summary) == (Verdict.WARNING, True)
    assert examine(make_subject(engine=EngineWord.DIRECT))["engine"].verdict is Verdict.PROBLEM


def test_a_kernel_without_passthrough_is_a_note_and_a_problem_for_who_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Channel.mount

    def offer_less(self: Channel, *arguments: object, **options: object) -> Offer:
        offer = mount(self, *arguments, **options)  # type: ignore[arg-type]
        return Offer(40, offer.flags & ~InitFlag.PASSTHROUGH, offer.max_readahead, offer.unique)

    monkeypatch.setattr(Channel, "mount", offer_less)
    found = examine(make_subject())
    assert (found["reads"].verdict, found["reads"].remedy) == (Verdict.NOTE, "install a kernel from Linux 6.9 on")
    assert found["kernel-features"].verdict is Verdict.NOTE
    assert examine(make_subject(reads=ReadsWord.PASSTHROUGH))["reads"].verdict is Verdict.PROBLEM


def test_with_privileges_the_probe_is_never_seen_by_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen, doctor = tmp_path / "seen", Path(f"/proc/{os.getpid()}/mountinfo")
    negotiate = vars(kernel)["negotiate"]

    def look(*arguments: object, **options: object) -> object:
        tables = [[one.source for one in read_mount_table(table)] for table in (Path("/proc/self/mountinfo"), doctor)]
        seen.write_text(" ".join(str("doctor" in sources) for sources in tables))
        return negotiate(*arguments, **options)

    monkeypatch.setattr(kernel, "negotiate", look)
    examine(make_subject())
    assert seen.read_text() == "True False"


def test_a_probe_that_hangs_leaves_no_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    before = leftovers()
    monkeypatch.setattr(kernel, "negotiate", lambda *_, **__: time.sleep(60))
    ((_, findings),) = run_checks([kernel_check(make_subject())], 1.0, repr)
    assert findings[-1].verdict is Verdict.PROBLEM
    assert leftovers() == before


@pytest.mark.parametrize("how", ["ends", "hangs"])
def test_an_ordinary_user_leaves_no_mount_either(how: str) -> None:
    """In a mount namespace whose /dev/fuse everybody may open, by fusermount3."""
    with tempfile.TemporaryDirectory(prefix="readyfs-probe-") as directory:
        Path(directory).chmod(0o755)
        done = subprocess.run(
            [sys.executable, ordinary_probe.__file__, directory, how, *AS_NOBODY],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "left: []"
    if how == "ends":
        assert "engine ok" in lines
        assert "reads ok" in lines
    else:
        assert "kernel problem" in lines
