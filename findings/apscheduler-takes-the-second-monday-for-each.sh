#!/usr/bin/env bash
# APScheduler reads the crontab line for the second Monday of each month as one for every Monday, without a word.
#
# Seen with:  APScheduler 3.11.3, beside cronsim 2.8 and croniter 7.0.0.
# One expects that `MON#2` means the second Monday, as it does to many programs that read such lines, or that a library which
#   does not know `#` refuses it. APScheduler does refuse `1#2`, and `L` for the last day of a month.
# What happens: the name of a weekday is looked for at the beginning of a field, and what stands behind it is dropped. So
#   `0 0 * * MON#2` runs every Monday, and `0 0 * * FRI#1` every Friday.
# What follows: a calendar of expected dates that is made from such a line has four or five dates a month where one is
#   delivered, and the others are gaps that nobody can close. The cron fields of readyfs are read by a library that knows
#   `#`, and `MON#2` means the second Monday. See ../docs/questions.md#gaps.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    apscheduler==3.11.3 cronsim==2.8 croniter==7.0.0 python-dateutil==4.0.0 tzlocal==5.4.5
"$work/venv/bin/python" - <<'END' >"$work/seen" 2>"$work/log" || { cat "$work/log" >&2; exit 2; }
from datetime import datetime, timedelta, timezone
from itertools import takewhile

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

BEFORE, AFTER = (datetime(2025, *day, 12, tzinfo=timezone.utc) for day in ((8, 31), (9, 30)))


def by_apscheduler(line):
    trigger, now = CronTrigger.from_crontab(line, timezone=timezone.utc), BEFORE
    while True:
        now = trigger.get_next_fire_time(None, now)
        yield now
        now += timedelta(seconds=1)


READERS = {
    "cronsim": lambda line: CronSim(line, BEFORE),
    "croniter": lambda line: croniter(line, BEFORE, ret_type=datetime),
    "APScheduler": by_apscheduler,
}
for line in ("0 0 * * MON", "0 0 * * MON#2", "0 0 * * FRI#1", "0 0 * * 1#2"):
    for name, read in READERS.items():
        try:
            days = [time.day for time in takewhile(lambda time: time < AFTER, read(line))]
        except ValueError:
            days = ["refused"]
        print(f"{line} in September 2025, {name}:", *days)
END
seen=$(<"$work/seen")

expected='0 0 * * MON in September 2025, cronsim: 1 8 15 22 29
0 0 * * MON in September 2025, croniter: 1 8 15 22 29
0 0 * * MON in September 2025, APScheduler: 1 8 15 22 29
0 0 * * MON#2 in September 2025, cronsim: 8
0 0 * * MON#2 in September 2025, croniter: 8
0 0 * * MON#2 in September 2025, APScheduler: 1 8 15 22 29
0 0 * * FRI#1 in September 2025, cronsim: 5
0 0 * * FRI#1 in September 2025, croniter: 5
0 0 * * FRI#1 in September 2025, APScheduler: 5 12 19 26
0 0 * * 1#2 in September 2025, cronsim: 8
0 0 * * 1#2 in September 2025, croniter: 8
0 0 * * 1#2 in September 2025, APScheduler: refused'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: the libraries no longer do this; expected was:\n%s\n' "$expected"
    exit 1
}
