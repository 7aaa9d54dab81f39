"""Runs, which are what lies below a date directory: judged to be sealed or broken.

A run's life, by what is kept of it here:

- *Unknown*: nothing. The next look (`run_look`) finds it sealed, if all its required files are there, regular and
  readable, or else broken.
- *Sealed*: views of its directories, in a bounded cache. It never changes, so views answer without a look. Pushed out
  of the cache it is unknown again; anything found missing or changed makes it broken.
- *To be looked at anew*: its row was touched, or came back, so it may have been written again under its id. Nothing is
  kept of it but the names that the kernel must ask for again.
- *Broken*: a record of damage with a cause, and no view. It shows its required files and every name that is
  remembered, and opens none (V10). It is looked at each time; a look that finds all that is remembered heals it.
- *Whole again*: the record without a cause, and views as of a sealed run. Each further look holds it to the record.

A record goes when its run is no longer current, and the views when besides nobody can ask for them any more. Called on
worker threads; views (`sealed_runs`), records (`damage_register`) and `looks` are guarded by one lock, never held
during I/O.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter

from readyfs.catalog.tree import Meaning
from readyfs.errors import PostponedError, TooManyHandlesError, WouldBlockError
from readyfs.partition import Partition, PartitionKey, RunKey, SeriesKey, run_of
from readyfs.raw.store import EntryKind, RawEntry, RawStore
from readyfs.vfs.damage import SEALED_DIRECTORY, Failure, difference
from readyfs.vfs.damage_cause import Cause, DamageError
from readyfs.vfs.damage_register import DamageRegister
from readyfs.vfs.file_filter import FileFilter
from readyfs.vfs.former_runs import FormerDirectory, FormerRun
from readyfs.vfs.looks import Looks
from readyfs.vfs.nodes import RawNode
from readyfs.vfs.relpath import RelPath
from readyfs.vfs.run_look import RunLook
from readyfs.vfs.run_view import BrokenView, RunView
from readyfs.vfs.sealed_runs import MAX_BYTES, SealedRuns


class Runs:
    """Judges runs, and remembers the directories of sealed ones and the damage of others.

    The constructor raises `UsageError` if the file filter hides every required file.
    """

    def __init__(self, raw: RawStore, required: Sequence[bytes], shown: FileFilter, max_bytes: int = MAX_BYTES) -> None:
        self._raw = raw
        self._look = RunLook(raw, required)
        self._shown = shown
        self.required_names = shown.shown_of(required)
        """The required files that are shown: what a broken run still lists."""
        names = dict.fromkeys(sorted(self.required_names), EntryKind.FILE)
        self._ambiguous = BrokenView(names, "two ready rows claim this path")
        self._lock = threading.Lock()
        self._sealed = SealedRuns(max_bytes)
        self._looks = Looks()
        self._damage = DamageRegister(raw.describe)

    def view(self, partition: Partition | None, relpath: RelPath = (), *, may_block: bool) -> RunView | BrokenView:
        """Return what the run's directory holds, or a directory below it.

        No partition means a path that two ready rows claim: it looks like a broken run (V13). Raises `WouldBlockError`
        if the answer is not known and the raw store must not be asked here.
        """
        if partition is None:
            return self._ambiguous
        run = run_of(partition)
        with self._lock:
            known = self._sealed.get(run, relpath)
            if known is not None:
                return known
            damage = self._damage.get(run)
            must_look = not relpath or (damage is not None and damage.broken)
        if not may_block:
            raise WouldBlockError
        if must_look:
            whole = self._read(partition)
            if not relpath:
                return whole
            if isinstance(whole, BrokenView):
                return self._broken_view(run, relpath, whole.cause)
        return self._read_subdirectory(partition, relpath)

    def look_ahead(self, meanings: Iterable[Meaning | None], until_s: float) -> int:
        """Look at runs that nobody asked for yet, until a moment of `time.monotonic`; may block.

        Returns how many of the dates were dealt with.
        """
        count = 0
        for meaning in meanings:
            if time.monotonic() >= until_s:
                break
            count += 1
            if not isinstance(meaning, Partition):
                continue
            run = run_of(meaning)
            with self._lock:
                is_known = run in self._sealed or run in self._damage
            if not is_known:
                try:
                    self._read(meaning)
                except (TooManyHandlesError, PostponedError):
                    break
        return count

    def look_again(self, partition: Partition) -> tuple[Cause, Failure] | None:
        """Look anew at all that is known of a sealed run; return how it differs by now, None if it does not. May block.

        For whoever is told that a run can be served: views answer without a look. Nothing is returned of a run that is
        not known to be sealed, because whoever views that looks at it.
        """
        run = run_of(partition)
        with self._lock:
            views = dict(self._sealed.views_of(run))
        if () not in views:
            return None
        try:
            found = self._look.look_at(partition, views, {})
        except DamageError as error:
            fault: tuple[Cause, Failure] | None = (error.cause, Failure((), SEALED_DIRECTORY))
        else:
            fault = next(
                (one for place, view in views.items() if (one := difference(place, view.entries, found[place]))), None
            )
        with self._lock:
            # What was sealed anew or found broken meanwhile was looked at later than this.
            return fault if self._sealed.views_of(run).get(()) is views[()] else None

    def report_damage(self, partition: Partition, cause: Cause, failure: Failure | None = None) -> bool:
        """Note that a run cannot be served; log it once for each cause.

        With what failed, the run stays broken until that is as it was sealed and can be read. Returns whether it had
        not failed since the run was last whole: only then is there anything new to tell the kernel.
        """
        run = run_of(partition)
        with self._lock:
            damage = self._damage.record(run)
            if not damage.broken:
                for directory, view in self._sealed.take(run).items():
                    damage.remember_entries(directory, view.entries)
            is_new = failure is not None and damage.suspect(failure)
            is_new_cause = damage.note(cause)
        if is_new_cause:
            self._damage.log_broken(partition, cause)
        return is_new

    def top_names(self, partition: Partition) -> tuple[bytes, ...]:
        """Return the names that a run's directory shows while it is broken."""
        return tuple(self._broken_view(run_of(partition), (), "").names)

    def is_past(self, node: RawNode) -> bool:
        """Whether a node is of a look at its run before the one that counts, so that it says nothing of the run."""
        return self._looks.is_past(run_of(node.partition), node.sealing)

    def is_sealed_otherwise(self, node: RawNode) -> bool:
        """Whether a file's size and time are not those that its run is sealed with by now, as far as that is known."""
        with self._lock:
            view = self._sealed.get(run_of(node.partition), node.relpath[:-1])
        if view is None:
            return False
        entry = view.entries.get(node.relpath[-1])
        return entry is None or not entry.stat.matches(node.stat)

    def is_known(self, partition: Partition) -> bool:
        """Whether anything is remembered of a run, or a look at it is under way."""
        run = run_of(partition)
        with self._lock:
            return run in self._sealed or run in self._damage or run in self._looks

    def is_sealed(self, run: RunKey) -> bool:
        """Whether views of a run answer without a look; asked without the lock, so it may be over at once."""
        return run in self._sealed

    def known_series(self) -> set[SeriesKey]:
        """Return the series of all runs of which `is_known` would say so."""
        with self._lock:
            runs = [*self._sealed, *self._damage, *self._looks]
        return {key.series for key, _ in runs}

    @property
    def has_pushed_out(self) -> bool:
        """Whether something was ever forgotten of a run for want of room."""
        return self._sealed.has_pushed_out

    def __len__(self) -> int:
        """How many sealed runs something is kept of."""
        return len(self._sealed)

    def begin_anew(
        self, partition: Partition, keep: Callable[[RunKey, FormerRun], None] = lambda run, former: None
    ) -> dict[RelPath, tuple[bytes, ...]]:
        """Forget what a run was sealed with, or found damaged by: the next look takes it as it is then.

        `keep` is told what that was, before anybody can see another. Returns the names that were answered for, by
        directory; nothing if these are not known any more.
        """
        run = run_of(partition)
        with self._lock:
            keep(run, self._former(run))
            self._looks.begin_anew(run)
            names = {directory: view.retire() for directory, view in self._sealed.take(run).items()}
            damage = self._damage.take(run)
            for directory, sealed in damage.sealed.items() if damage is not None else ():
                names[directory] = (*names.get(directory, ()), *sealed)
        return names

    def _former(self, run: RunKey) -> FormerRun:
        """Return what a run is sealed with as far as that is known; the caller holds the lock."""
        former = {relpath: FormerDirectory.of(view.entries) for relpath, view in self._sealed.views_of(run).items()}
        damage = self._damage.get(run)
        if damage is not None and damage.broken:
            former |= damage.former()
        return former

    def forget(self, run: RunKey) -> None:
        """Let go of a run that nobody can ask for any more."""
        with self._lock:
            self._sealed.take(run)
            self._looks.forget(run)

    def damaged(self) -> list[tuple[PartitionKey, bytes]]:
        """Return the partition key and run id of every run that is known to be damaged."""
        with self._lock:
            return [run for run, _ in self._damage.causes()]

    def damage_causes(self) -> list[tuple[RunKey, Cause]]:
        """Return the same with what was found last."""
        with self._lock:
            return self._damage.causes()

    def drop_unless(self, is_current: Callable[[PartitionKey, bytes], bool]) -> None:
        """Forget damage, and damage that healed, of runs that are no longer current."""
        with self._lock:
            self._damage.drop_unless(is_current)

    def _keep(self, partition: Partition, relpath: RelPath, found: Mapping[bytes, RawEntry]) -> RunView:
        """Remember a directory of a sealed run; the caller holds the lock."""
        run = run_of(partition)
        if not self._shown.shows_all:
            found = {
                name: entry
                for name, entry in found.items()
                if entry.kind is EntryKind.DIRECTORY or self._shown.shows((*relpath, name))
            }
        whole = self._sealed.views_of(run).get(())  # all nodes of a run share one path
        view = RunView(found, self._looks.event, self._raw.place_of(partition) if whole is None else whole.place)
        self._sealed.keep(run, relpath, view)
        return view

    def _read(self, partition: Partition) -> RunView | BrokenView:
        """Look at a run afresh: at all that is known of it if it was damaged, else at its required files."""
        run = run_of(partition)
        with self._lock:
            event = self._looks.start(run)
            damage = self._damage.get(run)
            changes = damage.changes if damage is not None else 0
            directories = {(), *damage.sealed} if damage is not None else {()}
            suspects = dict(damage.suspects) if damage is not None else {}
        try:
            found = self._look.look_at(partition, directories, suspects)
        except DamageError as error:
            return self._broken(partition, (), error.cause)
        finally:
            with self._lock:
                self._looks.end(run)
        fault, healed, view = None, False, None
        with self._lock:
            now = self._damage.get(run)
            if not self._looks.is_past(run, event):
                if now is not None and now.broken and (now is not damage or now.changes != changes):
                    fault = now.cause  # reported meanwhile, and perhaps not seen: the next look tells
                elif now is not None:
                    fault = next((cause for one in found.items() if (cause := now.fault(*one)) is not None), None)
                # In one step with the register: damage reported from now on must find what it has to drop.
                healed = fault is None and now is not None and now.heal()
                if fault is None:
                    view = self._keep(partition, (), found[()])
        if fault is not None:
            return self._broken(partition, (), fault)
        if view is None:
            return self._read(partition)  # the look began before the run was to be looked at anew
        if healed:
            self._damage.log_whole(partition)
        return view

    def _read_subdirectory(self, partition: Partition, relpath: RelPath) -> RunView | BrokenView:
        run = run_of(partition)
        with self._lock:
            event = self._looks.event
        try:
            found = self._look.list_directory(partition, relpath)
        except DamageError as error:
            return self._broken(partition, relpath, error.cause, Failure(relpath, SEALED_DIRECTORY))
        fault = None
        with self._lock:
            is_late = self._looks.is_past(run, event)
            damage = self._damage.get(run)
            if damage is not None:
                fault = damage.cause if damage.broken else damage.fault(relpath, found)
            if fault is None and not is_late:
                return self._keep(partition, relpath, found)
        if is_late:
            return self._read_subdirectory(partition, relpath)
        assert fault is not None
        return self._broken(partition, relpath, fault)

    def _broken(
        self, partition: Partition, relpath: RelPath, cause: Cause, failure: Failure | None = None
    ) -> BrokenView:
        self.report_damage(partition, cause, failure)
        return self._broken_view(run_of(partition), relpath, cause.text)

    def _broken_view(self, run: RunKey, relpath: RelPath, cause: str) -> BrokenView:
        names = dict.fromkeys(() if relpath else self.required_names, EntryKind.FILE)
        with self._lock:
            damage = self._damage.get(run)
            if damage is not None:
                for name, sealed in damage.sealed.get(relpath, {}).items():
                    names.setdefault(name, sealed.kind)
        return BrokenView(dict(sorted(names.items(), key=itemgetter(0))), cause)
