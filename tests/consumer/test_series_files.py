"""The files that people write: series that must exist, and gaps that are known. Errors name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.consumer.expected import read_expectations
from readyfs.consumer.known import read_known_gaps
from readyfs.errors import UsageError
from readyfs.partition import SeriesKey
from readyfs.state.filters import Filters
from tests.consumer.days import SERIES, day


def write(path: Path, *lines: str | bytes) -> Path:
    file = path / "file.csv"
    file.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines))
    return file


def test_series_that_must_exist_are_read(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "# who must deliver, and from when on",
        "source,customer_id,query_name,first_date,last_date,cadence",
        "ads,c1,q1,2024-06-01,,",
        "",
        'ads,"c,2",q1,2024-06-01,2024-06-30,weekly:MON',
        b"ads,\xff,q1,2024-06-01,,",
    )
    found = read_expectations(file, Filters())
    assert set(found.series) == {SERIES, SeriesKey(b"ads", b"c,2", b"q1"), SeriesKey(b"ads", b"\xff", b"q1")}
    one = found.of(SERIES)
    assert one is not None
    assert (one.first, one.last, one.cadence) == (day("06-01"), None, None)
    two = found.of(SeriesKey(b"ads", b"c,2", b"q1"))
    assert two is not None
    assert (two.last, two.cadence and two.cadence.text) == (day("06-30"), "weekly:MON")


def test_columns_may_come_in_any_order_and_optional_ones_may_lack(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufefffirst_date,query_name,customer_id,source", "2024-06-01,q1,c1,ads")
    assert set(read_expectations(file, Filters()).series) == {SERIES}


def test_series_outside_of_the_filters_are_not_expected(tmp_path: Path) -> None:
    file = write(tmp_path, "source,customer_id,query_name,first_date", "ads,c1,q1,2024-06-01", "ads,c2,q1,2024-06-01")
    assert set(read_expectations(file, Filters(customers=("c1",))).series) == {SERIES}


HEADER = "source,customer_id,query_name,first_date,last_date,cadence"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "is empty; the first line must be source,customer_id,query_name,first_date"),
        (["# nothing"], "is empty"),
        (["ads,c1,q1,2024-06-01"], "another header"),
        (["source,customer_id,query_name"], "another header"),
        (["source,customer_id,query_name,first_date,first_date"], "another header"),
        (["source,customer_id,query_name,first_date,colour"], "another header.*colour"),
        ([HEADER, "ads,c1,q1,2024-06-01"], "line 2 has 4 fields and the header 6"),
        ([HEADER, "", "ads,c1,q1,2024-06-31,,"], "line 3: first_date '2024-06-31' is no date"),
        ([HEADER, "ads,c1,q1,,,"], "line 2: first_date is empty"),
        ([HEADER, "ads,c1,q1,2024-06-02,2024-06-01,"], "line 2: last_date is before first_date"),
        ([HEADER, "ads,c1,q1,2024-06-02,,hourly"], "line 2: 'hourly' is not a cadence"),
        ([HEADER, "ads,c1,q1,2024-06-02,,auto"], "line 2: 'auto' is not a cadence"),
        ([HEADER, "ads,c1,q1,2024-06-02,,", "ads,c1,q1,2024-06-03,,"], "line 3: this series stands there twice"),
        ([HEADER, 'ads,"c1,q1,2024-06-02,,'], "is not CSV"),
        ([HEADER, "ads,\x1b[2J,q1,2024-06-31,,"], "line 2: first_date '2024-06-31'"),
    ],
)
def test_a_bad_list_of_series_is_refused_with_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_expectations(write(tmp_path, *lines), Filters())
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*: No such file or directory; name another file with --expect"):
        read_expectations(tmp_path / "none", Filters())
    with pytest.raises(UsageError, match=r"cannot read .*: Is a directory; name another file with --known"):
        read_known_gaps(tmp_path)


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(UsageError, match="/dev/zero has more than 64 MiB"):
        read_known_gaps(Path("/dev/zero"))


@pytest.mark.parametrize(
    "lines",
    [
        ["source,customer_id,query_name,\udcff"],
        [HEADER, "ads,c1,q1,\udcff,,"],
        [HEADER, "ads,c1,q1,2024-06-01,\udcff,"],
    ],
)
def test_what_is_no_text_is_shown_as_everywhere(tmp_path: Path, lines: list[str]) -> None:
    file = write(tmp_path, *(line.encode("utf-8", "surrogateescape") for line in lines))
    with pytest.raises(UsageError) as caught:
        read_expectations(file, Filters())
    assert ("\\xff" in str(caught.value), "udcff" in str(caught.value)) == (True, False)


def test_known_gaps_are_read(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "source,customer_id,query_name,first_date,last_date,reason",
        "ads,c1,q1,2024-06-03,2024-06-04,the upstream was down",
        "ads,*,q[12],2024-06-10,2024-06-10,",
    )
    known = read_known_gaps(file)
    one = known.of(SERIES)
    first = one.at(day("06-04"))
    assert first is not None
    assert first.reason == "the upstream was down"
    assert (one.at(day("06-02")), one.at(day("06-05"))) == (None, None)
    other = known.of(SeriesKey(b"ads", b"c9", b"q2"))
    assert (other.at(day("06-03")), other.at(day("06-10")) is not None) == (None, True)
    assert known.of(SeriesKey(b"ads", b"c9", b"q3")).at(day("06-10")) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ads,c1,q1,2024-06-03,", "line 2: last_date is empty"),
        ("ads,c1,q1,2024-06-03,2024-06-02", "line 2: last_date is before first_date"),
        ("ads,,q1,2024-06-03,2024-06-03", "line 2: customer_id is empty; write a name, or \\* for all"),
    ],
)
def test_a_bad_list_of_known_gaps_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_known_gaps(write(tmp_path, "source,customer_id,query_name,first_date,last_date", line))
