"""What a Dagster deployment does, run by an interpreter that has Dagster: commands come as JSON lines, with answers.

python dagster_work.py      with DAGSTER_HOME, and an asset of the definitions of docs/schedulers/dagster.md
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

dg: Any = importlib.import_module("dagster")
page: Any = importlib.import_module("producer")


class Work:
    """One method for each command."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.get()

    def materialize(self, partition: str, run_id: str, **tags: str) -> str:
        """Run the asset for a partition; return Dagster's id of the run."""
        customer = partition.rpartition("|")[0]
        self.instance.add_dynamic_partitions("customer", [customer])
        where = {} if tags else {"partition_key": partition}
        result = dg.materialize(
            [page.campaign_daily],
            instance=self.instance,
            tags={"run_id": run_id, **tags},
            raise_on_error=False,
            **where,
        )
        return str(result.run_id)

    def log(self, partition: str) -> None:
        """Report a materialization without a data version."""
        key = dg.AssetKey(["google_ads", "campaign_daily"])
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))

    def wipe(self) -> None:
        """Wipe the whole asset."""
        self.instance.wipe_assets([dg.AssetKey(["google_ads", "campaign_daily"])])

    def delete(self, run: str) -> None:
        """Delete a run."""
        self.instance.delete_run(run)


if __name__ == "__main__":
    work = Work()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, words = json.loads(line)
        print(json.dumps(getattr(work, name)(**words)), flush=True)
