"""State URLs: telling a file from a database server, and never showing a secret.

Everything that leaves this package with a URL or a driver's words in it goes through `mask_url` or `scrub`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote

from readyfs.errors import UsageError
from readyfs.text import escape_text

if TYPE_CHECKING:
    import sqlalchemy as sa

_MASK: Final = "***"
_SECRET_KEY: Final = re.compile(r"pass|pwd|secret|token|credential|key$", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"(://[^/?#:@]*:).*(@)", re.DOTALL)
"""Up to the last @, since people forget to encode passwords: an @ in the query masks too much, never too little."""
_SECRET_PAIR: Final = re.compile(
    r"\b(\w*(?:pass|pwd|secret|token|credential)\w*\s*=\s*)('(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s&;,'\"]+)", re.IGNORECASE
)
_SEVERAL_HOSTS: Final = re.compile(
    r"(?P<before>postgres[^:]*://(?:[^@/]*@)?)(?P<hosts>[^/?@]+,[^/?@]+)(?P<after>/[^?]*)?"
)
"""The form of libpq's own URLs."""
_SQLITE_PARAMETERS: Final = frozenset({"uri", "mode", "cache", "immutable", "nolock", "timeout", "check_same_thread"})
_PLAIN_SQLITE: Final = re.compile(r"sqlite:///([^?:%\0]+)")
"""All that most URLs of a SQLite file are: they need no parser."""
_SQLITE_DRIVERS: Final = frozenset({"sqlite", "sqlite+pysqlite"})


def is_path(url: str) -> bool:
    """Tell whether a state setting is a bare path to a SQLite file."""
    return "://" not in url and not url.startswith("file:") and url != ":memory:"


def parse_url(url: str) -> sa.URL:
    """Parse a database URL; raise `UsageError`, without the URL's secrets, if it is none."""
    # Only here: the toolkit is slow to import, and a path does without it.
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    try:
        return sa.make_url(url)
    except (ArgumentError, ValueError) as error:
        several = _SEVERAL_HOSTS.match(mask_url(url))
        if several is not None:
            hosts = "&".join(f"host={host}" for host in several["hosts"].split(","))
            raise UsageError(
                f"state URL {mask_url(url)}: several hosts with ports are not written there",
                f"write {several['before']}{several['after'] or '/DATABASE'}?{hosts}",
            ) from error
        raise UsageError(
            f"state URL {mask_url(url)} cannot be parsed", "write DIALECT://USER:PASSWORD@HOST/DATABASE, or a path"
        ) from error


def sqlite_path(url: str) -> Path | None:
    """Return the absolute path of a SQLite state's file, None for any other database.

    Raises `UsageError` for a SQLite URL that names no file or asks for what is not supported.
    """
    if is_path(url):
        return _absolute(url)
    if url.startswith("file:"):
        return _path_of_uri(*_split_uri(url))
    if url == ":memory:":
        raise _no_file(url)
    if not re.match(r"sqlite\b", url):
        return None
    plain = _PLAIN_SQLITE.fullmatch(url)
    if plain is not None:
        return _absolute(plain[1])
    parsed = parse_url(url)
    if parsed.drivername not in _SQLITE_DRIVERS:
        raise UsageError(
            f"state URL {mask_url(url)}: driver {parsed.drivername} is not supported", "write sqlite:///PATH"
        )
    unknown = set(parsed.query) - _SQLITE_PARAMETERS
    if unknown:
        names = ", ".join(escape_text(name) for name in sorted(unknown))
        raise UsageError(f"state URL {mask_url(url)}: parameter {names} is not supported", "leave it out")
    if parsed.host or not parsed.database or parsed.query.get("mode") == "memory":
        raise _no_file(url)
    if parsed.database.startswith("file:"):
        return _path_of_uri(*_split_uri(parsed.database))
    return _absolute(parsed.database)


def mask_url(url: str) -> str:
    """Return the URL for display: password and secret query parameters as `***`, control characters escaped."""
    if is_path(url):
        return escape_text(url)
    shown, mark, query = _PASSWORD.sub(rf"\1{_MASK}\2", url).partition("?")
    pairs = (pair.partition("=") for pair in query.split("&"))
    masked = [name + sign + (_MASK if _SECRET_KEY.search(unquote(name)) else value) for name, sign, value in pairs]
    return escape_text(shown + mark + "&".join(masked))


def scrub(text: str, url: sa.URL) -> str:
    """Return a driver's words as one escaped line without any secret of the URL, however it is spelled there."""
    for secret in _secrets(url):
        for spelling in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}:
            text = text.replace(spelling, _MASK)
    text = _SECRET_PAIR.sub(rf"\1{_MASK}", text)
    return escape_text(" ".join(_PASSWORD.sub(rf"\1{_MASK}\2", word) for word in text.split()))


def render_label(url: sa.URL) -> str:
    """Return dialect, hosts and database: a name that is safe in logs and in the mount table."""
    hosts = ",".join(f"{host}:{port}" if port else host for host, port in _hosts(url))
    return escape_text(f"{url.get_backend_name()}://{hosts}/{url.database or ''}")


def _hosts(url: sa.URL) -> Iterator[tuple[str, str]]:
    """Yield hosts with their ports; a query names them in place of what stands before it, as `host:port` or apart."""
    query = url.normalized_query
    named = [host for value in query.get("host", ()) for host in value.split(",")] or (url.host or "").split(",")
    ports = [port for value in query.get("port", ()) for port in value.split(",")] or [str(url.port or "")]
    for number, host in enumerate(named):
        port = ports[number] if number < len(ports) else ports[0]
        if host.startswith("/"):
            host = ""  # the directory of a socket, which is this machine's
        elif host.count(":") == 1:
            host, _, port = host.partition(":")
        elif ":" in host and not host.startswith("["):
            host = f"[{host}]"
        yield host, port


def _secrets(url: sa.URL) -> list[str]:
    found = [str(url.password)] if url.password else []
    for name, values in url.normalized_query.items():
        if _SECRET_KEY.search(name):
            found.extend(values)
    return sorted((secret for secret in found if secret), key=len, reverse=True)


def _absolute(path: str) -> Path:
    if not path or "\0" in path:
        raise UsageError(f"state path '{escape_text(path)}' is not a path", "give a SQLite file or a database URL")
    if path == ":memory:":
        raise _no_file(path)
    return Path(path).absolute()


def _split_uri(uri: str) -> tuple[str, str]:
    path, _, query = uri.partition("#")[0].partition("?")
    return path, query


def _path_of_uri(path: str, query: str) -> Path:
    path = path.removeprefix("file:")
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise UsageError(f"state URI file:{escape_text(path)} names a host", "write file:///PATH")
        path = slash + rest
    if "mode=memory" in query.split("&") or path in ("", ":memory:"):
        raise _no_file(f"file:{path}")
    return _absolute(os.fsdecode(_unquote_bytes(path)))


def _unquote_bytes(path: str) -> bytes:
    return unquote(path, "utf-8", "surrogateescape").encode("utf-8", "surrogateescape")


def _no_file(url: str) -> UsageError:
    return UsageError(
        f"state URL {escape_text(url)} names no file: a database in memory has no producer", "write sqlite:///PATH"
    )
