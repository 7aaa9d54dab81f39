"""The text form of a status, for people: an aligned block for each mount."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from readyfs.cli.daemon_lookup import KernelView
from readyfs.text import escape_text


def render_status(status: Mapping[str, object]) -> str:
    """Return the block for a daemon's own status; what it does not say is left out."""
    withheld = status.get("withheld")
    counts = withheld if isinstance(withheld, Mapping) else {}
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
    rows = [
        _phase(status),
        ("nothing", str(status.get("nothing_shown") or "")),
        ("fingerprint", str(status.get("fingerprint", ""))[:16]),
        ("refreshed", _refreshed(status)),
        ("state", _state(status)),
        ("held back", _held_back(status)),
        ("baseline", _baseline(status)),
        ("history", _history(status)),
        ("pin store", _pin_store(status)),
        ("listening", _listening(status)),
        ("raw", _join(str(status.get("raw", "")), _waiting(status))),
        ("withheld", reasons or "nothing"),
        ("broken", _count(status, "broken", "partition")),
        ("in use", _join(_count(status, "open_handles", "open handle"), _count(status, "inodes", "inode"))),
        ("engine", _engine(status)),
        ("daemon", _join(_word(status, "pid", "pid"), _uptime(status), _version(status))),
    ]
    return _block(str(status.get("mountpoint", "?")), rows)


def render_silent(mountpoint: str, error: str, kernel: KernelView | None, *, is_dead: bool = False) -> str:
    """Return the block for a daemon that says nothing: what the kernel shows of its mount.

    Requests that wait are shown unless the daemon is dead: then they fail at once.
    """
    rows = [("daemon", error)]
    if kernel is None:
        rows.append(("kernel", "no readyfs mount here"))
    else:
        rows.append(("kernel", f"mounted from {kernel.source}, FUSE connection {kernel.connection}"))
    if kernel is not None and not is_dead:
        unknown = "unknown; mount -t fusectl none /sys/fs/fuse/connections shows it"
        rows.append(("waiting", unknown if kernel.waiting is None else f"{kernel.waiting} requests without an answer"))
    return _block(mountpoint, rows)


def render_age(seconds: float) -> str:
    """Return an age or uptime in at most two units, such as `4.2 s` or `3 h 12 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole} s"


def _block(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"  {label:<11} {escape_text(text)}" for label, text in rows if text]
    return "\n".join([escape_text(title), *lines])


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _count(status: Mapping[str, object], key: str, noun: str) -> str:
    value = status.get(key)
    if not isinstance(value, int):
        return ""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def _word(status: Mapping[str, object], key: str, noun: str) -> str:
    return f"{noun} {status[key]}" if key in status else ""


def _phase(status: Mapping[str, object]) -> tuple[str, str]:
    """Return the first row: what a reader of the mount gets at this moment."""
    phase = status.get("phase", "serving")
    if phase == "draining":
        left, holders = status.get("draining_seconds_left"), status.get("holders")
        served = f"open files are served for {render_age(float(left))} more" if isinstance(left, int | float) else ""
        held = f"held by {', '.join(map(str, holders))}" if isinstance(holders, list) and holders else ""
        return "DRAINING", "; ".join(part for part in ("unmounted, no path leads here", served, held) if part)
    if phase != "serving":
        return str(phase).upper(), "asked to stop"
    if status.get("stale"):
        limit = status.get("max_staleness_seconds")
        old = f" than {render_age(float(limit))}" if isinstance(limit, int | float) else ""
        return (
            "REFUSING",
            "every walk from the mount root fails with EIO (Input/output error): "
            f"the catalog is older{old or ' than allowed'}",
        )
    return "serving", _join(_count(status, "partitions", "ready partition"), _word(status, "revision", "revision"))


def _listening(status: Mapping[str, object]) -> str:
    trouble = status.get("listen_error")
    return f"not notified of changes, the timer finds them: {trouble}" if trouble else ""


def _waiting(status: Mapping[str, object]) -> str:
    count, longest = status.get("raw_waiting"), status.get("raw_waiting_longest_seconds")
    if not isinstance(count, int) or not count:
        return ""
    since = f", the longest for {render_age(float(longest))}" if isinstance(longest, int | float) else ""
    return f"{count:,} {'request waits' if count == 1 else 'requests wait'} for it{since}"


def _refreshed(status: Mapping[str, object]) -> str:
    age, interval = status.get("age_seconds"), status.get("interval_seconds")
    parts = [f"{render_age(float(age))} ago"] if isinstance(age, int | float) else []
    if isinstance(interval, int | float):
        parts.append(f"every {interval:g} s")
    return ", ".join(parts)


def _state(status: Mapping[str, object]) -> str:
    label, error = str(status.get("state", "")), status.get("state_error")
    held = status.get("held_back_fingerprint") is not None
    word = "STALE" if status.get("stale") else "held back" if held else "outage" if error else ""
    return _join(label, f"{word}: {error}" if error else word)


def _held_back(status: Mapping[str, object]) -> str:
    fingerprint = status.get("held_back_fingerprint")
    if fingerprint is None:
        return ""
    place = shlex.quote(str(status.get("mountpoint", "MOUNTPOINT")))
    count = _count(status, "held_back_partitions", "partition")
    return f"{count}; to show them: readyfs refresh {place} --accept {fingerprint}"


def _baseline(status: Mapping[str, object]) -> str:
    problem = status.get("baseline_error")
    return f"cannot be written, so a restart may pass --max-retract by: {problem}" if problem else ""


def _history(status: Mapping[str, object]) -> str:
    problem = status.get("history_error")
    return f"cannot be written, so a restart forgets what was shown: {problem}" if problem else ""


def _pin_store(status: Mapping[str, object]) -> str:
    problem = status.get("pin_store_error")
    return f"cannot be used, so views of other mounts are not found: {problem}" if problem else ""


def _engine(status: Mapping[str, object]) -> str:
    reads = f"{status['reads']} reads: {status.get('reads_reason')}" if "reads" in status else ""
    fallbacks = status.get("fallbacks")
    refused = sum(fallbacks.values()) if isinstance(fallbacks, Mapping) else 0
    engine = str(status.get("engine", ""))
    return _join(engine, _loop(status), reads, f"{refused:,} refused by the kernel" if refused else "")


def _loop(status: Mapping[str, object]) -> str:
    """Return which loop serves, and why Python does where it is a choice."""
    word = status.get("engine_loop")
    if word is None or status.get("engine") != "direct":
        return ""
    mismatches = status.get("engine_loop_mismatches")
    differ = sum(mismatches.values()) if isinstance(mismatches, Mapping) else 0
    why = str(status.get("engine_loop_reason")) if word == "python" else f"{differ:,} answers differ" if differ else ""
    return f"{word} loop: {why}" if why else f"{word} loop"


def _uptime(status: Mapping[str, object]) -> str:
    uptime = status.get("uptime_seconds")
    return f"up {render_age(float(uptime))}" if isinstance(uptime, int | float) else ""


def _version(status: Mapping[str, object]) -> str:
    return f"readyfs {status['version']}" if "version" in status else ""
