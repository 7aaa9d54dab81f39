"""Which process runs which test, where several run them."""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

TOGETHER: Final = {
    "tests/clients/test_spark.py": "Spark",
    "tests/clients/test_view_recipes.py": "recipes over views",
    "tests/clients/test_views.py": "views",
    "tests/mount/test_mariadb.py": "MariaDB",
    "tests/state/database/test_inspector.py": "MariaDB",
    "tests/state/database/test_mariadb.py": "MariaDB",
}
"""Files that share a server or a world which takes seconds to start. One process runs them."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    """Gives the next test to whoever is free; files of one group stay together and come first.

    Groups by mark do nothing in pytest-xdist 3.8.0 under pytest 9.2: see `findings/`.
    """

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)
