"""How `readyfs changes` prints: a batch of changes with its bookmark, or that what changed cannot be told.

A batch is written whole and flushed. Its bookmark is its last line: what no bookmark follows does not count.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Final

import click

from readyfs.cli.output import Form, print_json
from readyfs.consumer.change_lines import make_printable
from readyfs.text import escape_text

CHUNK_CHARACTERS: Final = 64 * 1024
_NONE: Final = "-"
_LOST: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})
"""How a disk says that it does not have what was written to it."""


class ChangesPrinter:
    """Prints in one form; `source` says where the changes are from, as a URI."""

    def __init__(self, form: Form, source: str) -> None:
        self._form = form
        self._source = source

    def batch(self, lines: Iterable[str], since: str, until: str) -> None:
        """Print changes, which are lines of JSON, and their bookmark; return when all is flushed."""
        count = size = 0
        waiting: list[str] = []
        for line in map(make_printable, lines):
            count += 1
            waiting.append(line if self._form is Form.JSON else self._worded(line, since, until, count))
            size += len(waiting[-1])
            if size >= CHUNK_CHARACTERS:  # a call of the system for each line would cost more than the lines
                sys.stdout.write("".join(waiting))
                waiting, size = [], 0
        sys.stdout.write("".join(waiting))
        bookmark = {"type": "bookmark", "cursor": until, "since": since, "changes": count}
        sys.stdout.write(self._worded(_compact(bookmark), since, until, count + 1))
        sys.stdout.flush()
        try:
            os.fsync(sys.stdout.fileno())
        except OSError as error:  # a pipe cannot be synced, nor what a test has for a file
            if error.errno in _LOST:
                raise

    def resync(self, reason: str) -> None:
        """Print that what changed cannot be told."""
        told = {"type": "resync", "reason": reason}
        if self._form is not Form.TEXT:  # people read it on stderr
            sys.stdout.write(self._worded(_compact(told), "", "", 0))
            sys.stdout.flush()

    def acknowledged(self, answer: Mapping[str, object]) -> None:
        """Print that a batch was acknowledged."""
        if self._form is Form.TEXT:
            click.echo(escape_text(f"{answer['name']} has acknowledged {answer['acknowledged']}"))
        else:
            print_json(answer)

    def _worded(self, line: str, since: str, until: str, number: int) -> str:
        if self._form is Form.JSON:
            return line + "\n"
        fields = json.loads(line)
        if self._form is Form.TEXT:
            return _text(fields) + "\n"
        return _compact(_cloudevent(fields, self._source, f"{since}-{until}-{number}")) + "\n"


def _compact(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _text(fields: Mapping[str, object]) -> str:
    if fields["type"] == "bookmark":
        return f"{'bookmark':<10} {fields['cursor']}{'' if fields['changes'] else '  nothing changed'}"
    key = "/".join(str(fields[name]) for name in ("source", "customer_id", "query_name", "logical_date"))
    runs = [str(fields[name]) for name in ("old_run_id", "run_id") if fields[name] is not None]
    return escape_text(f"{fields['type']:<10} {key}  {' -> '.join(dict.fromkeys(runs)) or _NONE}")


def _cloudevent(fields: Mapping[str, object], source: str, number: str) -> dict[str, object]:
    """Return an event as CloudEvents 1.0 has it in its structured JSON form; the same one always has the same id."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": number,
        "source": source,
        "type": f"readyfs.{fields['type']}",
        "datacontenttype": "application/json",
        "data": dict(fields),
    }
    for attribute, name in (("subject", "path"), ("time", "updated_at")):
        value = fields.get(name)
        if isinstance(value, str):
            event[attribute] = value
    return event
