"""Plans over a tree and reads later, with engines that are too large for the tests' environment.

`python plan_large.py CLIENT` runs in the environment of `make test-clients`. It takes from standard input the top of a
tree, plans, and answers null. At the next line it reads, and answers the records. Then it waits for the next tree. All
answers are lines of JSON; one of an error is an object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from glob import glob
from importlib import import_module
from typing import Any, Final

Read = Callable[[], Any]
"""What reads, after planning: gives lists of the columns' values."""
COLUMNS: Final = ("customer_id", "query_name", "logical_date", "clicks")
PATH_COLUMNS: Final = COLUMNS[:3]
PAYLOADS: Final = "*/*/*/payload.jsonl"
PARQUETS: Final = "*/*/*/rows.parquet"
_cache: Final = tempfile.TemporaryDirectory()


def load(name: str) -> Any:
    """Import what is there only in that environment."""
    return import_module(name)


def single(numbers: Any) -> list[list[int]]:
    """Return numbers as records of one column."""
    return [[int(number)] for number in numbers]


def rows(columns: dict[str, list[Any]]) -> list[list[Any]]:
    """Return records of all columns."""
    return [list(row) for row in zip(*(columns[name] for name in COLUMNS), strict=True)]


def pandas(top: str) -> Read:
    """A list of files, and a frame of each."""
    files = sorted(glob(f"{top}/{PAYLOADS}"))
    frames = load("pandas")
    return lambda: single(frames.concat([frames.read_json(file, lines=True) for file in files]).clicks)


def pandas_parquet(top: str) -> Read:
    """The same of Parquet files."""
    files = sorted(glob(f"{top}/{PARQUETS}"))
    frames = load("pandas")
    return lambda: single(frames.concat([frames.read_parquet(file) for file in files]).clicks)


def chdb(top: str) -> Read:
    """A view in a session, counted first, so that it knows the files."""
    session = load("chdb.session").Session()
    source = f"file('{top}/{PAYLOADS}', 'JSONEachRow', 'clicks Int64')"
    session.query("CREATE DATABASE IF NOT EXISTS jobs ENGINE = Atomic")
    session.query(f"CREATE OR REPLACE VIEW jobs.seen AS SELECT clicks FROM {source}")
    session.query("SELECT count() FROM jobs.seen", "CSV")

    def read() -> list[list[int]]:
        try:
            found = single(str(session.query("SELECT clicks FROM jobs.seen", "CSV")).split())
            counted = int(str(session.query("SELECT count() FROM jobs.seen", "CSV")))
        finally:
            session.close()
        assert counted == len(found), f"counted {counted}, found {len(found)}"
        return found

    return read


def datafusion(top: str) -> Read:
    """A table over a Hive tree."""
    return _datafusion("register_json", top, ".jsonl")


def datafusion_parquet(top: str) -> Read:
    """The same of Parquet files."""
    return _datafusion("register_parquet", top, ".parquet")


def _datafusion(register: str, top: str, ending: str) -> Read:
    context = load("datafusion").SessionContext()
    text = load("pyarrow").string()
    parts = [(name, text) for name in PATH_COLUMNS]
    getattr(context, register)("seen", f"{top}/", file_extension=ending, table_partition_cols=parts)
    frame = context.sql(f"SELECT {', '.join(COLUMNS)} FROM seen")
    return lambda: rows(frame.to_pydict())


def daft(top: str) -> Read:
    """A lazy frame over a glob."""
    frame = load("daft").read_json(f"{top}/{PAYLOADS}").select("clicks")
    return lambda: single(frame.to_pydict()["clicks"])


def daft_parquet(top: str) -> Read:
    """The same over a Hive tree of Parquet files."""
    daft = load("daft")
    # Otherwise ids turn into numbers and lose their leading zeros.
    types = {**dict.fromkeys(PATH_COLUMNS, daft.DataType.string()), "clicks": daft.DataType.int64()}
    frame = daft.read_parquet(f"{top}/{PARQUETS}", hive_partitioning=True, schema=types).select(*COLUMNS)
    return lambda: rows(frame.to_pydict())


def dask(top: str) -> Read:
    """A frame over a list of files."""
    return _dask(load("dask.dataframe").read_json(sorted(glob(f"{top}/{PAYLOADS}")), lines=True))


def dask_blocks(top: str) -> Read:
    """The same, each file cut into blocks by its size."""
    files = sorted(glob(f"{top}/{PAYLOADS}"))
    return _dask(load("dask.dataframe").read_json(files, lines=True, blocksize=1000))


def dask_bag(top: str) -> Read:
    """A bag of lines, cut into blocks."""
    lines = load("dask.bag").read_text(f"{top}/{PAYLOADS}", blocksize=1000)
    numbers = lines.map(json.loads).map(lambda record: record["clicks"])
    return lambda: single(numbers.compute(scheduler="threads"))


def dask_parquet(top: str) -> Read:
    """A frame over Parquet files, and its length, which comes from the footers."""
    frame = load("dask.dataframe").read_parquet(sorted(glob(f"{top}/{PARQUETS}")))
    len(frame)
    return _dask(frame, count=lambda: len(frame))


def dask_on_a_cluster(top: str) -> Read:
    """A frame whose blocks are cut here, and read by workers of the scheduler that `DASK_SCHEDULER_ADDRESS` names."""
    _cluster().wait_for_workers(2)
    files = sorted(glob(f"{top}/{PAYLOADS}"))
    frame = load("dask.dataframe").read_json(files, lines=True, blocksize=1000)
    return lambda: single(frame.clicks.compute())


@cache
def _cluster() -> Any:
    return load("distributed").Client()


def _dask(frame: Any, count: Callable[[], int] | None = None) -> Read:
    def read() -> list[list[int]]:
        found = single(frame.clicks.compute(scheduler="threads"))
        assert count is None or count() == len(found), f"counted {count()}, found {len(found)}"
        return found

    return read


def datasets(top: str) -> Read:
    """A builder that knows the files, and a cache that stays for all trees."""
    library = _datasets()
    files = glob(f"{top}/{PAYLOADS}")
    builder = library.load_dataset_builder("json", data_files=files, cache_dir=_cache.name)

    def read() -> list[list[int]]:
        builder.download_and_prepare()
        return single(builder.as_dataset(split="train")["clicks"])

    return read


def datasets_stream(top: str) -> Read:
    """A stream over a glob."""
    library = _datasets()
    found = library.load_dataset(
        "json", data_files=f"{top}/{PAYLOADS}", split="train", streaming=True, cache_dir=_cache.name
    )
    return lambda: single(record["clicks"] for record in found)


def _datasets() -> Any:
    library = load("datasets")
    library.disable_progress_bars()
    return library


CLIENTS: Final[dict[str, Callable[[str], Read]]] = {
    "pandas": pandas,
    "pandas, Parquet": pandas_parquet,
    "chdb": chdb,
    "DataFusion": datafusion,
    "DataFusion, Parquet": datafusion_parquet,
    "daft": daft,
    "daft, Parquet, Hive": daft_parquet,
    "dask": dask,
    "dask, blocksize": dask_blocks,
    "dask bag, blocksize": dask_bag,
    "dask, Parquet": dask_parquet,
    "Hugging Face datasets": datasets,
    "Hugging Face datasets, streaming": datasets_stream,
}
ALL_COLUMNS: Final = frozenset({"DataFusion", "DataFusion, Parquet", "daft, Parquet, Hive"})
"""What reads a Hive tree, and gives the columns of the path too."""
ON_A_CLUSTER: Final[dict[str, Callable[[str], Read]]] = {"dask, distributed": dask_on_a_cluster}
"""What reads by other processes than the one that plans."""


def answer(act: Callable[[], Any]) -> Any:
    """Do something, and print its result or the error as a line of JSON."""
    try:
        found = act()
    except Exception as error:  # noqa: BLE001  # each client has errors of its own
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        return None
    print(json.dumps(None if callable(found) else found), flush=True)
    return found


def main() -> None:
    """Serve one tree after the other."""
    plan = {**CLIENTS, **ON_A_CLUSTER}[sys.argv[1]]
    for line in sys.stdin:
        read = answer(partial(plan, line.rstrip("\n")))
        if read is not None:
            sys.stdin.readline()
            answer(read)


if __name__ == "__main__":
    main()
