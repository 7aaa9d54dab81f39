"""The documents and the program say the same: nothing undocumented, nothing documented that is not there."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from native import compiler
from readyfs.cli.main import INTERRUPTED, cli
from readyfs.config import iter_settings, resolve_settings
from readyfs.config.resolve import CONFIG_VARIABLE
from readyfs.config.setting import Shape
from readyfs.config.table import SETTINGS
from readyfs.errors import ExitCode
from readyfs.metrics.families import FAMILIES
from readyfs.partition import WithheldReason

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src" / "readyfs"
DOCS: Final = ROOT / "docs"
PAGES: Final = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md")))
PROMISES: Final = tuple(f"V{number}" for number in range(1, 27))

SETTING_NAMES: Final = frozenset(setting.name for setting in SETTINGS)
_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_FLAG: Final = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_VARIABLE: Final = re.compile(r"\bREADYFS_[A-Z_]+\b")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def hide_code(text: str) -> str:
    """Return a page with its code blocks blanked out: what stands in them is neither heading nor link."""
    return _FENCE.sub(lambda match: " " * len(match.group()), text)


def headings(text: str, level: int | None = None) -> list[str]:
    """Return the headings of a page."""
    found = re.findall(r"^(#+) (.+)$", hide_code(text), re.MULTILINE)
    return [title for marks, title in found if level in (None, len(marks))]


def section(page: str, title: str) -> str:
    """Return the text under a heading, down to the next one of the same or a higher level."""
    text = read(page)
    outline = hide_code(text)
    start = re.search(rf"^(#+) {re.escape(title)}$", outline, re.MULTILINE)
    assert start is not None, f"{page} has no heading {title!r}"
    end = re.compile(rf"^#{{1,{len(start.group(1))}}} ", re.MULTILINE).search(outline, start.end())
    return text[start.end() : end.start() if end else len(text)]


def own_table(page: str, title: str) -> list[str]:
    """Return the first cells, without backticks, of the table that stands right under a heading."""
    lines = section(page, title).partition("\n### ")[0].splitlines()
    cells = [line.split("|")[1].strip().strip("`") for line in lines if line.startswith("|")]
    return cells[2:]  # behind the header and its rule


def walk_commands(command: click.Command = cli, name: str = "readyfs") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word, child in command.commands.items():
            yield from walk_commands(child, f"{name} {word}")


COMMANDS: Final = dict(walk_commands())
LEAVES: Final = [name for name, command in COMMANDS.items() if not isinstance(command, click.Group)]


def options(command: click.Command) -> set[str]:
    found = {"--help", "--version"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            found.update(one for one in (*parameter.opts, *parameter.secondary_opts) if one.startswith("--"))
    return found


def dictionary_keys(module: str, function: str) -> list[str]:
    """Return the keys of the dictionary that a function of ours returns."""
    for node in ast.walk(ast.parse((SOURCE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            for statement in node.body:
                if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Dict):
                    return [str(key.value) for key in statement.value.keys if isinstance(key, ast.Constant)]
    raise AssertionError(f"{module} has no function {function} that returns a dictionary")


def log_calls() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield event, level and facts of every call that logs a literal event, `debug` left out."""
    for module in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=logger, attr="info" | "warning" | "error" | "exception" as method),
                    args=[ast.Constant(value=str(event)), *_],
                ) if re.fullmatch(r"_?log|structlog\.get_logger\(.*\)", ast.unparse(logger)):
                    facts = {str(keyword.arg) for keyword in node.keywords}  # `**` would be None, which no page has
                    if method == "exception":
                        yield event, "error", frozenset({*facts, "exception"})
                    else:
                        yield event, method, frozenset(facts)


def log_events() -> set[str]:
    """Return the text of every record that is logged with a literal event, `debug` left out."""
    events = {event for event, _, _ in log_calls()}
    assert events, "no log call was found"
    return events


def slug(title: str) -> str:
    """Return the anchor that a heading gets on a code host."""
    return re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-")


# ---- everything is documented ---------------------------------------------------------------------------------------


def test_configuration_has_exactly_one_heading_for_each_setting() -> None:
    page = read("docs/configuration.md")
    assert headings(page, 3) == [setting.name for setting in iter_settings()]


@pytest.mark.parametrize("name", sorted(SETTING_NAMES))
def test_a_setting_is_documented_with_its_flag_variable_key_default_and_an_example(name: str) -> None:
    setting = next(one for one in iter_settings() if one.name == name)
    text = section("docs/configuration.md", name)
    row = next(line for line in text.splitlines() if line.startswith("| `--"))
    flag, variable, key, default = (cell.strip() for cell in row.strip("|").split("|"))
    assert flag.split(",")[0] == f"`{setting.flag}`"
    assert (variable, key, default) == (f"`{setting.variable}`", f"`{setting.key}`", f"`{setting.default}`")
    prose = [line for line in hide_code(text).splitlines() if line.strip() and not line.startswith("|")]
    assert prose, "no meaning is given"
    example = next(body for _, language, body in _FENCE.findall(text) if language == "toml")
    assert list(tomllib.loads(example)) == [name]


@pytest.mark.parametrize("group", sorted({setting.group for setting in iter_settings()}))
def test_configuration_uses_the_groups_of_the_help(group: str) -> None:
    assert group in headings(read("docs/configuration.md"), 2)


def test_both_forms_of_a_switch_are_documented() -> None:
    for setting in SETTINGS:
        if setting.shape is Shape.SWITCH:
            assert f"`--no-{setting.name}`" in section("docs/configuration.md", setting.name)


@pytest.mark.parametrize("name", LEAVES)
def test_a_command_is_documented_with_each_option_that_is_no_setting(name: str) -> None:
    pages = ("docs/configuration.md", "docs/questions.md", "docs/coverage.md")
    text = section("docs/operations.md", "Commands") + "".join(map(read, pages))
    assert name in headings(read("docs/operations.md"), 3)
    flags = {setting.flag for setting in SETTINGS} | {f"--no-{setting.name}" for setting in SETTINGS}
    for option in options(COMMANDS[name]) - flags - {"--help"}:
        assert f"`{option}" in text or f" {option}" in text, option


def test_exactly_the_exit_codes_of_the_program_are_documented() -> None:
    text = section("docs/operations.md", "Exit codes")
    rows = re.findall(r"^\| (\d+) \|\s*(\w*)\s*\|", text, re.MULTILINE)
    assert rows == [*((str(int(code)), code.name) for code in ExitCode), (str(INTERRUPTED), "")]


def test_the_help_names_every_exit_code() -> None:
    epilog = cli.epilog or ""
    assert {int(number) for number in re.findall(r"\b\d+\b", epilog)} == {*map(int, ExitCode), INTERRUPTED}


def test_exactly_the_fields_of_the_status_are_documented() -> None:
    assert sorted(own_table("docs/operations.md", "Status")) == sorted(dictionary_keys("daemon/status.py", "document"))


def test_exactly_the_fields_of_pins_are_documented() -> None:
    functions = ("_describe", "_describe_distance", "_describe_tombstone")
    fields = {key for name in functions for key in dictionary_keys("daemon/public_answers.py", name)}
    assert set(own_table("docs/views.md", "The JSON objects")) == fields | {"path"}


def test_exactly_the_reasons_to_withhold_are_documented() -> None:
    assert own_table("docs/operations.md", "Withheld rows") == [reason.value for reason in WithheldReason]


@pytest.mark.parametrize("reason", sorted(WithheldReason))
def test_troubleshooting_knows_every_reason_to_withhold(reason: WithheldReason) -> None:
    assert f"reason `{reason.value}`" in read("docs/troubleshooting.md")


def test_exactly_the_log_events_of_the_program_are_documented() -> None:
    assert set(own_table("docs/logging.md", "Events")) == log_events()


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_has_a_heading_and_text(promise: str) -> None:
    title = next((one for one in headings(read("docs/semantics.md"), 2) if one.split()[0] == promise), None)
    assert title is not None
    assert len(section("docs/semantics.md", title)) > 200


def test_semantics_makes_no_promise_beyond_the_last() -> None:
    numbered = [one.split()[0] for one in headings(read("docs/semantics.md"), 2) if re.match(r"V\d", one)]
    assert numbered == list(PROMISES)


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_named_by_a_test(promise: str) -> None:
    pattern = re.compile(rf"\b{promise}\b")
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent.name != "docs"]
    assert any(pattern.search(path.read_text(encoding="utf-8")) for path in tests)


@pytest.mark.parametrize("promise", PROMISES)
def test_each_test_file_that_a_promise_names_is_there_and_names_the_promise(promise: str) -> None:
    title = next(one for one in headings(read("docs/semantics.md"), 2) if one.split()[0] == promise)
    named = re.findall(r"`(tests/[\w/]+\.py)`", section("docs/semantics.md", title))
    assert named, "the promise names no test"
    for path in named:
        assert re.search(rf"\b{promise}\b", (ROOT / path).read_text(encoding="utf-8")), path


def documented_events() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield event, level and facts of each row of the pages' table of events."""
    for page in PAGES:
        _, _, table = page.read_text(encoding="utf-8").partition("| event | level | facts | means |\n")
        for line in table.partition("\n\n")[0].splitlines()[1:]:
            event, level, facts = (cell.strip() for cell in line.split("|")[1:4])
            yield event.strip("`"), level, frozenset(fact.strip() for fact in facts.split(",") if fact.strip())


def test_each_log_event_is_documented_with_exactly_its_level_and_its_facts() -> None:
    documented = list(documented_events())
    assert len({event for event, _, _ in documented}) == len(documented)
    assert set(documented) == set(log_calls())


def status_fields_read() -> Iterator[tuple[str, str]]:
    """Yield each field of a status that the program reads, and the module that reads it.

    A status is what is called so, and what a call of `status()` or `document()` returns. A field is read by its name
    in brackets, by `get`, by `in`, or by a function that is given the status and then the name.
    """

    def is_status(node: ast.expr) -> bool:
        return re.fullmatch(r"(status|document)|.*\b(status|document)\(\)", ast.unparse(node)) is not None

    for module in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case (
                    ast.Subscript(value=subject, slice=ast.Constant(value=str(field)))
                    | ast.Call(func=ast.Attribute(value=subject, attr="get"), args=[ast.Constant(value=str(field)), *_])
                    | ast.Call(args=[subject, ast.Constant(value=str(field)), *_])
                    | ast.Compare(
                        left=ast.Constant(value=str(field)), ops=[ast.In() | ast.NotIn()], comparators=[subject]
                    )
                ) if is_status(subject):
                    yield field, str(module.relative_to(SOURCE))
    for family in FAMILIES:
        yield family.field, f"the metric {family.name}"


def test_every_field_of_the_status_that_the_program_reads_is_one() -> None:
    found = list(status_fields_read())
    assert {"cli/status_text.py", "doctor/mounts.py", "cli/umount.py"} <= {reader for _, reader in found}
    # Where no status can be had, `error` stands in its place.
    known = {*dictionary_keys("daemon/status.py", "document"), "error"}
    assert [(field, reader) for field, reader in found if field not in known] == []


PARTS: Final = [
    *(f"{path.parent.name}/" for path in SOURCE.glob("*/__init__.py")),
    *(path.name for path in SOURCE.glob("*.py") if not path.name.startswith("_")),
]


@pytest.mark.parametrize("part", sorted(PARTS))
def test_architecture_names_every_package_and_top_module(part: str) -> None:
    assert f"`{part}`" in read("docs/architecture.md")


def test_architecture_lists_every_decision() -> None:
    text = section("docs/architecture.md", "Decisions")
    assert re.findall(r"\(decisions/([^)]+)\)", text) == sorted(path.name for path in (DOCS / "decisions").iterdir())


@pytest.mark.parametrize("decision", sorted(path.name for path in (DOCS / "decisions").iterdir()))
def test_a_decision_gives_context_choice_rejected_and_consequence(decision: str) -> None:
    text = read(f"docs/decisions/{decision}")
    assert headings(text, 1)[0].startswith(f"{decision[:4]}. ")
    assert headings(text, 2) == ["Context", "Choice", "Rejected", "Consequence"]


def test_the_changelog_knows_this_version() -> None:
    from readyfs import __version__

    assert any(title.split()[0] == __version__ for title in headings(read("CHANGELOG.md"), 2))


# ---- nothing is documented that is not there -----------------------------------------------------------------------


def command_lines(text: str) -> Iterator[str]:
    """Yield every `readyfs ...` that a page shows, in a code block or a code span, without comments."""
    blocks = [body for _, language, body in _FENCE.findall(text) if language in ("", "sh", "console")]
    spans = _SPAN.findall(hide_code(text))
    for line in [*(line for block in blocks for line in block.splitlines()), *spans]:
        match = re.match(r"(?:[$#] )?(?:sudo |timeout \d+ |python -m )?(?:\S*bin/)?(readyfs(?: .*)?)$", line.strip())
        if match is not None:
            yield match.group(1).partition(" #")[0].strip()


def find_command(words: list[str]) -> tuple[str, list[str]]:
    """Return the longest command that the words name, and the words after it."""
    count = max(size for size in range(1, len(words) + 1) if " ".join(words[:size]) in COMMANDS)
    return " ".join(words[:count]), words[count:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_that_a_page_shows_exists(page: Path) -> None:
    for line in command_lines(page.read_text(encoding="utf-8")):
        name, rest = find_command(line.split())
        command = COMMANDS[name]
        if isinstance(command, click.Group) and rest:
            assert rest[0].startswith("-"), f"{line}: no command {rest[0]}"
        for flag in _FLAG.findall(" ".join(rest)):
            assert flag in options(command), f"{line}: no option {flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_flag_that_stands_alone_in_a_page_exists(page: Path) -> None:
    known = {option for command in COMMANDS.values() for option in options(command)}
    for span in _SPAN.findall(hide_code(page.read_text(encoding="utf-8"))):
        if not span.startswith("--") or span.startswith(("--device", "--cap-add")):
            continue
        assert _FLAG.findall(span)[:1] and set(_FLAG.findall(span)) <= known, span


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_that_a_page_names_exists(page: Path) -> None:
    known = {CONFIG_VARIABLE, compiler.WISH, compiler.MORE_FLAGS, *(setting.variable for setting in SETTINGS)}
    assert set(_VARIABLE.findall(page.read_text(encoding="utf-8"))) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_toml_example_is_accepted(page: Path, tmp_path: Path) -> None:
    for number, (_, language, body) in enumerate(_FENCE.findall(page.read_text(encoding="utf-8"))):
        if language != "toml":
            continue
        # Whether an account exists depends on the machine, and is not what is asked here.
        body = body.replace('uid = "reports"', "uid = 1000")
        path = tmp_path / f"{number}.toml"
        path.write_text(body, encoding="utf-8")
        resolve_settings({}, environ={"HOME": "/root"}, config_file=path)


def test_the_complete_example_holds_every_setting() -> None:
    text = section("docs/configuration.md", "A complete file")
    example = next(body for _, language, body in _FENCE.findall(text) if language == "toml")
    # The two exclude each other, as the page says.
    assert set(tomllib.loads(example)) == SETTING_NAMES - {"state"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = hide_code(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists() and place.is_relative_to(ROOT), target
        if anchor:
            assert anchor in map(slug, headings(place.read_text(encoding="utf-8"))), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_picture_that_a_page_shows_is_there(page: Path) -> None:
    for target in re.findall(r"\b(?:src|srcset)=\"([^\"]+)\"", hide_code(page.read_text(encoding="utf-8"))):
        assert (page.parent / target).is_file(), target


def test_every_module_that_the_architecture_names_exists() -> None:
    spans = _SPAN.findall(hide_code(read("docs/architecture.md")))
    named = [span for span in spans if re.fullmatch(r"[\w/]+(\.py|/)", span)]
    assert len(named) > 40
    for name in named:
        place = ROOT / name if name.startswith("tests/") else SOURCE / name
        assert place.is_dir() if name.endswith("/") else place.is_file(), name


def test_every_target_of_make_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [*_SPAN.findall(text), *(line for _, _, body in _FENCE.findall(text) for line in body.splitlines())]
        for line in lines:
            if (match := re.match(r"make ([a-z-]+)", line)) is not None:
                assert match.group(1) in targets, line
