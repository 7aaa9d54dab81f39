"""`readyfs gaps` and `latest` on real states of each kind: what is late, in each form, and what the exit code says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from readyfs.cli.main import main
from readyfs.errors import ExitCode
from tests.cli.conftest import SOURCE, Run
from tests.cli.states import STORES, Row, State, days_ago, make_state

# Up to a date in the future, so that no test depends on the hour.
READY = [Row(number) for number in range(20, -2, -1)]


@pytest.fixture(params=STORES)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    return make_state(request.param, tmp_path, request)


@pytest.fixture
def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    return make_state("sqlite", tmp_path, request)


def without(*days: int, customer: str = "c1") -> list[Row]:
    return [Row(row.days_ago, customer=customer) for row in READY if row.days_ago not in days]


def read(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def spans(one: dict[str, object]) -> list[tuple[object, ...]]:
    gaps = one["gaps"]
    assert isinstance(gaps, list)
    return [(gap["partition_status"], gap["first_date"], gap["last_date"], gap["status"]) for gap in gaps]


def write_csv(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


# ---- gaps ---------------------------------------------------------------------------------------------------------


def test_every_kind_of_gap_is_found_in_every_kind_of_store(state: State, run: Run, tmp_path: Path) -> None:
    state.write(without(14, 13, 10, 9, 8, 7, 5))
    state.write([Row(10, "failed", None), Row(9, "pending", None), Row(8, "success", None)])
    state.write([Row(7, "pending", "r1"), *without(customer="c2")])
    expect = write_csv(
        tmp_path / "expect.csv",
        "source,customer_id,query_name,first_date",
        f"ads,c3,q1,{days_ago(4)}",
        f"ads,c2,q1,{days_ago(20)}",
    )
    known = write_csv(
        tmp_path / "known.csv",
        "source,customer_id,query_name,first_date,last_date,reason",
        f"ads,*,q1,{days_ago(5)},{days_ago(5)},holiday",
    )
    files = ("--expect", expect, "--known", known)
    code, output, errors = run("gaps", "--state", state.url, "--sla", "36h", "--until", days_ago(3), *files, "--json")
    assert (code, errors) == (ExitCode.FOUND, "")
    one, two, three = read(output)
    assert spans(one) == [
        ("missing", days_ago(14), days_ago(13), "error"),
        ("failed", days_ago(10), days_ago(10), "error"),
        ("pending", days_ago(9), days_ago(9), "error"),
        ("withheld", days_ago(8), days_ago(8), "error"),
        # Ready before, and queued again without a new time: a warning, however old it is.
        ("reprocessing", days_ago(7), days_ago(7), "warn"),
        ("missing", days_ago(5), days_ago(5), "pass"),
    ]
    assert (one["status"], one["error_dates"], one["warn_dates"], one["known_dates"]) == ("error", 5, 1, 1)
    assert (one["expected_dates"], one["ready_dates"], one["first_late_date"]) == (18, 12 - 1, days_ago(14))
    assert (two["status"], two["complete"], two["gaps"]) == ("pass", 1.0, [])
    assert (three["customer_id"], three["max_loaded_at"], three["newest_date"]) == ("c3", None, None)
    assert spans(three) == [("missing", days_ago(4), days_ago(3), "error")]


def test_nothing_late_is_exit_code_0(state: State, run: Run) -> None:
    state.write(READY)
    code, output, errors = run("gaps", "--state", state.url)
    assert (code, errors) == (ExitCode.OK, "")
    assert output == "nothing is late; 1 of 1 series complete; 100% of the expected dates ready\n"


def test_what_is_within_its_time_is_neither_late_nor_complete(sqlite: State, run: Run) -> None:
    """In the morning: one is there, one failed, one is withheld, and of one there is no row."""
    yesterday = days_ago(1)
    sqlite.write([Row(1), Row(1, "failed", None, customer="c2"), Row(1, "success", None, customer="c3")])
    for alarm in (("--crit", "36h"), ("--sla", "36h"), ("--deadline", "23:59+2d")):
        options = (*alarm, "--since", yesterday, "--until", yesterday)
        code, output, _ = run("gaps", "--state", sqlite.url, *options)
        assert (code, output) == (0, "nothing is late; 2 dates of 2 series are not ready and not late yet\n")
        _, output, _ = run("gaps", "--state", sqlite.url, *options, "--json")
        assert [one["waiting_dates"] for one in read(output)] == [0, 1, 1]
        _, output, _ = run("gaps", "--state", sqlite.url, *options, "--format", "nagios")
        assert (output.startswith("READYFS OK"), " waiting_dates=2;;;0 " in output) == (True, True)
        _, output, _ = run("gaps", "--state", sqlite.url, *options, "--format", "prometheus")
        [family] = [one for one in text_string_to_metric_families(output) if one.name == "readyfs_gaps_waiting_dates"]
        assert [one.value for one in family.samples] == [0, 1, 1]
    # Of c4 nothing is expected yet, so it is not complete.
    sqlite.write([Row(9, customer="c0"), Row(8, customer="c0"), Row(1, customer="c4")])
    _, output, _ = run("gaps", "--state", sqlite.url, "--crit", "36h", "--customer", "c[04]", "--until", days_ago(1))
    assert "; 0 of 1 series complete; " in output


def test_what_is_of_a_whole_series_stands_on_its_first_line(sqlite: State, run: Run) -> None:
    sqlite.write([*without(12, 10), *without(10, customer="c2")])
    _, output, _ = run("gaps", "--state", sqlite.url, "--crit", "2d")
    one, two, three = (line.split() for line in output.splitlines()[1:4])
    assert (one[2], one[-2:]) == ("c1", ["88.8%", days_ago(12)])
    assert (two[2], two[-2:]) == ("c1", [days_ago(10), "1"])
    assert (three[2], three[-2:]) == ("c2", ["94.4%", days_ago(10)])


@pytest.mark.parametrize("command", ["gaps", "latest"])
def test_two_alarms_are_one_too_many(sqlite: State, run: Run, command: str) -> None:
    code, _, errors = run(command, "--state", sqlite.url, "--sla", "40h", "--crit", "30h")
    assert (code, errors) == (ExitCode.USAGE, "readyfs: --crit and --sla exclude each other; leave out one of them\n")
    code, _, errors = run(command, "--state", sqlite.url, "--sla", "1d12h")
    assert (code, errors.startswith("readyfs: --sla: '1d12h' is not a duration")) == (ExitCode.USAGE, True)


def test_lines_for_people_name_the_dates_and_sum_up(sqlite: State, run: Run) -> None:
    sqlite.write([*without(10, 9), *without(customer="c\x1b[2J")])
    code, output, _ = run("gaps", "--state", sqlite.url, "--crit", "2d")
    assert code == ExitCode.FOUND
    head, line, empty, summary = output.splitlines()
    assert head.split() == "LEVEL SOURCE CUSTOMER QUERY IS FROM TO DATES COMPLETE FIRST LATE DETAIL".split()
    assert line.split() == f"crit ads c1 q1 missing {days_ago(10)} {days_ago(9)} 2 88.8% {days_ago(10)}".split()
    assert (empty, output.isascii(), "\x1b" in output) == ("", True, False)
    assert summary.startswith("2 dates of 1 series late (2 crit, 0 warn); 1 of 2 series complete; 94.")


def test_fail_on_crit_lets_warnings_pass(sqlite: State, run: Run) -> None:
    sqlite.write(without(10))
    for options, code in (
        (("--warn", "24h"), ExitCode.FOUND),
        (("--warn", "24h", "--fail-on", "crit"), ExitCode.OK),
        (("--crit", "36h", "--fail-on", "crit"), ExitCode.FOUND),
    ):
        assert run("gaps", "--state", sqlite.url, *options)[0] == code


def test_a_guess_is_reported_and_is_exit_code_0(sqlite: State, run: Run) -> None:
    sqlite.write(without(10))
    code, output, _ = run("gaps", "--state", sqlite.url, "--cadence", "auto")
    assert code == ExitCode.OK
    assert output.splitlines()[1].startswith("guess  ads")
    assert "1 date missing by a guess" in output
    code, output, _ = run("gaps", "--state", sqlite.url, "--cadence", "auto", "--json")
    [one] = read(output)
    assert (one["cadence"], one["cadence_guessed"], one["guessed_dates"], one["status"]) == ("daily", True, 1, "pass")


def test_json_has_the_fields_of_dbt(sqlite: State, run: Run) -> None:
    sqlite.write(without(10))
    _, output, _ = run(
        "gaps",
        "--state",
        sqlite.url,
        "--warn",
        "90m",
        "--deadline",
        "09:00",
        "--tz",
        "Europe/Berlin",
        "--day-tz",
        "Asia/Kolkata",
        "--json",
    )
    [one] = read(output)
    assert one["unique_id"] == "ads/c1/q1"
    assert one["criteria"] == {
        "warn_after": {"count": 90, "period": "minute"},
        "error_after": {"count": None, "period": None},
        "deadline": "09:00+1d Europe/Berlin",
        "day_tz": "Asia/Kolkata",
    }
    assert one["max_loaded_at"] == f"{days_ago(-2)}T05:00:00.000000+00:00"
    ago = one["max_loaded_at_time_ago_in_s"]
    assert isinstance(ago, float)
    assert -3 * 86_400 < ago < 0


def test_filters_are_those_of_a_mount(sqlite: State, run: Run) -> None:
    sqlite.write([*without(10), *without(9, customer="c2")])
    _, output, _ = run("gaps", "--state", sqlite.url, "--customer", "c2", "--json")
    assert [one["customer_id"] for one in read(output)] == ["c2"]
    assert run("gaps", "--state", sqlite.url, "--since", days_ago(8))[0] == ExitCode.OK


def test_a_contract_is_read(sqlite: State, run: Run, tmp_path: Path) -> None:
    sqlite.write(without(3))
    contract = tmp_path / "contract.yaml"
    for days, code in ((1, ExitCode.FOUND), (9, ExitCode.OK)):
        contract.write_text(
            "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\n"
            f"slaProperties:\n  - {{property: latency, value: {days}, unit: d}}\n"
        )
        assert run("gaps", "--state", sqlite.url, "--contract", str(contract))[0] == code


# ---- monitoring ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "state_word", "code"),
    [
        (("--warn", "30d"), "OK", 0),
        (("--warn", "24h"), "WARNING", 1),
        (("--crit", "24h"), "CRITICAL", 2),
        (("--customer", "nobody"), "UNKNOWN", 3),
        (("--warn", "soon"), "UNKNOWN", 3),
        (("--bogus",), "UNKNOWN", 3),
        (("--json",), "UNKNOWN", 3),
        (("--state-table", "other"), "UNKNOWN", 3),
        (("--expect", "/nonexistent"), "UNKNOWN", 3),
    ],
)
def test_nagios_gets_one_line_and_its_own_exit_codes(
    sqlite: State, run: Run, options: tuple[str, ...], state_word: str, code: int
) -> None:
    sqlite.write(without(10, 9))
    found, output, errors = run("gaps", "--state", sqlite.url, "--format", "nagios", *options)
    assert (found, errors, output.count("\n")) == (code, "", 1)
    assert output.startswith(f"READYFS {state_word} - ")
    text, _, performance = output.rstrip("\n").partition(" | ")
    assert text
    assert bool(performance) is (state_word != "UNKNOWN")
    for one in performance.split():
        # 'label'=value[UOM];[warn];[crit];[min];[max], as the guidelines of monitoring plugins have it.
        assert re.fullmatch(r"[a-z_]+=[0-9.]+%?(;[0-9]*){0,4}", one), one


def test_nagios_is_never_told_ok_by_a_state_that_cannot_be_read(state: State, run: Run, tmp_path: Path) -> None:
    state.write(READY)
    assert run("gaps", "--state", state.url, "--format=nagios")[0] == 0
    state.execute("DROP TABLE partition_state", ())
    code, output, _ = run("gaps", "--state", state.url, "--format=nagios")
    assert (code, output.startswith("READYFS UNKNOWN - ")) == (3, True)


@pytest.mark.parametrize("arguments", [["gaps", "--help"], ["gaps"], ["--debug", "gaps"]])
def test_nothing_that_judged_nothing_is_ok_for_nagios(capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main([*arguments, "--format", "nagios"]) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["latest"],
        ["status"],
        ["nonsense"],
        [],
        ["replay", "--", "gaps"],
        ["replay", "gaps", "--"],
        ["gaps", "--"],
    ],
)
def test_only_a_plugin_has_the_exit_codes_of_one(capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main([*arguments, "--format", "nagios"]) == ExitCode.USAGE
    assert capfd.readouterr().out == ""


def test_the_options_of_a_command_that_is_run_are_its_own(sqlite: State, run: Run, tmp_path: Path) -> None:
    sqlite.write([Row(5)])
    for form in ("nagios", "json"):
        # All is done, or fails at the raw store, in the same way.
        command = ("--", "true", "--format", form)
        options = ("--state", sqlite.url, "--raw", str(tmp_path), "--customer", "nobody")
        assert run("replay", *options, *command)[0] == ExitCode.OK


def test_a_bug_is_unknown_to_nagios(sqlite: State, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readyfs.consumer.gaps.find_gaps", lambda *_: 1 / 0)
    code, output, _ = run("gaps", "--state", sqlite.url, "--format", "nagios")
    assert (code, output.startswith("READYFS UNKNOWN - internal error: ZeroDivisionError")) == (3, True)


def test_names_cannot_forge_performance_data_or_lines(sqlite: State, run: Run) -> None:
    sqlite.write(without(10, customer="c|x=1\nREADYFS OK"))
    _, output, _ = run("gaps", "--state", sqlite.url, "--format", "nagios")
    assert (output.count("\n"), output.count("|")) == (1, 1)


def test_prometheus_reads_the_gauges(state: State, run: Run) -> None:
    state.write([*without(10, 9), *without(5, customer='c"2\n')])
    code, output, errors = run("gaps", "--state", state.url, "--crit", "36h", "--format", "prometheus")
    assert (code, errors) == (ExitCode.FOUND, "")
    families = {one.name: one for one in text_string_to_metric_families(output)}
    assert {one.type for one in families.values()} == {"gauge"}
    late = {
        (one.labels["customer_id"], one.labels["status"]): one.value
        for one in families["readyfs_gaps_late_dates"].samples
    }
    assert late == {("c1", "error"): 2, ("c1", "warn"): 0, ('c"2\n', "error"): 1, ('c"2\n', "warn"): 0}
    [[left_out], [series]] = [families[f"readyfs_gaps_{name}"].samples for name in ("series_left_out", "series")]
    assert (left_out.value, series.value) == (0, 2)
    totals = {one.labels["status"]: one.value for one in families["readyfs_gaps_all_late_dates"].samples}
    assert totals == {"error": 3, "warn": 0}


def test_gauges_are_capped_and_say_so(sqlite: State, run: Run) -> None:
    sqlite.write([*without(customer="c1"), *without(10, customer="c2"), *without(10, 9, customer="c3")])
    _, output, _ = run("gaps", "--state", sqlite.url, "--format", "prometheus", "--limit", "2")
    families = {one.name: one for one in text_string_to_metric_families(output)}
    shown = [one.labels["customer_id"] for one in families["readyfs_gaps_expected_dates"].samples]
    assert shown == ["c3", "c2"], "the worst come first"
    assert [one.value for one in families["readyfs_gaps_series_left_out"].samples] == [1]


def test_without_gauges_of_series_the_totals_and_the_exit_code_are_the_same(sqlite: State, run: Run) -> None:
    sqlite.write([*without(10, 9), *without(customer="c2")])
    found = {}
    for limit in ("0", "1"):
        code, output, _ = run("gaps", "--state", sqlite.url, "--format", "prometheus", "--limit", limit)
        families = {one.name: one for one in text_string_to_metric_families(output)}
        names = ("readyfs_gaps_series", "readyfs_gaps_late_series", "readyfs_gaps_all_late_dates")
        found[limit] = code, [[one.value for one in families[name].samples] for name in names]
    assert found["0"] == found["1"] == (ExitCode.FOUND, [[2], [1], [0, 2]])


# ---- latest -------------------------------------------------------------------------------------------------------


def test_latest_says_how_far_each_series_has_come(state: State, run: Run) -> None:
    state.write([row for row in without(10) if row.days_ago > 3])
    state.write([Row(3, "failed", "r1"), Row(12, customer="c2", status="pending", run_id=None)])
    code, output, errors = run("latest", "--state", state.url, "--sla", "12h", "--until", days_ago(2), "--json")
    assert (code, errors) == (ExitCode.OK, "")
    one, two = read(output)
    assert {name: one[name] for name in ("newest_date", "expected_date", "behind_dates", "complete_until_date")} == {
        "newest_date": days_ago(4),
        "expected_date": days_ago(2),
        "behind_dates": 2,
        "complete_until_date": days_ago(11),
    }
    assert (one["status"], one["max_loaded_at"]) == ("error", f"{days_ago(3)}T05:00:00.000000+00:00")
    # Its only row was never ready.
    assert (two["customer_id"], two["newest_date"], two["behind_dates"]) == ("c2", None, 11)
    assert (two["expected_date"], two["complete_until_date"], two["status"]) == (days_ago(2), None, "error")


def test_a_filter_that_lets_nothing_pass_is_named(sqlite: State, run: Run) -> None:
    sqlite.write(READY)
    filters = ("--customer", "c1\x1b", "--query", "q1", "--since", days_ago(5))
    code, output, _ = run("latest", "--state", sqlite.url, *filters)
    assert (code, output) == (0, f"the state table has nothing of customer c1\\x1b, query q1 since {days_ago(5)}\n")
    nobody = ("--source", "nobody", "--until", "2024-06-01")
    code, output, _ = run("gaps", "--state", sqlite.url, *nobody)
    said = "the state table has nothing of source nobody until 2024-06-01, and nothing is expected\n"
    assert (code, output) == (0, said)


def test_gaps_of_a_mount_point_is_pointed_to_what_a_mount_answers(run: Run) -> None:
    for more in ((), ("--state", "/nonexistent/state.db")):
        code, _, errors = run("gaps", "/mnt/ready", *more)
        assert (code, errors.count("\n")) == (ExitCode.USAGE, 1)
        assert "a mount does not answer this; ask `readyfs latest /mnt/ready` or `readyfs why PATH`" in errors


@pytest.mark.parametrize("command", ["latest", "changes", "replay"])
@pytest.mark.parametrize("more", [(), ("--state", "/nonexistent/state.db")])
def test_a_key_in_the_place_of_a_mount_point_is_pointed_to_the_filters(
    run: Run, command: str, more: tuple[str, ...]
) -> None:
    """Beside a state store nobody would notice that it selects nothing."""
    behind = ("--", "true") if command == "replay" else ()
    code, output, errors = run(command, "0012345678/daily/2024-06-01", *more, *behind)
    assert (code, output) == (ExitCode.USAGE, "")
    assert errors == (
        "readyfs: there is no mount point 0012345678/daily/2024-06-01 here; "
        "a key is no mount point: select with --customer 0012345678 --query daily\n"
    )


def test_latest_is_a_table_for_people(sqlite: State, run: Run) -> None:
    assert run("latest", "--state", sqlite.url)[:2] == (0, "the state table has nothing\n")
    sqlite.write(READY)
    code, output, _ = run("latest", "--state", sqlite.url, "--until", days_ago(2))
    assert code == ExitCode.OK
    head, line = output.splitlines()
    assert head.split() == "LEVEL SOURCE CUSTOMER QUERY NEWEST EXPECTED BEHIND COMPLETE UNTIL UPDATED CADENCE".split()
    two = days_ago(2)
    assert line.split() == f"pass ads c1 q1 {two} {two} 0 {two} {days_ago(1)} 05:00:00Z daily".split()


@pytest.mark.parametrize("command", ["latest", "gaps"])
def test_a_state_that_is_not_there_is_exit_code_3_and_one_line(run: Run, tmp_path: Path, command: str) -> None:
    code, output, errors = run(command, "--state", str(tmp_path / "none.db"))
    assert (code, output, errors.count("\n")) == (ExitCode.STATE, "", 1)
    assert run(command)[0] == ExitCode.USAGE


def test_latest_on_sqlite_starts_without_what_is_slow_to_import(sqlite: State) -> None:
    sqlite.write(READY)
    script = (
        "import sys; from readyfs.cli.main import main; main(sys.argv[1:]);"
        "slow = {'sqlalchemy', 'trio', 'structlog', 'pyfuse3', 'asyncio', 'prometheus_client', 'yaml', 'cronsim'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "latest", "--state", sqlite.url],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_file_of_a_mount_names_state_and_filters(sqlite: State, run: Run, tmp_path: Path) -> None:
    sqlite.write([*without(10), *without(9, customer="c2")])
    file = tmp_path / "mount.toml"
    file.write_text(f'state = "{sqlite.url}"\nraw = "/data/raw"\ncustomer = ["c2"]\ninterval = "5s"\n')
    for command in ("gaps", "latest"):
        _, output, errors = run(command, "--config", str(file), "--json")
        assert ([one["customer_id"] for one in read(output)], errors) == (["c2"], "")


def test_what_a_mount_cannot_show_is_withheld(state: State, run: Run) -> None:
    """Of two rows that claim one path, and of names that no path can have; as far as the layout makes it so."""
    state.write([*without(), *without(customer="c/2")])
    state.write([Row(10, source="other")])
    code, output, _ = run("gaps", "--state", state.url, "--until", days_ago(3), "--json")
    assert code == ExitCode.FOUND
    found = {(one["source"], one["customer_id"]): spans(one) for one in read(output)}
    claimed = ("withheld", days_ago(10), days_ago(10), "error")
    assert found["ads", "c1"] == [claimed]
    assert claimed in found["other", "c1"]
    assert found["ads", "c/2"] == [("withheld", days_ago(20), days_ago(3), "error")]
    layout = "{source}/{customer_id}/{query_name}/{logical_date}"
    _, output, _ = run("gaps", "--state", state.url, "--until", days_ago(3), "--layout", layout, "--json")
    assert [spans(one) for one in read(output) if one["customer_id"] == "c1" and one["source"] == "ads"] == [[]]
    _, output, _ = run("latest", "--state", state.url, "--until", days_ago(10), "--json")
    newest = {(one["source"], one["customer_id"]): one["newest_date"] for one in read(output)}
    assert newest == {("ads", "c1"): days_ago(11), ("ads", "c/2"): None, ("other", "c1"): None}
