"""docs/questions.md names exactly the options, fields and gauges of `readyfs latest` and `readyfs gaps`."""

from __future__ import annotations

import re
from typing import Final

from readyfs.cli.agreement_options import HEADING
from readyfs.consumer.agreement import Verdict
from tests.docs.test_docs import COMMANDS, SOURCE, dictionary_keys, options, own_table, section

PAGE: Final = "docs/questions.md"


def listed(title: str) -> list[str]:
    """Return the names in the first cells of a table, where one cell may hold several."""
    return [name for cell in own_table(PAGE, title) for name in cell.replace("`", "").split(", ")]


def fields(module: str, function: str) -> list[str]:
    return [key for key in dictionary_keys(module, function) if key != "None"]


def test_the_fields_of_a_series_are_documented() -> None:
    assert sorted(listed("Fields of a series")) == sorted(fields("consumer/series_fields.py", "describe_series"))


def test_the_fields_of_latest_are_documented() -> None:
    own = fields("consumer/series_fields.py", "describe_latest")
    cadence = fields("consumer/series_fields.py", "describe_cadence")
    assert sorted(listed("latest")) == sorted([*own, *cadence])


def test_the_fields_of_gaps_are_documented() -> None:
    own, cadence = fields("cli/gaps_text.py", "describe_gaps"), fields("consumer/series_fields.py", "describe_cadence")
    assert sorted(listed("Output of gaps")) == sorted([*own, *cadence])
    text = section(PAGE, "Output of gaps").partition("A range has")[2]
    assert {f"`{name}`" for name in fields("cli/gaps_text.py", "_describe_gap")} <= set(re.findall(r"`\w+`", text))
    assert all(f"`{verdict}`" in text for verdict in Verdict)


def test_the_options_of_when_dates_are_due_are_documented() -> None:
    declared = {
        name
        for one in COMMANDS["readyfs gaps"].params
        if getattr(one, "heading", "") == HEADING
        for name in one.opts
        if name.startswith("--")
    }
    assert set(listed("When dates are due")) == declared
    # What is reprocessed is no newest date.
    assert declared - {"--reprocessing-crit"} == declared & options(COMMANDS["readyfs latest"])


def test_the_gauges_are_documented() -> None:
    source = (SOURCE / "cli/gaps_prometheus.py").read_text(encoding="utf-8")
    assert sorted(listed("Monitoring by gaps")) == sorted(set(re.findall(r'"(readyfs_gaps_\w+)"', source)))
