"""The pin store: catalogs in a directory that several mounts share.

What a catalog is made of comes first, then its lease, and its root last. After that all of it is looked at once more.
So whatever a writer leaves that is killed, and whatever a collector does meanwhile, what can be found is whole.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from readyfs.catalog.build import CatalogShape
from readyfs.catalog.tree import Catalog
from readyfs.errors import PinStoreAwayError, PinStoreError, UsageError
from readyfs.history.changes import find_changes
from readyfs.history.packing import DamagedError
from readyfs.history.replay import rebuild
from readyfs.pin_store.collecting import Collecting
from readyfs.pin_store.files import CLOCK, TEMPORARY, Files, ForeignFileError
from readyfs.pin_store.leases import (
    find_lease,
    lease_file,
    read_lease,
    readable_leases,
    write_lease,
)
from readyfs.pin_store.names import NameTakenError, check_name_free, is_over, read_name, take_name
from readyfs.pin_store.packs import PackRef, PackShelf, pack_changes, unpack
from readyfs.pin_store.places import DIRECTORIES, LEASES, MARKER, refuse_foreign, view_place, view_places
from readyfs.pin_store.records import (
    MOST_BYTES,
    MOST_SECONDS,
    OtherFormatError,
    as_text,
    is_fingerprint,
    parse_record,
    render_record,
)
from readyfs.pin_store.roots import Root, find_root, own_root, read_root, root_file, write_root
from readyfs.pin_store.words import Collected, DamagedStoreError, Found, Identity, SharedPin
from readyfs.pins.names import check_name, show_name
from readyfs.text import escape_text

_MARKER: Final = "store"
_MOST_STEPS: Final = 8
"""So many differences lead on from a whole catalog at most, and take half of its bytes: a reader needs all of them."""
_LEAST_ROOM: Final = 1 << 16
_TRIES: Final = 5
_PROBE: Final = bytes(4096)
_IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_IS_UNWRITABLE: Final = frozenset({errno.EACCES, errno.EPERM})
_HAS_NO_LINKS: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class PinStore:
    """The store in a directory, as one mount sees it.

    `holder` is 32 hexadecimal digits that tell this mount from every other. `grace_s` is how long what nothing needs
    stays. Every method raises `PinStoreError` if the store cannot be used as it is, and its kind `PinStoreAwayError` if
    that may be over later. Blocking, for any thread.
    """

    def __init__(self, directory: Path, identity: Identity, holder: str, shape: CatalogShape, grace_s: float) -> None:
        self.directory = directory
        self._identity = identity
        self._holder = holder
        self._shape = shape
        self._grace_s = grace_s
        self._packs = PackShelf()
        self._writing = threading.Lock()
        # Of the store that was found first: an empty directory may be what a mount left that is away.
        self._store_id: str | None = None
        self._is_clear = False

    def check(self) -> None:
        """Make what is missing in an empty directory, and prove that the store can be used and written."""
        with self._opened(is_made=True) as files:
            for place in DIRECTORIES:
                files.make_directory(place)
            if not self._is_clear:  # later it would be what this very mount is writing
                files.remove_temporary()
                self._is_clear = True
            self._prove(files)

    # ---- pins -----------------------------------------------------------------------------------------------

    def publish(self, catalog: Catalog, pin: SharedPin, base: Catalog | None) -> None:
        """Put a catalog, its lease and its name into the store, on the disk when this returns.

        `base` is what this mount published last: what it shares with the catalog is not written again. A name that
        another mount holds is a `PinStoreError`. A pin without a name is a lease alone.
        """
        with self._writing, self._opened() as files:
            try:
                was = find_lease(files, pin.fingerprint, lease_file(self._holder, pin.name))
            except PermissionError as error:
                raise self._closed(files, error) from error
            try:
                if pin.name:
                    check_name_free(files, pin.name, self._grace_s)
                self._write(files, catalog, pin, base)
                if pin.name:
                    take_name(files, pin.name, pin.fingerprint, self._grace_s)
            except BaseException as error:
                if was is None or was.is_ended:
                    with suppress(OSError):
                        for place in view_places(files, pin.fingerprint):
                            files.remove((*place, LEASES, lease_file(self._holder, pin.name)))
                if isinstance(error, NameTakenError):
                    raise self._taken(pin.name) from None
                if isinstance(error, PermissionError):
                    raise self._closed(files, error) from error
                raise

    def renew(self, pin: SharedPin) -> bool:
        """Write the lease of a pin anew; return whether the catalog is there, False if it has to be published.

        A lease never becomes shorter.
        """
        place, file = view_place(pin.fingerprint), lease_file(self._holder, pin.name)
        with self._writing, self._opened() as files:
            ends_s = files.now_s() + min(pin.lease_s, pin.latest_s)
            try:
                was = read_lease(files, place, pin.fingerprint, file)
                if was is None or was.is_ended or was.ends_s < ends_s:
                    write_lease(files, place, pin)
                root = read_root(files, place, pin.fingerprint, root_file(self._identity.raw_id))
            except (FileNotFoundError, DamagedStoreError):
                return False
            except PermissionError:
                return False  # somebody has closed it: publishing says so
            if root is None or not self._has_packs(files, root):
                return False
            try:
                if pin.name:
                    take_name(files, pin.name, pin.fingerprint, self._grace_s)
            except NameTakenError:
                raise self._taken(pin.name) from None
            return True

    def end(self, pin: SharedPin) -> None:
        """Note that a pin has ended; its catalog goes once nothing needs it."""
        file = lease_file(self._holder, pin.name)
        with self._writing, self._opened() as files:
            # Also in the trash: a lease may get there while it is being written.
            for place in view_places(files, pin.fingerprint):
                try:
                    if read_lease(files, place, pin.fingerprint, file) is not None:
                        write_lease(files, place, pin, is_ended=True)
                except FileNotFoundError:
                    continue
                except PermissionError:
                    self._prove(files)  # in a view that somebody has closed it ends by itself

    # ---- finding --------------------------------------------------------------------------------------------

    def find(self, fingerprint: str) -> Found | None:
        """Return what there is of a catalog; raise `MismatchError` for one of others, `DamagedStoreError`."""
        if not is_fingerprint(fingerprint):
            return None
        with self._opened() as files:
            for _ in range(2):  # it may be on its way to the trash, or back
                with _closed_is_damage():
                    root = find_root(files, fingerprint, self._identity)
                    leases = readable_leases(files, fingerprint)
                    is_whole = root is None or all(self._packs.is_anywhere(files, pack) for pack in root.packs)
                if not is_whole:
                    raise DamagedStoreError("a pack of it is not there")
                if root is not None and leases:
                    now_s = files.now_s()
                    return Found(
                        fingerprint,
                        root.taken_at_ns,
                        _left_s((lease.ends_s for lease in leases), now_s),
                        _left_s((lease.latest_s for lease in leases), now_s),
                        tuple(pack.name for pack in root.packs),
                    )
        return None

    def load(self, found: Found, like: Catalog | None) -> Catalog:
        """Return the very catalog that was found, verified; it shares with `like` whatever is equal.

        Raises `DamagedStoreError`, also if it has been removed since.
        """
        with self._opened() as files, _closed_is_damage():
            changes = unpack(self._packs.read(files, name) for name in found.packs)
            try:
                return rebuild(changes, found.fingerprint, found.taken_at_ns, self._shape, like)
            except DamagedError as error:
                raise DamagedStoreError(str(error)) from error
            except (ArithmeticError, LookupError, ValueError) as error:
                # Rows that no state has: whoever may write the store may write anything.
                raise DamagedStoreError(f"its rows make no sense: {error}") from error

    def resolve(self, name: str) -> str | None:
        """Return the fingerprint of the pin of a name, None if there is none; raise `DamagedStoreError`."""
        try:
            check_name(name)
        except UsageError:
            return None
        with self._opened() as files:
            now_s = files.now_s()
            with _closed_is_damage():
                named = read_name(files, name)
                return None if named is None or is_over(files, named, now_s, self._grace_s) else named.fingerprint

    def ends_in_s(self, fingerprint: str) -> float | None:
        """Return how long the latest lease of a catalog lasts from now on, None if there is no lease.

        Raises `DamagedStoreError` if its leases are closed to this user.
        """
        if not is_fingerprint(fingerprint):
            return None
        with self._opened() as files, _closed_is_damage():
            for _ in range(2):
                leases = readable_leases(files, fingerprint)
                if leases:
                    return _left_s((lease.ends_s for lease in leases), files.now_s())
        return None

    def collect(self) -> Collected:
        """Remove what nothing has needed for longer than the grace, unless another daemon did so lately."""
        with self._opened() as files:
            return Collecting(files, self._grace_s).run()

    # ---- within ---------------------------------------------------------------------------------------------

    def _write(self, files: Files, catalog: Catalog, pin: SharedPin, base: Catalog | None) -> None:
        place = view_place(catalog.fingerprint)
        for _ in range(_TRIES):
            root = self._root(files, catalog, pin, base)
            try:
                files.make_directory((*place, LEASES))
                write_lease(files, place, pin)
                if not self._has_root(files, root):
                    write_root(files, root)
            except FileNotFoundError:
                continue  # a collector has just moved the view to the trash
            # Whoever removes something looks for a lease and a root after it was moved: either it has seen these, or
            # what it moved is missing here.
            lease = read_lease(files, place, catalog.fingerprint, lease_file(self._holder, pin.name))
            if lease is not None and self._has_root(files, root) and self._has_packs(files, root):
                return
        raise PinStoreAwayError(
            f"what was written to the pin store {self._shown} vanishes again and again",
            "see what else removes files there",
        )

    def _root(self, files: Files, catalog: Catalog, pin: SharedPin, base: Catalog | None) -> Root:
        """Have all packs of a catalog there, and return what names them."""
        there = own_root(files, catalog.fingerprint, self._identity)
        if there is not None and there.identity == self._identity and self._keep(files, there.packs):
            return there
        steps = self._difference(files, catalog, base)
        if steps is None:
            steps = (tuple(self._packs.write(files, pack) for pack in pack_changes(find_changes(None, catalog))),)
        return Root(catalog.fingerprint, self._identity, pin.taken_at_ns, steps)

    def _difference(
        self, files: Files, catalog: Catalog, base: Catalog | None
    ) -> tuple[tuple[PackRef, ...], ...] | None:
        """Have the packs of what differs from another catalog there; None if these are better made anew."""
        if base is None or base.fingerprint == catalog.fingerprint:
            return None
        root = own_root(files, base.fingerprint, self._identity)
        if root is None or len(root.steps) > _MOST_STEPS or not self._keep(files, root.packs):
            return None
        whole, *since = (sum(pack.size for pack in step) for step in root.steps)
        room = max(whole // 2, _LEAST_ROOM) - sum(since)
        contents: list[list[bytes]] = []
        for content in pack_changes(find_changes(base, catalog)):
            room -= sum(map(len, content))
            if room < 0:
                return None
            contents.append(content)
        return (*root.steps, tuple(self._packs.write(files, content) for content in contents))

    def _keep(self, files: Files, packs: tuple[PackRef, ...]) -> bool:
        return all(self._packs.keep(files, pack) for pack in packs)

    def _has_packs(self, files: Files, root: Root) -> bool:
        return all(self._packs.is_there(files, pack) for pack in root.packs)

    def _has_root(self, files: Files, root: Root) -> bool:
        place, file = view_place(root.fingerprint), root_file(root.identity.raw_id)
        try:
            return read_root(files, place, root.fingerprint, file) == root
        except DamagedStoreError:
            return False

    @contextmanager
    def _opened(self, *, is_made: bool = False) -> Iterator[Files]:
        """Open the store that is in the directory, and say of every error what it means."""
        try:
            with Files.opened(self.directory, self._holder) as files:
                self._check_marker(files, is_made)
                yield files
        except OSError as error:
            raise self._unusable(error) from error

    def _check_marker(self, files: Files, is_made: bool) -> None:
        try:
            found = files.read((MARKER,), MOST_BYTES)
            if found is None and is_made and self._store_id is None:
                self._make_marker(files)
                found = files.read((MARKER,), MOST_BYTES)
            store_id = None if found is None else as_text(parse_record(_MARKER, found.content)["id"])
        except OtherFormatError as error:
            raise PinStoreError(
                f"the pin store {self._shown} is of another version of readyfs: {error}",
                "name another directory, or have all mounts be of one version",
            ) from error
        except (ForeignFileError, DamagedStoreError, KeyError, ValueError) as error:
            raise PinStoreError(
                f"the directory {self._shown} holds no pin store that can be used: its {MARKER} is damaged",
                "name another directory, which is empty",
            ) from error
        if store_id is None or store_id != (self._store_id or store_id):
            raise PinStoreAwayError(
                f"the pin store {self._shown} is away: the directory holds another one, or none",
                "mount what holds it; it is tried again",
            )
        self._store_id = store_id

    def _make_marker(self, files: Files) -> None:
        """Make an empty directory a store; raise `PinStoreError` if it holds anything of others."""
        refuse_foreign(self.directory, files.names())
        files.make_directory((TEMPORARY,))
        files.put_new((MARKER,), render_record(_MARKER, {"id": secrets.token_hex(16)}))

    @property
    def _shown(self) -> str:
        return escape_text(os.fsencode(self.directory))

    def _taken(self, name: str) -> PinStoreError:
        return PinStoreError(
            f"the pin store {self._shown} has a pin named {show_name(name)} that is not of this mount",
            "choose another name, or wait until that pin has ended",
        )

    def _prove(self, files: Files) -> None:
        """Write something, of a size: a disk that is full says so then, and a store that this user may not write."""
        files.put((CLOCK, self._holder), (_PROBE,))

    def _closed(self, files: Files, error: PermissionError) -> Exception:
        """Return what it means that something may not be read or written: of one view, or of the whole store."""
        try:
            self._prove(files)
        except PermissionError:
            return error
        return PinStoreError(
            f"the pin store {self._shown} has files of this view that are closed to this user: {error.strerror}",
            "have their owner open them to the group of the store",
        )

    def _unusable(self, error: OSError) -> PinStoreError:
        why = error.strerror or str(error)
        if error.errno == errno.ENOTDIR and not self._is_directory():
            return PinStoreError(f"the pin store {self._shown} is no directory", "name a directory for --pin-store")
        if error.errno in _IS_FULL:
            return PinStoreAwayError(f"the pin store {self._shown} is full: {why}", "make room there")
        if error.errno == errno.EROFS:
            return PinStoreAwayError(f"the pin store {self._shown} cannot be written: {why}", "mount it to be written")
        if error.errno in _IS_UNWRITABLE:
            return PinStoreAwayError(
                f"the pin store {self._shown} cannot be read and written by this user: {why}",
                "let its group write it (mode 2770), and have the daemon in that group",
            )
        if error.errno in _HAS_NO_LINKS:
            return PinStoreError(
                f"the pin store {self._shown} is on storage without hard links: {why}", "name a directory elsewhere"
            )
        if error.errno == errno.ENOENT:
            return PinStoreAwayError(f"the pin store {self._shown} is not there, or a part of it", "make or mount it")
        return PinStoreAwayError(f"the pin store {self._shown} cannot be used: {why}", "mend that; it is tried again")

    def _is_directory(self) -> bool:
        try:
            return self.directory.is_dir()
        except OSError:
            return True


def _left_s(moments_s: Iterable[float], now_s: float) -> float:
    """Return how long it is until the last of some moments, as far as a lease can say so."""
    return min(max(moments_s) - now_s, MOST_SECONDS)


@contextmanager
def _closed_is_damage() -> Iterator[None]:
    """Take what this user may not read, in a store that it may, for damage: one user closes nothing else that way."""
    try:
        yield
    except PermissionError as error:
        raise DamagedStoreError("its files are closed to this user") from error
