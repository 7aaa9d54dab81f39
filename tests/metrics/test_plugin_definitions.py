"""What Nagios and Icinga are given: options that there are, and answers by the published rules for plugins."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from readyfs.cli.main import cli
from readyfs.demo.producer import LogicalPartition
from tests.metrics.test_monitoring import MONITORING
from tests.mount.daemon import Place, partition

NAGIOS: Final = (MONITORING / "nagios.cfg").read_text(encoding="utf-8")
ICINGA: Final = (MONITORING / "icinga2.conf").read_text(encoding="utf-8")
WORDS: Final = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
PERFORMANCE: Final = re.compile(
    r"(?P<label>[^'= ]+)=(?P<value>-?[\d.]+)(?P<unit>us|ms|s|%|[KMGT]?B|c)?(?P<rest>(?:;[^; ]*)*)"
)
"""One value with its unit, then warning, critical, minimum and maximum."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        (found.base / "sales.toml").write_text(f'state = "{found.state}"\n')
        yield found


def attribute(name: str) -> str:
    """Return the one value of an attribute in the definitions for Nagios."""
    (value,) = re.findall(rf"^    {name} +(.*)$", NAGIOS, re.MULTILINE)
    return str(value)


def nagios_command() -> list[str]:
    """Return what Nagios runs for the service: its macros are the words behind the exclamation marks."""
    name, *values = attribute("check_command").split("!")
    assert name == attribute("command_name")
    line = attribute("command_line")
    for number, value in enumerate(values, start=1):
        line = line.replace(f"$ARG{number}$", value)
    assert "$" not in line
    return shlex.split(line)


def icinga_command() -> list[str]:
    """Return what Icinga runs for the host's variables: of its arguments those whose variable is set."""
    (words,) = re.findall(r"^  command = \[ (.*) \]$", ICINGA, re.MULTILINE)
    command = [word.strip('"') for word in words.split(", ")]
    for option, variable in icinga_arguments():
        for value in re.findall(rf'^    {variable} = "(.*)"$', ICINGA, re.MULTILINE):
            command += [option, value]
    return command


def icinga_arguments() -> list[tuple[str, str]]:
    """Return the options that Icinga may give, each with its variable."""
    found = re.findall(r'^    "(--[\w-]+)" = (?:\{\n      value = )?"\$(\w+)\$"', ICINGA, re.MULTILINE)
    assert len(found) == ICINGA.count('"--') - 1  # but for --format in the command itself
    return found


def answer(place: Place, command: list[str]) -> tuple[int, str]:
    """Run a definition's command; return exit code and standard output, which is all that a server looks at."""
    program, *words = (word.replace("/etc/readyfs/sales.toml", str(place.base / "sales.toml")) for word in command)
    assert program == "/usr/local/bin/readyfs"
    words = [str(Path(sys.executable).with_name("readyfs")), *words]
    done = subprocess.run(words, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def is_outside(value: float, limits: str) -> bool:
    """Tell whether a value is worth an alarm by a range of the rules: `10`, `10:`, `~:10`, `10:20`, `@10:20`."""
    inverted, limits = limits.startswith("@"), limits.removeprefix("@")
    low, colon, high = limits.partition(":")
    if not colon:
        low, high = "0", low
    inside = (low == "~" or value >= float(low or 0)) and (not high or value <= float(high))
    return inside if inverted else not inside


def verdict_of(performance: str) -> str:
    """Return the word for the performance data by its own thresholds, checking its form."""
    worst = "OK"
    for item in performance.split(" "):
        found = PERFORMANCE.fullmatch(item)
        assert found is not None, item
        warning, critical, *_ = [*str(found["rest"]).split(";")[1:], "", ""]
        value = float(found["value"])
        if critical and is_outside(value, critical):
            return "CRITICAL"
        if warning and is_outside(value, warning):
            worst = "WARNING"
    return worst


def test_icinga_gives_no_option_that_is_none() -> None:
    options = {option for parameter in cli.commands["gaps"].params for option in parameter.opts}
    assert {option for option, _ in icinga_arguments()} <= options


@pytest.mark.parametrize("command", [nagios_command(), icinga_command()], ids=["nagios", "icinga"])
def test_a_definition_asks_for_what_is_late_and_takes_trouble_for_no_answer(place: Place, command: list[str]) -> None:
    assert command[command.index("--deadline") + 1] == "09:00"
    place.producer.expect(partition(date="2024-06-01"))
    code, printed = answer(place, command)
    assert (code, printed.startswith("READYFS CRITICAL - ")) == (2, True)
    place.state.rename(place.base / "away")
    code, printed = answer(place, command)
    (place.base / "away").rename(place.state)
    assert (code, printed.startswith("READYFS UNKNOWN - ")) == (3, True)


@pytest.mark.parametrize(
    ("until", "expected"), [("2024-05-31", 0), ("2024-06-01", 1), ("2024-06-02", 2), ("2023-01-01", 3)]
)
def test_an_answer_keeps_to_the_rules_of_plugins(place: Place, until: str, expected: int) -> None:
    """One line of at most 4 KiB; the exit code, its word and the thresholds of the performance data say the same."""
    name = "a|b'=; \n$(x) \\ " + "é" * 100
    for date in ("2024-05-31", "2024-06-01"):
        place.producer.set_ready(LogicalPartition("s", name, "q", date), "r1")
    place.producer.requeue(LogicalPartition("s", name, "q", "2024-06-01"))
    place.producer.fail(LogicalPartition("s", name, "q", "2024-06-02"), "no | pipe\nno line")
    words = [*nagios_command(), "--since", "2023-01-01" if until < "2024" else "2024-05-31", "--until", until]
    words[words.index("--deadline") : words.index("--deadline") + 2] = ["--warn", "0s", "--crit", "1s"]
    code, printed = answer(place, words)
    assert code == expected, printed
    assert printed.count("\n") == 1
    assert printed.endswith("\n")
    assert len(printed.encode()) < 4096
    text, bar, performance = printed.rstrip("\n").partition(" | ")
    assert text.startswith(f"READYFS {WORDS[code]} - ")
    assert "|" not in text
    assert verdict_of(performance) == WORDS[code] if bar else code == 3
