"""What is done in a Dagster deployment, run by an interpreter that has Dagster: commands are JSON lines, with answers.

It needs `DAGSTER_HOME`, and the programs of docs/schedulers/dagster.md in its working directory.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))
dg: Any = importlib.import_module("dagster")
KEY = ["google_ads", "campaign_daily"]
FAILS = "fails"
DATA_VERSION = "dagster/data_version"


def make_asset() -> Any:
    """Return an asset as that of the page, whose runs say what comes of them."""

    def campaign_daily(context: Any) -> Any:
        version = context.run.tags["version"]
        if version == FAILS:
            raise RuntimeError(version)
        return dg.MaterializeResult(data_version=dg.DataVersion(version))

    # For what Dagster looks at: the annotations are no texts.
    campaign_daily.__annotations__ = {}
    return dg.asset(
        key=KEY,
        partitions_def=importlib.import_module("definitions").partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )(campaign_daily)


class Work:
    """One method for each command."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.get()
        self.asset = make_asset()

    def materialize(self, partition: str, version: str) -> str:
        """Run the asset for a partition; return the id of the run."""
        return self._run(self.asset, partition, {"version": version}, partition_key=partition)

    def materialize_range(self, partitions: list[str], version: str) -> str:
        """Run the asset once for several partitions; return the id of the run."""
        tags = {
            "version": version,
            "dagster/asset_partition_range_start": partitions[0],
            "dagster/asset_partition_range_end": partitions[-1],
        }
        return self._run(self.asset, partitions[0], tags)

    def fail(self, partition: str) -> str:
        """Run the asset for a partition, in vain; return the id of the run."""
        return self.materialize(partition, FAILS)

    def produce(self, partition: str) -> str:
        """Run the page's own asset for a partition; return the id of the run."""
        asset = importlib.import_module("producer").campaign_daily
        return self._run(asset, partition, {}, partition_key=partition)

    def report(self, partition: str, version: str | None) -> None:
        """Report a materialization that no run of Dagster made, as the webserver does."""
        tags = {} if version is None else {DATA_VERSION: version, f"{DATA_VERSION}_is_user_provided": "true"}
        event = dg.AssetMaterialization(dg.AssetKey(KEY), partition=partition, tags=tags)
        self.instance.report_runless_asset_event(event)

    def wipe(self) -> None:
        """Wipe the asset."""
        self.instance.wipe_assets([dg.AssetKey(KEY)])

    def delete(self, run: str) -> None:
        """Delete a run."""
        self.instance.delete_run(run)

    def _run(self, asset: Any, partition: str, tags: dict[str, str], **words: str) -> str:
        self.instance.add_dynamic_partitions("customer", [partition.rpartition("|")[0]])
        result = dg.materialize([asset], instance=self.instance, tags=tags, raise_on_error=False, **words)
        return str(result.run_id)


if __name__ == "__main__":
    work = Work()
    for line in sys.stdin:
        name, words = json.loads(line)
        print(json.dumps(getattr(work, name)(*words)), flush=True)
