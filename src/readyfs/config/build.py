"""From resolved settings to a `Config`, and what the operator should be warned of on the way."""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from readyfs.config import table
from readyfs.config.location import make_absolute
from readyfs.config.resolve import Origin, OriginKind, Resolution
from readyfs.errors import UsageError
from readyfs.fuse.engine_words import EngineLoopWord, EngineWord, ReadsWord
from readyfs.layout import MountLayout, RawLayout
from readyfs.state.filters import Filters
from readyfs.state.store import StateTable
from readyfs.text import escape_text
from readyfs.vfs.file_filter import FileFilter

if TYPE_CHECKING:
    from readyfs.config.config import Config


def build_config(resolution: Resolution, mountpoint: Path) -> Config:
    """Return the settings of the mount at a resolved mount point.

    Raises `UsageError` for what is missing or at odds, and where what we write would go into what we read. Opens and
    makes nothing.
    """
    # Most commands need parts of it alone, and do without the time that this takes.
    from readyfs.config.config import Config
    from readyfs.config.own_files import check_own_files

    get = resolution.get
    state, _ = find_state(resolution)
    raw = find_raw(resolution)
    state_listen = get(table.STATE_LISTEN)
    if state_listen is not None:
        # It comes with the SQL toolkit, which is slow to import.
        from readyfs.state.postgres.listen import check_listening

        check_listening(state, state_listen)
    filters = find_filters(resolution)
    files, required_files = find_files(resolution)
    if get(table.ENGINE) is EngineWord.PYFUSE3 and get(table.READS) not in (ReadsWord.AUTO, ReadsWord.OPENED):
        raise UsageError("--reads is a choice of the direct engine", "leave it out, or use --engine direct")
    if get(table.ENGINE) is EngineWord.PYFUSE3 and get(table.ENGINE_LOOP) is not EngineLoopWord.AUTO:
        raise UsageError("--engine-loop is a choice of the direct engine", "leave it out, or use --engine direct")
    config = Config(
        mountpoint=mountpoint,
        state=state,
        raw=raw,
        table=find_table(resolution),
        filters=filters,
        layout=MountLayout.parse(get(table.LAYOUT)),
        raw_layout=RawLayout.parse(get(table.RAW_LAYOUT), get(table.RAW_ENCODING)),
        files=files,
        required_files=required_files,
        show_error_messages=get(table.SHOW_ERROR_MESSAGES),
        interval_s=get(table.INTERVAL),
        full_interval_s=get(table.FULL_INTERVAL),
        state_listen=state_listen,
        name_timeout_s=get(table.NAME_TIMEOUT),
        max_staleness_s=get(table.MAX_STALENESS),
        max_retract=get(table.MAX_RETRACT),
        retract_floor=get(table.RETRACT_FLOOR),
        retract_after_s=get(table.RETRACT_AFTER),
        accept=get(table.ACCEPT),
        history_count=get(table.HISTORY_COUNT),
        history_age_s=get(table.HISTORY_AGE),
        history_bytes=get(table.HISTORY_BYTES),
        pin_default_s=_find_pin_default(resolution),
        pin_max_s=get(table.PIN_MAX),
        pin_grace_s=get(table.PIN_GRACE),
        pin_count=get(table.PIN_COUNT),
        pin_memory=get(table.PIN_MEMORY),
        pin_store=get(table.PIN_STORE),
        raw_id=get(table.RAW_ID) or raw,
        pin_store_timeout_s=get(table.PIN_STORE_TIMEOUT),
        state_timeout_s=get(table.STATE_TIMEOUT),
        raw_timeout_s=get(table.RAW_TIMEOUT),
        drain_s=get(table.DRAIN),
        engine=get(table.ENGINE),
        engine_loop=get(table.ENGINE_LOOP),
        reads=get(table.READS),
        push=get(table.PUSH),
        xattrs=get(table.XATTRS),
        uid=get(table.UID),
        gid=get(table.GID),
        file_times=get(table.FILE_TIMES),
        file_mode=get(table.FILE_MODE),
        dir_mode=get(table.DIR_MODE),
        allow_other=get(table.ALLOW_OTHER),
        raw_threads=get(table.RAW_THREADS),
        state_dir=get(table.STATE_DIR),
        runtime_dir=get(table.RUNTIME_DIR),
        public_dir=get(table.PUBLIC_DIR),
        metrics_file=get(table.METRICS_FILE),
        log_file=get(table.LOG_FILE),
        log_format=get(table.LOG_FORMAT),
        log_level=get(table.LOG_LEVEL),
        config_file=resolution.config_file,
        state_file=get(table.STATE_FILE),
    )
    check_own_files(config)
    return config


def find_state(resolution: Resolution) -> tuple[str, Origin]:
    """Return the state store's URL, secret included, and where it came from.

    Of --state and --state-file the one from the stronger origin counts; from one origin they exclude each other.
    Raises `UsageError`.
    """
    state, file = resolution.get(table.STATE), resolution.get(table.STATE_FILE)
    state_origin, file_origin = resolution.origin(table.STATE), resolution.origin(table.STATE_FILE)
    if state is None and file is None:
        raise UsageError("no state store is named", f"name it with {_three_names('state')}, or with --state-file")
    if state is not None and file is not None and state_origin.kind == file_origin.kind:
        raise UsageError(f"both {state_origin.label} and {file_origin.label} are given", "leave out one of them")
    if file is None or (state is not None and state_origin.kind < file_origin.kind):
        return _refuse_bare_at(state or "", state_origin), state_origin
    return _refuse_bare_at(_read_state_file(file), file_origin), file_origin


def find_table(resolution: Resolution) -> StateTable:
    """Return what the state table and its columns are called."""
    get = resolution.get
    return StateTable(
        table=get(table.STATE_TABLE),
        source=get(table.COLUMN_SOURCE),
        customer_id=get(table.COLUMN_CUSTOMER_ID),
        query_name=get(table.COLUMN_QUERY_NAME),
        logical_date=get(table.COLUMN_LOGICAL_DATE),
        status=get(table.COLUMN_STATUS),
        current_run_id=get(table.COLUMN_CURRENT_RUN_ID),
        updated_at=get(table.COLUMN_UPDATED_AT),
        record_count=get(table.COLUMN_RECORD_COUNT),
        schema_version=get(table.COLUMN_SCHEMA_VERSION),
        error_message=get(table.COLUMN_ERROR_MESSAGE),
        attempt_count=get(table.COLUMN_ATTEMPT_COUNT),
        ready=get(table.READY_STATUS),
        failed=get(table.FAILED_STATUS),
    )


def find_raw(resolution: Resolution) -> str:
    """Return the raw root; raise `UsageError` if none is named."""
    raw = resolution.get(table.RAW)
    if raw is None:
        raise UsageError("no raw root is named", f"name it with {_three_names('raw')}")
    return raw


def find_filters(resolution: Resolution) -> Filters:
    """Return which part of the table is wanted; raise `UsageError` if that can be nothing."""
    get = resolution.get
    filters = Filters(
        sources=get(table.SOURCE),
        customers=get(table.CUSTOMER),
        queries=get(table.QUERY),
        since=get(table.SINCE),
        until=get(table.UNTIL),
    )
    if filters.since is not None and filters.until is not None and filters.since > filters.until:
        raise UsageError("--since is later than --until, so nothing could be shown", "swap them")
    return filters


def find_files(resolution: Resolution) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the patterns of the files that are shown, and the names of those that seal a run.

    Raises `UsageError` if none of those is shown.
    """
    files, required = resolution.get(table.FILES), resolution.get(table.REQUIRED_FILES)
    FileFilter(files).shown_of([os.fsencode(name) for name in required])
    return files, required


def _find_pin_default(resolution: Resolution) -> float:
    """Return how long a lease lasts if nothing is said: of itself it is no longer than a lease may be."""
    default_s, max_s = resolution.get(table.PIN_DEFAULT), resolution.get(table.PIN_MAX)
    if resolution.origin(table.PIN_DEFAULT).kind is OriginKind.DEFAULT:
        return min(default_s, max_s)
    if default_s > max_s:
        raise UsageError("--pin-default is longer than --pin-max", "choose a shorter one, or a longer --pin-max")
    return default_s


def find_warnings(resolution: Resolution) -> tuple[str, ...]:
    """Return what does not stop a mount but shows a password to people who should not see it."""
    # The URL parser comes with the SQL toolkit, which is slow to import and which most commands do without.
    from readyfs.state.url import mask_url

    url, origin = find_state(resolution)
    if mask_url(url) == escape_text(url):
        return ()
    if origin.kind is OriginKind.FLAG and resolution.origin(table.STATE) == origin:
        return (
            "the password in --state stands in the process list for every user to read; "
            "use --state-file or READYFS_STATE instead",
        )
    place = resolution.get(table.STATE_FILE)
    if resolution.origin(table.STATE) == origin:
        place = resolution.config_file if origin.kind is OriginKind.FILE else None
    if place is not None and stat.S_IMODE(place.stat().st_mode) & stat.S_IROTH:
        shown = escape_text(str(place))
        command = f"chmod o-r {escape_text(shlex.quote(str(place)))}"
        return (f"{shown} holds a password and can be read by every user; run `{command}`",)
    return ()


def _refuse_bare_at(url: str, origin: Origin) -> str:
    # Parsed, what follows the first `@` would be the host, and a host is no secret to whoever shows it.
    if re.match(r"[^/?#]*://[^/?#]*@[^/?#]*@", url):
        raise UsageError(f"{origin.label}: the user or password in the URL holds an @", "write that one as %40")
    return url


def _three_names(name: str) -> str:
    return f"--{name}, READYFS_{name.upper()}, or `{name}` in the file of --config"


def _read_state_file(path: Path) -> str:
    shown = escape_text(str(path))
    try:
        with path.open(encoding="utf-8") as file:
            url = file.readline(65536).strip()
    except OSError as error:
        raise UsageError(f"cannot read the state file {shown}: {error.strerror}", "check --state-file") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the file {shown} of --state-file is not text", "it should hold a URL; name a database file with --state"
        ) from error
    if not url:
        raise UsageError(f"the first line of {shown} is empty", "put the state store's URL there")
    return make_absolute(url, lambda: path.parent)
