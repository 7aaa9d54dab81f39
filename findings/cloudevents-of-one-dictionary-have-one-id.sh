#!/usr/bin/env bash
# CloudEvents' Python SDK gives all events that are made from one dictionary of attributes the same id and the same time.
#
# Seen with:  cloudevents 2.2.0.
# One expects that each event gets an id of its own where none is named: the SDK's documentation says that it becomes a
#   UUID4, and by the specification a consumer may take two events of one source and one id for the same event.
# What happens: the constructor writes the id and the time that it made into the caller's dictionary, and keeps that one.
#   The second event finds both there. Three partitions become three events of one id, of which whoever drops
#   duplicates loads one. Events of a copy each have ids of their own.
# What follows: each event that readyfs prints names an id of its own, which is the same whenever it is printed again, and
#   leaves none to be made by whoever sends it on. See ../docs/questions.md#changes.
set -Eeuo pipefail
trap 'exit 2' ERR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check cloudevents==2.2.0 python-dateutil==4.0.0
"$work/venv/bin/python" - <<'END' >"$work/seen" 2>"$work/log" || { cat "$work/log" >&2; exit 2; }
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

DATES = ("2024-06-01", "2024-06-02", "2024-06-03")


def load(messages):
    """Do what a consumer is told to do: take an event of a known source and id for one that it has."""
    loaded = {}
    for message in messages:
        event = JSONFormat().read(None, message)
        loaded.setdefault((event.get_source(), event.get_id()), event.get_data()["logical_date"])
    return list(loaded.values())


def show(title, events):
    ids, times = ({read(event) for event in events} for read in (CloudEvent.get_id, CloudEvent.get_time))
    print(f"{title}: {len(events)} events, {len(ids)} ids, {len(times)} times, loaded", *load(map(JSONFormat().write, events)))


common = {"source": "/partitions", "type": "appeared"}
show("a copy for each", [CloudEvent(dict(common), {"logical_date": date}) for date in DATES])
print("attributes before:", *common)
show("one for all", [CloudEvent(common, {"logical_date": date}) for date in DATES])
print("attributes after:", *common)
END
seen=$(<"$work/seen")

expected='a copy for each: 3 events, 3 ids, 3 times, loaded 2024-06-01 2024-06-02 2024-06-03
attributes before: source type
one for all: 3 events, 1 ids, 1 times, loaded 2024-06-01
attributes after: source type specversion id time'
printf '%s\n' "$seen"
[[ $seen == "$expected" ]] || {
    printf 'changed: the SDK no longer does this; expected was:\n%s\n' "$expected"
    exit 1
}
