"""Programs that read files, and how each ends where a file cannot be had.

A shell program is one line of bash over three payloads; a library is a function. What either found is compared with
what it finds over plain files.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Final, Protocol

OLD: Final = b"the old copy\n"
"""What programs that copy find where they write."""


class Habit(Enum):
    """What a program does other than to end with an error and to keep what it had."""

    IGNORES_OPEN = auto()
    """It goes on after a failed open."""
    IGNORES_READ = auto()
    """It takes a failed read for the end of the file."""
    SPOILS_BEFORE_OPEN = auto()
    """It takes the old copy away before it opens the new file."""
    SPOILS_BEFORE_READ = auto()
    """It has emptied or replaced the old copy by the time a read fails."""
    MAPS = auto()
    """It crashes, or never answers, where a file opens and cannot be read. It is not run there."""


class Failed(Exception):
    """A program ended with an error."""


class Program(Protocol):
    """One program of the table."""

    @property
    def name(self) -> str:
        """What docs/clients.md calls it."""

    @property
    def habits(self) -> frozenset[Habit]:
        """What it does other than to end with an error."""

    @property
    def takes_open_files(self) -> bool:
        """Whether it reads what somebody else has opened."""

    def read(self, files: list[Path], out: Path) -> bytes:
        """Read these files below the current directory of a mount, and return what was found; may raise `Failed`."""

    def read_open(self, file: int, out: Path) -> bytes:
        """Read one open file, and return what was found; may raise `Failed`."""


@dataclass(frozen=True, slots=True)
class Shell:
    """A line of bash.

    `command` reads the files "$@" and prints what it found. It may write into $OUT, where the copies of earlier times
    lie: $OUT/1, $OUT/2 and $OUT/3. `from_stdin` does the same with a file that is open already, where there is a way.
    """

    name: str
    command: str
    from_stdin: str = ""
    habits: frozenset[Habit] = frozenset()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def takes_open_files(self) -> bool:
        """Whether it reads standard input."""
        return bool(self.from_stdin)

    def read(self, files: list[Path], out: Path) -> bytes:
        """Run it in the directory that all files lie below, with their paths from there."""
        top = Path(os.path.commonpath(files)).parents[1]
        return self._run(self.command, [str(path.relative_to(top)) for path in files], top, out, subprocess.DEVNULL)

    def read_open(self, file: int, out: Path) -> bytes:
        """Run it with the file as its standard input."""
        return self._run(self.from_stdin, [], out, out, file)

    def within(self, environment: dict[str, str]) -> Shell:
        """Return it with further variables."""
        return replace(self, environment=environment)

    def _run(self, text: str, words: list[str], directory: Path, out: Path, stdin: int) -> bytes:
        environment = {**os.environ, "OUT": str(out), "LC_ALL": "C", "TZ": "UTC", **self.environment}
        command = ["bash", "-o", "pipefail", "-c", text, "bash", *words]
        done = subprocess.run(
            command, cwd=directory, env=environment, stdin=stdin, capture_output=True, timeout=60, check=False
        )
        if done.returncode:
            raise Failed(f"{done.returncode}: {done.stderr.decode()}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Library:
    """A function that reads files, and one that reads an open file, where there is a way."""

    name: str
    count: Callable[[list[str]], object]
    errors: tuple[type[Exception], ...]
    count_open: Callable[[int], object] | None = None
    habits: frozenset[Habit] = frozenset()

    @property
    def takes_open_files(self) -> bool:
        """Whether there is a function for open files."""
        return self.count_open is not None

    def read(self, files: list[Path], out: Path) -> bytes:
        """Call it with the paths."""
        try:
            return repr(self.count([str(path) for path in files])).encode()
        except self.errors as error:
            raise Failed(str(error)) from error

    def read_open(self, file: int, out: Path) -> bytes:
        """Call it with the file."""
        assert self.count_open is not None
        try:
            return repr(self.count_open(file)).encode()
        except self.errors as error:
            raise Failed(str(error)) from error


def shell(name: str, command: str, from_stdin: str = "", *habits: Habit) -> Shell:
    """Return a program that takes all files at once."""
    return Shell(name, command, from_stdin, frozenset(habits))


def _filter(name: str, words: str, *habits: Habit) -> Shell:
    """Return a program that takes files as words or standard input."""
    return shell(name, f'{words} "$@"', words, *habits)


def _each(name: str, words: str, from_stdin: str = "", *habits: Habit) -> Shell:
    """Return a program that takes one file, `f`, and may write to $OUT/$n."""
    return shell(name, f'n=0; for f; do n=$((n + 1)); {words} || exit; done; cat "$OUT"/[123]', from_stdin, *habits)


IGNORES_READ: Final = Habit.IGNORES_READ
SMALL: Final[tuple[Program, ...]] = (
    shell("tar", 'tar -cf "$OUT/a" "$@" && tar -xOf "$OUT/a"'),
    shell(
        "zip",
        'zip -qr "$OUT/a.zip" "$@" && unzip -p "$OUT/a.zip"',
        'zip -q "$OUT/a.zip" - && unzip -p "$OUT/a.zip"',
        IGNORES_READ,
    ),
    shell(
        "cpio",
        'printf "%s\\n" "$@" | cpio --quiet -o >"$OUT/a" && cpio --quiet -i --to-stdout <"$OUT/a"',
        "",
        IGNORES_READ,
    ),
    shell(
        "sqlite3 .import",
        'for f; do sqlite3 "$OUT/a" "CREATE TABLE IF NOT EXISTS t(line)" ".mode tabs" ".import $f t" || exit; done;'
        ' sqlite3 "$OUT/a" "SELECT line FROM t"',
        "",
        IGNORES_READ,
    ),
    shell("curl file://", 'for f; do curl -sS "file://$PWD/$f" || exit; done', "", IGNORES_READ),
    shell("bash $(<f)", 'for f; do x=$(<"$f") || exit; echo "$x"; done', "", IGNORES_READ),
    shell(
        "bash mapfile",
        'for f; do mapfile x <"$f" || exit; printf %s "${x[@]}"; done',
        'mapfile x; printf %s "${x[@]}"',
        IGNORES_READ,
    ),
    shell(
        "bash read",
        'for f; do while read -r x; do echo "$x"; done <"$f" || exit; done',
        'while read -r x; do echo "$x"; done',
        IGNORES_READ,
    ),
    shell("sed", "sed -n '$=' \"$@\"", "", IGNORES_READ),
    _filter("perl -n", "perl -ne print", Habit.IGNORES_OPEN, IGNORES_READ),
    _filter("strings", "strings -n 1", IGNORES_READ),
    _filter("cksum", "cksum", IGNORES_READ),
    _filter("sha256sum", "sha256sum"),
    _filter("cat", "cat"),
    _filter("grep", "grep -h ."),
    _filter("sort", "sort"),
    _filter("wc", "wc -l"),
    _filter("jq", "jq -c ."),
    _filter("gzip", "gzip -nc"),
    _filter("awk", "awk '{ print }'"),
    _each("awk getline", 'awk "BEGIN { while ((getline x < \\"$f\\") > 0) print x }"', "", Habit.IGNORES_OPEN),
    _each("cp", 'cp "$f" "$OUT/$n"', "", Habit.SPOILS_BEFORE_READ),
    _each("install", 'install "$f" "$OUT/$n"', "", Habit.SPOILS_BEFORE_OPEN, Habit.SPOILS_BEFORE_READ),
    _each("dd", 'dd status=none if="$f" of="$OUT/$n"', "dd status=none", Habit.SPOILS_BEFORE_READ),
    _each("rsync", 'rsync "$f" "$OUT/$n"'),
    _each("rsync --inplace", 'rsync --inplace "$f" "$OUT/$n"', "", Habit.SPOILS_BEFORE_READ),
)
"""What is there, or installs in seconds."""

MORE: Final[tuple[Program, ...]] = (
    _filter("head", "head -n 1000"),
    _filter("tail", "tail -n 1000"),
    _filter("cut", "cut -d , -f 1"),
    _filter("od", "od -c"),
    _filter("tac", "tac"),
    _filter("paste", "paste -s"),
    _each("base64", 'base64 "$f"', "base64"),
    _each("split", 'split -n 1 "$f" "$OUT/x"; mv "$OUT/xaa" "$OUT/$n"'),
    _each("diff", 'cp "$f" "$OUT/x"; diff "$f" "$OUT/x"'),
    _each("openssl dgst", 'openssl dgst "$f"', "openssl dgst"),
    _each("rclone copyto", 'rclone -q --config /dev/null copyto "$f" "$OUT/$n"', "", Habit.SPOILS_BEFORE_READ),
    shell(
        "rclone sync",
        'n=0; for f; do n=$((n + 1)); mkdir -p "$OUT/to/${f%/*}"; mv "$OUT/$n" "$OUT/to/$f"; done;'
        ' rclone -q --config /dev/null --retries 1 sync . "$OUT/to"; code=$?;'
        ' n=0; for f; do n=$((n + 1)); mv "$OUT/to/$f" "$OUT/$n"; done;'
        ' cat "$OUT"/[123]; exit $code',
        "",
        Habit.SPOILS_BEFORE_READ,
    ),
    shell(
        "mksquashfs",
        'mksquashfs . "$OUT/a" -quiet -no-progress >/dev/null 2>&1; code=$?;'
        ' for f; do unsquashfs -cat "$OUT/a" "$f"; done; exit $code',
        "",
        Habit.IGNORES_OPEN,
        IGNORES_READ,
    ),
)
"""What takes longer, or is to be had only in larger packages."""

LARGE: Final[tuple[Shell, ...]] = tuple(
    shell(name, f'"$PYTHON" "$COUNT" \'{name}\' "$@"', "", *habits)
    for name, habits in (
        ("pandas", ()),
        ("dask", ()),
        ("DataFusion", ()),
        ("Hugging Face datasets", ()),
        ("ClickHouse (chdb)", (Habit.MAPS,)),
    )
)
"""Engines of `count_large`, which need an environment of their own: $PYTHON and $COUNT."""
