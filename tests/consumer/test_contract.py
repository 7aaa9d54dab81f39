"""What a file of the Open Data Contract Standard promises of dates, as its public schema (3.1.0) writes it."""

from __future__ import annotations

import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from readyfs.consumer.agreement import ServiceLevel
from readyfs.consumer.contract import read_service_level
from readyfs.errors import UsageError
from tests.consumer.days import UTC, day, instant

CONTRACT = """\
version: 1.0.0
apiVersion: v3.1.0
kind: DataContract
id: 8d0a1c0e-6a3f-4a56-9f26-0b4e4e2f7c11
status: active
name: campaign_daily
schema:
  - name: campaign_daily
    logicalType: object
    properties:
      - name: logical_date
        logicalType: date
slaProperties:
"""
NOW = "06-12T12:00"


def read(path: Path, *properties: str, wants_cadence: bool = True) -> ServiceLevel:
    file = path / "contract.odcs.yaml"
    file.write_text(CONTRACT + "".join(f"  - {{{one}}}\n" for one in properties))
    return read_service_level(file, ZoneInfo("Europe/Berlin"), UTC, instant(NOW), wants_cadence=wants_cadence)


def due(level: ServiceLevel, date: str = "06-10") -> int:
    assert level.deadline is not None
    return level.deadline.due_ns(day(date))


def test_latency_is_counted_from_the_end_of_the_date(tmp_path: Path) -> None:
    assert due(read(tmp_path, "property: latency, value: 4, unit: d")) == instant("06-15T00:00")
    assert due(read(tmp_path, "property: LY, value: 1.5, unit: hours")) == instant("06-11T01:30")


def test_the_time_of_availability_is_one_of_the_next_day_by_its_own_offset(tmp_path: Path) -> None:
    level = read(
        tmp_path, "property: timeOfAvailability, value: 09:00-08:00, element: t.logical_date, driver: analytics"
    )
    assert due(level) == instant("06-11T17:00")


@pytest.mark.parametrize("value", ["10:30", '"10:30"', "10:30+02:00"])
def test_a_time_without_an_offset_is_one_of_the_zone_and_no_number_of_base_sixty(tmp_path: Path, value: str) -> None:
    # YAML 1.1 reads 10:30 as the number 630.
    assert due(read(tmp_path, f"property: timeOfAvailability, value: {value}")) == instant("06-11T08:30")


def test_of_several_deadlines_the_first_counts(tmp_path: Path) -> None:
    level = read(
        tmp_path,
        "property: timeOfAvailability, value: 09:00-08:00, driver: regulatory",
        "property: timeOfAvailability, value: 08:00-08:00, driver: analytics",
        "property: latency, value: 4, unit: d",
    )
    assert due(level) == instant("06-11T16:00")
    assert level.deadline is not None
    assert level.deadline.last_due(instant("06-11T16:00")) == day("06-10")
    assert level.deadline.last_due(instant("06-11T15:59")) == day("06-09")


def test_the_frequency_is_a_cadence(tmp_path: Path) -> None:
    level = read(tmp_path, "property: frequency, value: 1, valueExt: 1, unit: d")
    assert level.cadence is not None
    assert level.cadence.text == "daily"
    with pytest.raises(UsageError, match="does not say on which days; say it with --cadence"):
        read(tmp_path, "property: frequency, value: 1, unit: week")
    assert read(tmp_path, "property: frequency, value: 1, unit: week", wants_cadence=False).cadence is None


def test_availability_end_of_life_and_retention_bound_the_dates(tmp_path: Path) -> None:
    level = read(
        tmp_path,
        'property: generalAvailability, value: "2024-05-12T09:30:10-08:00"',
        "property: endOfLife, value: 2032-05-12",
        "property: retention, value: 3, unit: days",
    )
    assert (level.first, level.last) == (day("06-09"), day("2032-05-12"))
    assert read(tmp_path, "property: generalAvailability, value: 2024-05-12T09:30:10-08:00").first == day("05-12")


def test_what_says_nothing_of_dates_is_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, "property: availability, value: 99.9, unit: percent", "property: ourOwn, value: true") == (
        ServiceLevel()
    )
    file = tmp_path / "none.yaml"
    file.write_text("apiVersion: v3.0.2\nkind: DataContract\nversion: 1\nid: a\nstatus: draft\n")
    assert read_service_level(file, UTC, UTC, 0) == ServiceLevel()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("property: latency, value: 4, unit: fortnight", "latency .* has the unit 'fortnight'; write one of second"),
        ("property: latency, value: 4", "has the unit ''"),
        ("property: latency, value: soon, unit: d", "has the value 'soon'; write a number"),
        ("property: latency, value: -1, unit: d", "has the value '-1'"),
        ("property: latency, value: 999999, unit: y", "choose at most 200 years"),
        ("property: timeOfAvailability, value: morning", "write a time such as 09:00-08:00"),
        ("property: timeOfAvailability, value: 24:00", "write a time such as 09:00-08:00"),
        ("property: timeOfAvailability, value: 09:00+99:00", "write a time such as 09:00-08:00"),
        ("property: generalAvailability, value: soon", "write a date or a time of ISO 8601"),
        ("property: latency, value: [4]", "has no property or no value"),
        ("value: 4", "has no property or no value"),
    ],
)
def test_a_promise_that_makes_no_sense_is_refused(tmp_path: Path, written: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(tmp_path, written)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no data contract"),
        (b"- a list", "is no data contract"),
        (b"kind: DataContract\napiVersion: v2.2.2\n", "is no data contract; it needs"),
        (b"kind: DataContract\napiVersion: v3.1.0\nslaProperties: soon\n", "slaProperties of .* is no list"),
        (b"a: 1\nb: [1\nc: }", "line 3 is not YAML"),
        (b"a: \xff", "is not YAML"),
        (b"[" * 20_000, "is not YAML"),
    ],
)
def test_a_file_that_is_no_contract_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "contract.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        read_service_level(file, UTC, UTC, 0)
    assert str(caught.value).isprintable()


def test_an_alias_of_an_alias_costs_nothing(tmp_path: Path) -> None:
    lines = ["kind: DataContract", "apiVersion: v3.1.0", "a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    file = tmp_path / "contract.yaml"
    file.write_text("\n".join(lines))
    assert read_service_level(file, UTC, UTC, 0) == ServiceLevel()


def test_a_library_that_is_not_installed_is_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match=r"pip install 'readyfs\[contract\]'"):
        read(tmp_path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*; name another file with --contract"):
        read_service_level(tmp_path / "none.yaml", UTC, UTC, 0)
