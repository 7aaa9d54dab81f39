"""The report: lines in groups for people, one object for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from readyfs import __version__
from readyfs.doctor.finding import Check, Finding, Verdict
from readyfs.text import escape_text

Result = tuple[Check, list[Finding]]

_WIDTH = max(len(verdict) for verdict in Verdict)


def worst(results: Sequence[Result]) -> Verdict:
    """Return the gravest verdict of all."""
    found = {finding.verdict for _, findings in results for finding in findings}
    return next((verdict for verdict in reversed(Verdict) if verdict in found), Verdict.OK)


def render_text(results: Sequence[Result], paint: Callable[[str, Verdict], str]) -> str:
    """Return the report for people; `paint` gives a text the colour of a verdict."""
    lines: list[str] = []
    group = None
    names = max((len(finding.name) for _, findings in results for finding in findings), default=0)
    for check, findings in results:
        if check.group is not group:
            lines.extend(["", check.group] if group is not None else [check.group])
            group = check.group
        for finding in findings:
            word = paint(f"{finding.verdict:<{_WIDTH}}", finding.verdict)
            lines.append(f"  {word}  {finding.name:<{names}}  {escape_text(finding.summary)}")
            if finding.remedy:
                lines.append(f"  {'':<{_WIDTH}}  {'':<{names}}  fix: {escape_text(finding.remedy)}")
    counts = Counter(finding.verdict for _, findings in results for finding in findings)
    shown = [
        f"{counts[verdict]} {verdict}{'' if counts[verdict] == 1 else 's'}"
        for verdict in (Verdict.PROBLEM, Verdict.WARNING, Verdict.NOTE)
        if counts[verdict]
    ]
    lines.extend(["", paint(", ".join(shown) or "nothing is wrong", worst(results))])
    return "\n".join(lines)


def describe(results: Sequence[Result]) -> dict[str, object]:
    """Return the report as plain JSON values; docs/operations.md documents the fields."""
    return {
        "version": __version__,
        "verdict": worst(results).value,
        "findings": [
            {
                "group": check.group.value,
                "check": check.name,
                "finding": finding.name,
                "verdict": finding.verdict.value,
                "summary": escape_text(finding.summary),
                "remedy": escape_text(finding.remedy) or None,
            }
            for check, findings in results
            for finding in findings
        ],
    }
