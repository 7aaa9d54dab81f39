"""`readyfs manifest`: the list of all that is ready below a directory, for programs that take lists of files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from readyfs.cli.command import ReadyfsCommand
from readyfs.cli.manifest_place import Form, ManifestPlace, find_place
from readyfs.cli.parameters import MOUNT_POINT
from readyfs.errors import ExitCode, UsageError
from readyfs.text import escape_text

DUCKDB: Final = "duckdb"


@click.command(cls=ReadyfsCommand, short_help="List what is ready, for programs that take lists of files.")
@click.argument("place", type=MOUNT_POINT, metavar="MOUNTPOINT|VIEW|DIRECTORY")
@click.option(
    "--format",
    "format_",
    type=click.Choice([*map(str, Form), DUCKDB]),
    default=Form.JSONL.value,
    show_default=True,
    help="How to print: jsonl, one object for each partition; paths, one required file a line; paths0, the same ended "
    "by NUL; duckdb, a script that makes one view for each query.",
)
@click.option("--prefix", metavar="PATH", help="Only what is below this path; paths are printed with it.")
@click.option("--file", metavar="NAME", help="Of the required files only this one.")
@click.option("--sizes", "with_sizes", is_flag=True, help="Add every file of each partition with its size; with jsonl.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write this file, in one step, instead of standard output.",
)
def manifest(
    place: str, format_: str, prefix: str | None, file: str | None, with_sizes: bool, output: Path | None
) -> ExitCode:
    """List every partition that is ready below a mount point, a view, or a directory in one, all of one catalog.

    Paths are relative to that directory. For --format duckdb they are absolute, and of a view. With --sizes a view is
    pinned as long as this runs, unless one is named, and it exits with 12 if a partition is broken.

    \b
    readyfs manifest /mnt/ready --format paths0 --output list
    readyfs manifest "$(readyfs pin /mnt/ready --for 6h)" --format duckdb | duckdb sales.db
    """  # noqa: D301 - click wants a real backspace before text that it must not wrap
    if with_sizes and format_ != Form.JSONL:
        raise UsageError(f"--sizes are not in --format {format_}", "leave out one of them")
    if prefix == "":
        raise UsageError("--prefix is empty", "name a path, or leave it out for all; an unset variable perhaps?")
    if output == Path("-"):
        raise UsageError("--output - is no file", "leave it out for standard output, or name its whole path")
    found = find_place(place, prefix or "")
    if with_sizes:
        return _write_sizes(found, file, output)
    _write(_render_duckdb(found, file) if format_ == DUCKDB else _render(found, Form(format_), file), output)
    return ExitCode.OK


def _write(pieces: Iterable[bytes], output: Path | None) -> None:
    if output is not None:
        from readyfs.cli.output_file import write_output_file

        write_output_file(output, pieces)
        return
    sys.stdout.flush()
    sys.stdout.buffer.writelines(pieces)
    sys.stdout.buffer.flush()


def _render(place: ManifestPlace, form: Form, file: str | None) -> Iterator[bytes]:
    from readyfs.cli.manifest_rows import read_paths, read_rows, render_rows

    if form is not Form.JSONL:
        return (b"".join([path + form.end for path in paths]) for paths in read_paths(place, form, file))
    if place.prefix or file is not None:
        return render_rows(read_rows(place, file))
    return (b"".join([record + form.end for record in records]) for records in place.read(form))


def _write_sizes(place: ManifestPlace, file: str | None, output: Path | None) -> ExitCode:
    from readyfs.cli.manifest_rows import render_rows
    from readyfs.cli.manifest_sizes import Sizes

    sizes = Sizes(place, file)
    _write(render_rows(sizes.rows()), output)
    if not sizes.broken:
        return ExitCode.OK
    click.echo(f"readyfs: broken partitions, of which no sizes are known: {sizes.broken}", err=True)
    return ExitCode.FOUND


def _render_duckdb(place: ManifestPlace, file: str | None) -> Iterator[bytes]:
    from readyfs.cli.manifest_duckdb import render_script

    if place.view is None:
        shown = escape_text(os.fsencode(place.mountpoint))
        raise UsageError(
            f"the live tree of {shown} changes, so that a list of its files is soon wrong",
            f'pin it: readyfs manifest "$(readyfs pin {shown})" --format duckdb',
        )
    return render_script(place, file)
