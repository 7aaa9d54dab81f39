#!/usr/bin/env bash
# A pandas Timestamp is a datetime and equal to it, but 24 hours later they differ by one where clocks change.
#
# Seen with:  pandas 3.1.1, numpy 2.4.6.
# One expects of a subclass of `datetime.datetime` that a function which is written for that class computes the same with it.
# What happens: in a time zone `datetime` moves the hands of the clock, and `Timestamp` lets time pass. From midnight of
#   2024-03-31 in Berlin, a day of 23 hours, `+ timedelta(hours=24)` is midnight for one and 01:00 for the other.
#   Of two midnights, one difference is 24 hours and the other is 23. It is 23 too if only one of the two is a Timestamp.
# What follows: "24 hours late" is another moment after a day of a clock change, by the type in which the time came. readyfs
#   counts hours in UTC, from the moment at which a day has ended in its zone. See ../docs/questions.md#gaps.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    pandas==3.1.1 numpy==2.4.6 python-dateutil==4.0.0 tzdata==2026.6
"$work/venv/bin/python" - <<'END' >"$work/seen" 2>"$work/log" || { cat "$work/log" >&2; exit 2; }
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pandas

DAY_BEGAN = datetime(2024, 3, 31, tzinfo=ZoneInfo("Europe/Berlin"))
NEXT_BEGAN = datetime(2024, 4, 1, tzinfo=ZoneInfo("Europe/Berlin"))


def due(began: datetime) -> datetime:
    assert isinstance(began, datetime) and began == DAY_BEGAN
    return began + timedelta(hours=24)


def hours(began: datetime, ended: datetime) -> int:
    return (ended - began) // timedelta(hours=1)


for began, ended in (
    (DAY_BEGAN, NEXT_BEGAN),
    (pandas.Timestamp(DAY_BEGAN), pandas.Timestamp(NEXT_BEGAN)),
    (pandas.Timestamp(DAY_BEGAN), NEXT_BEGAN),
):
    print(f"{type(began).__name__}: due {due(began).astimezone(timezone.utc):%d %H:%M} UTC,", end=" ")
    print(f"{hours(began, ended)} hours to the midnight of a {type(ended).__name__}")
END
seen=$(<"$work/seen")

expected='datetime: due 31 22:00 UTC, 24 hours to the midnight of a datetime
Timestamp: due 31 23:00 UTC, 23 hours to the midnight of a Timestamp
Timestamp: due 31 23:00 UTC, 23 hours to the midnight of a datetime'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: pandas no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
