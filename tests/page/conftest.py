"""A browser for all tests of a run, and a tab of it for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.page.browser import Connection, running_browser
from tests.page.tab import Tab, open_tab


@pytest.fixture(scope="session")
def browser() -> Iterator[Connection]:
    """A Chromium without a window."""
    with running_browser() as connection:
        yield connection


@pytest.fixture
def tab(browser: Connection) -> Iterator[Tab]:
    """A tab of which the browser may have nothing to complain: no error, no refusal by a policy, no request."""
    with open_tab(browser) as tab:
        yield tab
        assert tab.complaints() == []


@pytest.fixture(scope="session")
def blank(browser: Connection) -> Iterator[Tab]:
    """A tab without a page, for scripts that need none."""
    with open_tab(browser) as tab:
        yield tab
