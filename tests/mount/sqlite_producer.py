"""Program: a producer that does what it is told on one directory, with one of several builds of SQLite.

Arguments: the module that brings SQLite (`sqlite3` or `apsw`) and the directory. Each line of standard input is a JSON
list: `["open"]`, `["close"]`, `["sql", STATEMENT]` or `["cp" or "mv", FROM, TO]`. Each answer is a line of JSON: the
rows, or the error's text.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from typing import Any


def main(module: str, directory: str) -> None:
    """Do as the module says."""
    sqlite = importlib.import_module(module)
    os.chdir(directory)
    connection: Any = None
    for line in sys.stdin:
        verb, *words = json.loads(line)
        answer: object = None
        match verb:
            case "open" if module == "sqlite3":
                connection = sqlite.connect("state.db", isolation_level=None, timeout=0.2)
            case "open":
                connection = sqlite.Connection("state.db")
                connection.set_busy_timeout(200)
            case "close":
                connection.close()
            case "sql":
                try:
                    answer = [list(row) for row in connection.execute(*words)]
                except sqlite.Error as error:
                    answer = str(error)
            case "cp":
                shutil.copyfile(*words)
            case "mv":
                os.replace(*words)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
