"""The register of damage: one record for each run that was found damaged, for as long as that run is current.

Used by `runs` alone, whose lock guards the records. The log needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from readyfs.partition import Partition, PartitionKey, RunKey
from readyfs.text import escape_text
from readyfs.vfs.damage import Damage
from readyfs.vfs.damage_cause import Cause
from readyfs.vfs.log_budget import LogBudget, Verdict

log = structlog.get_logger("readyfs.runs")


class DamageRegister:
    """Records of damage by run, also of damage that healed, and the log lines about them.

    `describe` says where the run of a partition lies, for the log.
    """

    def __init__(self, describe: Callable[[Partition], str]) -> None:
        self._describe = describe
        self._records: dict[RunKey, Damage] = {}
        self._log_budget = LogBudget()

    def __contains__(self, run: RunKey) -> bool:
        return run in self._records

    def __iter__(self) -> Iterator[RunKey]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def get(self, run: RunKey) -> Damage | None:
        """Return the record of a run, if it has one."""
        return self._records.get(run)

    def record(self, run: RunKey) -> Damage:
        """Return the record of a run, made now if it has none."""
        damage = self._records.get(run)
        if damage is None:
            damage = self._records[run] = Damage()
        return damage

    def take(self, run: RunKey) -> Damage | None:
        """Let go of a run, and return its record, if it has one."""
        return self._records.pop(run, None)

    def drop_unless(self, is_current: Callable[[PartitionKey, bytes], bool]) -> None:
        """Let go of all runs that are no longer current."""
        for run in [run for run in self._records if not is_current(*run)]:
            del self._records[run]

    def causes(self) -> list[tuple[RunKey, Cause]]:
        """Return every run that is broken, with what was found last."""
        return [(run, damage.cause) for run, damage in self._records.items() if damage.cause is not None]

    def log_broken(self, partition: Partition, cause: Cause) -> None:
        """Log that a run is broken."""
        if self._may_log():
            log.warning(
                "run is broken",
                partition=str(partition.key),
                run=escape_text(partition.run_id),
                path=self._describe(partition),
                cause=cause.text,
            )

    def log_whole(self, partition: Partition) -> None:
        """Log that a run healed."""
        if self._may_log():
            log.info("run is whole again", partition=str(partition.key), run=escape_text(partition.run_id))

    def _may_log(self) -> bool:
        """Tell whether to log an event of one run: not if very many have one, as when the raw root is not mounted."""
        verdict = self._log_budget.ask()
        if verdict is Verdict.SAY_THERE_ARE_MORE:
            log.warning("more runs break or heal than are logged one by one, the status counts them")
        return verdict is Verdict.WRITE
