"""The steps of the tour: what is typed, what the pipeline does meanwhile, and what must be seen.

A step is a function of a `Stage`. It types real commands and holds their output against what it tells the user; a
difference is a `TourFailedError`, never a comment that is not true. What a step shows does not hang on the clock: the
mount looks at the table once an hour, so a change is seen when the step asks for a refresh and at no other time. Only
`following` mounts with a short interval, and waits for what it promises.
"""

from __future__ import annotations

import shlex
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from shutil import which
from typing import Final

from readyfs.demo.producer import METADATA_NAME, PAYLOAD_NAME, LogicalPartition, Producer, Run
from readyfs.demo.terminal import CommandTimeoutError, Terminal
from readyfs.demo.world import World, render_records, render_run_id
from readyfs.errors import ExitCode, UserError

MOUNT: Final = "mount"
LOG: Final = "readyfs.log"
INTERVAL: Final = "2s"
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_LONG_INTERVAL: Final = "1h"
# DuckDB leaves out the middle of a long table.
_SHOWN_CUSTOMERS: Final = 20
_RUN_ID_COMMAND: Final = """grep -o '"run_id":"[^"]*"'"""


class TourFailedError(UserError):
    """A step did not show what it claims."""

    exit_code = ExitCode.INTERNAL


@dataclass(frozen=True, slots=True)
class Stage:
    """What a step works with; `say` prints a line of its own, `show` one command and its output."""

    world: World
    producer: Producer
    terminal: Terminal
    say: Callable[[str], None]
    show: Callable[[str, str], None]

    def type(self, command: str, expect: str | None = None, *, fails: bool = False, timeout_s: float = 20.0) -> str:
        """Type a command, show it with its output, and return the output.

        Raises `TourFailedError` if `expect` is not in the output, or if the command fails and should not (or the
        reverse).
        """
        try:
            text, status = self.terminal.run(command, timeout_s)
        except CommandTimeoutError as error:
            self.show(command, str(error))
            raise TourFailedError(f"`{command}` did not end within {timeout_s:g} s", _REMEDY) from error
        self.show(command, text)
        if (status != 0) is not fails:
            raise TourFailedError(f"`{command}` exited with {status}", _REMEDY)
        if expect is not None and expect not in text:
            raise TourFailedError(f"`{command}` did not print {expect!r}", _REMEDY)
        return text

    def mount(self, interval: str) -> None:
        """Mount the world."""
        with _signals_held():
            self.type(
                f"readyfs mount {MOUNT} --state state.db --raw raw --interval {interval} "
                f"--state-dir var --log-file {LOG} --daemon",
                timeout_s=60,
            )

    def refresh(self, expect: str) -> None:
        """Ask for a refresh and wait for its end."""
        self.type(f"readyfs refresh {MOUNT} --wait", f": {expect} (")


_REMEDY: Final = "the output above says more"


@contextmanager
def _signals_held() -> Iterator[None]:
    # A signal waits until it is known whether there is a mount to take down. The shell was started before and has none
    # of this.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def mount_world(stage: Stage) -> None:
    """One command: from a state table to files."""
    stage.mount(_LONG_INTERVAL)
    stage.say("(It looks at the table every hour, so that the tour can show each change when it asks for it.)")


def listing(stage: Stage) -> None:
    """What you see is what is ready."""
    world, newest = stage.world, stage.world.settled[0]
    series = f"{newest.customer_id}/{newest.query_name}"
    stage.type(f"ls {MOUNT}", newest.customer_id)
    stage.type(f"ls {MOUNT}/{newest.customer_id}", newest.query_name)
    stage.type(f"ls {MOUNT}/{series} | tail -n 3", newest.logical_date)
    stage.type(f"ls -l {MOUNT}/{newest.path}", PAYLOAD_NAME)
    counted = stage.type(f"find {MOUNT} -name {PAYLOAD_NAME} | wc -l", timeout_s=60)
    if int(counted) != len(world.ready):
        raise TourFailedError(f"the mount shows {counted.strip()} partitions, {len(world.ready)} are ready", _REMEDY)
    stage.say(f"The raw store holds more, which nobody should read: {_join(world.other_runs)} runs.")
    written = stage.type(f"find raw -name {PAYLOAD_NAME} | wc -l")
    if int(written) <= int(counted):
        raise TourFailedError("the raw store holds no other runs", _REMEDY)


def reading(stage: Stage) -> None:
    """They are ordinary files."""
    path = f"{MOUNT}/{stage.world.settled[0].path}"
    stage.type(f"head -n 2 {path}/{PAYLOAD_NAME}", '"impressions"')
    stage.type(f"cat {path}/{METADATA_NAME}", stage.world.ready[stage.world.settled[0]])
    stage.type(f"du -sh {MOUNT}/*", stage.world.settled[0].customer_id, timeout_s=60)


def lineage(stage: Stage) -> None:
    """Each file knows where it comes from."""
    partition = stage.world.settled[0]
    path = f"{MOUNT}/{partition.path}/{PAYLOAD_NAME}"
    run_id = stage.world.ready[partition]
    if which("getfattr"):
        stage.type(f"getfattr -d {path}", run_id)
        stage.say("Its directory knows what the row says besides:")
        stage.type(f"getfattr -d {MOUNT}/{partition.path}", "updated_at")
        stage.type(f"getfattr --only-values -n user.readyfs.fingerprint {MOUNT} && echo")
    else:
        stage.say("(getfattr is not installed here; Debian has it in the package attr)")
        stage.type(f"""python -c 'import os; print(os.getxattr("{path}", "user.readyfs.run_id").decode())'""", run_id)


def query(stage: Stage) -> None:
    """A query over a glob, with nothing to know about runs."""
    if find_spec("duckdb") is None:
        stage.say("(duckdb is not installed here; get it with: pip install duckdb)")
        return
    newest = stage.world.settled[0]
    month = newest.logical_date[:7]
    answer = stage.type(_duckdb(f"{MOUNT}/*/{newest.query_name}/{month}-*/{PAYLOAD_NAME}"), timeout_s=120)
    for customer_id, records in _expected_counts(stage.world, newest.query_name, month):
        if not any(customer_id in line and str(records) in line for line in answer.splitlines()):
            raise TourFailedError(f"the query does not count {records} records of {customer_id}", _REMEDY)


def appearing(stage: Stage) -> None:
    """A partition appears when it becomes ready, and not before."""
    world = stage.world
    day = world.spec.last_day + timedelta(days=1)
    partition = world.settled[0]._replace(logical_date=day.isoformat())
    path = f"{MOUNT}/{partition.path}"
    payload = render_records(partition, world.spec.records, world.spec.seed)
    run = stage.producer.begin_run(partition, _new_run_id(), payload)
    stage.producer.expect(partition)
    stage.say(f"The pipeline has begun {day}: its row is pending, its run half-written.")
    stage.type(f"ls {path}", "No such file or directory", fails=True)
    stage.producer.seal_run(run)
    stage.producer.publish(run)
    stage.say("Now the run is sealed and the validator has set the row to success.")
    stage.refresh("1 appeared")
    stage.type(f"ls {path}", PAYLOAD_NAME)


def switching(stage: Stage) -> None:
    """A reprocessed partition switches to its new run at once; an open file keeps the old one."""
    partition = stage.world.settled[1]
    path = f"{MOUNT}/{partition.path}/{METADATA_NAME}"
    old = stage.world.ready[partition]
    stage.type(f"exec 3<{path}")
    run = _publish_again(stage, partition)
    stage.say(f"{partition.logical_date} was reprocessed: another run was written and published.")
    stage.refresh("1 switched")
    stage.type(f"{_RUN_ID_COMMAND} {path}", run.run_id)
    stage.say("The file that was opened before still belongs to the run it was opened on:")
    stage.type(f"{_RUN_ID_COMMAND} <&3", old)
    stage.type("exec 3<&-")


def holding(stage: Stage) -> None:
    """A job that must not see such changes pins a view, which holds still."""
    partition = stage.world.settled[1]
    metadata = f"{partition.path}/{METADATA_NAME}"
    pinned = stage.type(f"{_RUN_ID_COMMAND} {MOUNT}/{metadata}")
    stage.type(f"view=$(readyfs pin {MOUNT} --name tour --for 1h) && echo $view", "/.readyfs/views/")
    run = _publish_again(stage, partition)
    stage.say(f"{partition.logical_date} was reprocessed once more.")
    stage.refresh("1 switched")
    stage.say("The last refresh changed this, as the view of the catalog before tells:")
    stage.type(f"diff -rq {MOUNT}/.readyfs/at/~1 {MOUNT}", metadata, fails=True, timeout_s=60)
    stage.type(f"{_RUN_ID_COMMAND} {MOUNT}/{metadata}", run.run_id)
    stage.type(f"{_RUN_ID_COMMAND} $view/{metadata}", pinned)
    stage.type(f"readyfs unpin {MOUNT} tour")


def breaking(stage: Stage) -> None:
    """A ready partition whose raw files are damaged fails loudly, and heals by itself."""
    # One that nobody has read yet: what the kernel keeps of a file stays right, and is all that some mounts ask for.
    partition = stage.world.settled[3]
    path = f"{MOUNT}/{partition.path}"
    run = stage.producer.run_directory(partition, stage.world.ready[partition])
    payload = shlex.quote(str(run.relative_to(stage.world.directory) / PAYLOAD_NAME))
    stage.type(f"mv {payload} lost.jsonl")
    stage.type(f"ls {path}", PAYLOAD_NAME)
    stage.type(f"cat {path}/{PAYLOAD_NAME}", "Input/output error", fails=True)
    if find_spec("duckdb") is not None:
        stage.say("A query over the glob fails too, where a missing file would have been fewer rows without a word:")
        glob = f"{MOUNT}/{partition.path[:-2]}*/{PAYLOAD_NAME}"
        stage.type(_duckdb(glob, " 2>&1 | tail -n 1"), "Input/output error", timeout_s=60)
    stage.type(f"mv lost.jsonl {payload}")
    stage.type(f"head -n 1 {path}/{PAYLOAD_NAME}", '"impressions"')


def refusing(stage: Stage) -> None:
    """Nothing can be written, by anybody."""
    path = f"{MOUNT}/{stage.world.settled[0].path}"
    stage.type(f"echo '{{}}' >>{path}/{PAYLOAD_NAME}", "Read-only file system", fails=True)
    stage.type(f"rm -f {path}/{PAYLOAD_NAME}", "Read-only file system", fails=True)
    stage.type(f"mkdir {MOUNT}/new", "Read-only file system", fails=True)


def following(stage: Stage) -> None:
    """Left alone, a mount follows the table; a partition that is not ready any more goes away."""
    partition = stage.world.settled[2]
    path = f"{MOUNT}/{partition.path}"
    stage.type(f"readyfs umount {MOUNT}", timeout_s=70)
    stage.mount(INTERVAL)
    stage.type(f"ls -d {path}", path)
    stage.producer.requeue(partition)
    stage.say(f"An operator has requeued {partition.logical_date}. The mount looks by itself now, every {INTERVAL}:")
    stage.type(f"timeout 60 sh -c 'while test -e {path}; do sleep 0.2; done'", timeout_s=70)
    stage.type(f"ls {path}", "No such file or directory", fails=True)


def status(stage: Stage) -> None:
    """The daemon says how it is."""
    # One partition has appeared since the world was made, and one has gone.
    stage.type(f"readyfs status {MOUNT}", f"{len(stage.world.ready):,} ready partition")


STEPS: Final[tuple[Callable[[Stage], None], ...]] = (
    mount_world,
    listing,
    reading,
    lineage,
    appearing,
    switching,
    holding,
    breaking,
    query,
    refusing,
    following,
    status,
)


def _duckdb(glob: str, then: str = "") -> str:
    return f"""python - <<'END'{then}
import duckdb
duckdb.sql('''
    SELECT customer_id, count(*) AS records, sum(cost_micros) // 1000000 AS cost
    FROM read_json('{glob}')
    GROUP BY customer_id ORDER BY customer_id LIMIT {_SHOWN_CUSTOMERS}
''').show()
END"""


def _expected_counts(world: World, query_name: str, month: str) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(world.state_file)) as state:
        return state.execute(
            "SELECT customer_id, sum(record_count) FROM partition_state WHERE status = 'success' AND query_name = ?"
            " AND logical_date LIKE ? GROUP BY customer_id HAVING sum(record_count) > 0"
            " ORDER BY customer_id LIMIT ?",
            (query_name, f"{month}-%", _SHOWN_CUSTOMERS),
        ).fetchall()


def _publish_again(stage: Stage, partition: LogicalPartition) -> Run:
    spec = stage.world.spec
    payload = render_records(partition, spec.records + 3, spec.seed)
    return stage.producer.write_and_publish(partition, _new_run_id(), payload)


def _join(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _new_run_id() -> str:
    return render_run_id(datetime.now(UTC))
