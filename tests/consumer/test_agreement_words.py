"""What the words of the options come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from readyfs.consumer.agreement_words import AgreementWords
from readyfs.errors import UsageError
from readyfs.state.filters import Filters
from tests.consumer.days import day, instant

NOW = instant("06-12T12:00")
CONTRACT = "kind: DataContract\napiVersion: v3.1.0\nslaProperties:\n"


def shown(words: AgreementWords, filters: Filters = Filters()) -> tuple[str | None, str | None]:  # noqa: B008 - frozen
    found = words.agree(filters, NOW)
    warn, error = (None if one is None else one.text for one in (found.warn, found.error))
    return warn, error


def test_two_thresholds_hold_where_nobody_said_anything_and_no_other_where_somebody_did() -> None:
    assert shown(AgreementWords()) == ("1d", "36h")
    assert shown(AgreementWords(warn="2h")) == ("2h", None)
    assert shown(AgreementWords(crit="2h")) == (None, "2h")
    assert shown(AgreementWords(sla="2h")) == (None, "2h")
    assert shown(AgreementWords(warn="1h", crit="2h")) == ("1h", "2h")
    assert shown(AgreementWords(crit="0s")) == (None, "0s")
    assert shown(AgreementWords(deadline="09:00", tz="Europe/Berlin")) == (None, "09:00+1d Europe/Berlin")
    assert shown(AgreementWords(deadline="09:00+2d", warn="20h")) == ("20h", "09:00+2d UTC")


def test_the_filters_bound_the_dates() -> None:
    found = AgreementWords().agree(Filters(since=day("06-01"), until=day("06-05")), NOW)
    assert (found.since, found.first, found.last) == (day("06-01"), None, day("06-05"))


def test_a_contract_says_what_the_options_do_not(tmp_path: Path) -> None:
    file = tmp_path / "contract.yaml"
    file.write_text(
        CONTRACT + "  - {property: latency, value: 4, unit: d}\n  - {property: endOfLife, value: 2024-06-05}\n"
    )
    words = AgreementWords(contract=file)
    assert shown(words) == (None, "4d")
    assert shown(AgreementWords(contract=file, warn="1d")) == ("1d", "4d")
    assert shown(AgreementWords(contract=file, crit="2d")) == (None, "2d")
    assert words.agree(Filters(until=day("06-09")), NOW).last == day("06-05")
    assert words.agree(Filters(until=day("06-03")), NOW).last == day("06-03")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (AgreementWords(crit="1h", deadline="09:00"), "--crit and --deadline exclude each other"),
        (AgreementWords(crit="1h", sla="1h"), "--crit and --sla exclude each other"),
        (AgreementWords(sla="1h", deadline="09:00"), "--sla and --deadline exclude each other"),
        (AgreementWords(sla="soon"), "--sla: 'soon' is not a duration"),
        (AgreementWords(tz="Europe/Berlin"), "--tz has no effect without --deadline; did you mean --day-tz"),
        (AgreementWords(warn="2h", crit="1h"), "--warn 2h comes after the alarm, which is 1h"),
        (AgreementWords(warn="24"), "--warn: the duration 24 has no unit"),
        (AgreementWords(crit="soon"), "--crit: 'soon' is not a duration"),
        (AgreementWords(reprocessing_crit="x"), "--reprocessing-crit: 'x' is not a duration"),
        (AgreementWords(day_tz="Berlin"), "--day-tz: there is no time zone 'Berlin'"),
        (AgreementWords(deadline="9", tz="Berlin"), "--tz: there is no time zone 'Berlin'"),
        (AgreementWords(deadline="9"), "'9' is not a deadline"),
        (AgreementWords(cadence="hourly"), "'hourly' is not a cadence"),
    ],
)
def test_words_that_make_no_sense_are_refused_with_their_option(words: AgreementWords, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        words.agree(Filters(), NOW)
