"""Which process runs which test, where several run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER: Final = {
    "tests/check/test_agreement.py": "permissions",
    "tests/cli/test_refresh.py": "stand-ins",
    "tests/cli/test_status.py": "stand-ins",
    "tests/cli/test_umount.py": "stand-ins",
    "tests/clients/test_engines.py": "the clients' world",
    "tests/clients/test_programs.py": "damaged worlds",
    "tests/clients/test_spark.py": "Spark",
    "tests/clients/test_tools.py": "the clients' world",
    "tests/clients/test_view_recipes.py": "recipes over views",
    "tests/clients/test_views.py": "views",
    "tests/demo/test_world.py": "a sample world",
    "tests/docs/test_rooms.py": "rooms",
    "tests/mount/test_mariadb.py": "MariaDB",
    "tests/mount/test_raw_trouble.py": "permissions",
    "tests/mount/test_requests.py": "flags",
    "tests/mount/test_view_expiry.py": "views of a mount",
    "tests/mount/test_view_links.py": "views of a mount",
    "tests/mount/test_view_runs.py": "views of a mount",
    "tests/mount/test_view_tools.py": "views of a mount",
    "tests/mount/test_views.py": "views of a mount",
    "tests/page/test_address.py": "a browser",
    "tests/page/test_block.py": "another browser",
    "tests/page/test_browser.py": "a browser",
    "tests/page/test_command.py": "a browser",
    "tests/page/test_globs.py": "a browser",
    "tests/page/test_gold.py": "another browser",
    "tests/page/test_grid.py": "another browser",
    "tests/page/test_page.py": "another browser",
    "tests/page/test_picture.py": "a browser",
    "tests/page/test_render.py": "another browser",
    "tests/page/test_size.py": "another browser",
    "tests/page/test_writing.py": "another browser",
    "tests/state/database/test_inspector.py": "MariaDB",
    "tests/state/database/test_mariadb.py": "MariaDB",
    "tests/state/database/test_mariadb_columns.py": "MariaDB",
    "tests/state/database/test_reader.py": "MariaDB",
}
"""Files that share a server, a browser, a world, a stem or an answer that takes long to make. One process runs them."""

LONG_FIRST: Final = (
    "tests/native/test_fuzz.py::test_fuzzing_begins",
    "tests/differential/test_differential.py",
    "tests/model/",
    "tests/fuse/direct/test_bursts.py",
    "tests/demo/test_readme.py",
    "tests/benchmarks/",
    "tests/mount/test_outage_sqlite.py::test_outages_leak",
    "tests/mount/test_outage_postgres.py",
    "tests/mount/test_resources.py",
    "tests/mount/test_interruptions.py",
    "tests/state/postgres/test_changes.py::test_any_history_is_followed",
    "tests/state/postgres/test_listen.py",
    "tests/state/postgres/test_reader.py",
    "tests/state/postgres/test_servers.py",
    "tests/demo/test_tour.py",
    "tests/flows/",
    "tests/systemd/test_service.py",
)
"""How the names of tests begin that take from five seconds to a minute: at the end all would wait for one of them."""


LAST: Final = ("tests/native/test_fuzz.py::test_fuzzing_finds",)
"""How the names of tests begin that ask for what went on beside all others."""


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return tests in the order in which they are to begin."""
    return sorted(items, key=lambda item: (item.nodeid.startswith(LAST), not item.nodeid.startswith(LONG_FIRST)))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    """Gives the next test to whoever is free; files of one group stay together and come first.

    pytest-xdist takes what is left by the number of tests and then in the order of the collection: see `in_order`.

    Groups by mark do nothing in pytest-xdist 3.8.0 under pytest 9.2: see `findings/`.
    """

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)
