"""Every error that readyfs raises on purpose.

Two families. `UserError` is for the person at the command line: one line that names the thing and the remedy,
and an exit code from the table below (documented in `docs/operations.md`). `FilesystemError` is what a
client is answered with instead of a result. It knows no errno: that is the business of `readyfs.fuse.errno_table`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every `readyfs` command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    STATE = 3
    RAW = 4
    MOUNT_POINT = 5
    FUSE = 6
    AMBIGUOUS = 7
    NOT_RUNNING = 8
    NO_ANSWER = 9
    REFRESH_FAILED = 10
    STUCK = 11
    FOUND = 12
    NOT_READY = 13
    FAILED = 14
    IMPOSSIBLE = 15
    RESYNC = 16
    NOT_KEPT = 17
    NO_PIN = 18
    NOT_PERMITTED = 19
    LIMIT = 20
    PIN_STORE = 21


class ReadyfsError(Exception):
    """Root of the tree."""


class UserError(ReadyfsError):
    """A mistake or a missing thing that the operator can mend.

    `message` says what is wrong and names the thing; `remedy` says what to do about it.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy


class UsageError(UserError):
    """A flag, variable, file key or template that cannot be used."""


class OutputError(UserError):
    """What a command prints cannot be written where it goes."""


class StateError(UserError):
    """The state store cannot be read as configured.

    Raised at start it ends the command; raised by a later probe or load it is an outage (V11).
    """

    exit_code = ExitCode.STATE


class RawRootError(UserError):
    """The raw root itself cannot be used."""

    exit_code = ExitCode.RAW


class MountPointError(UserError):
    """The mount point is missing, in use, not empty, or overlaps our own data."""

    exit_code = ExitCode.MOUNT_POINT


class FuseError(UserError):
    """FUSE is not available on this machine, or refused the mount."""

    exit_code = ExitCode.FUSE


class AmbiguousPathsError(UserError):
    """Two ready rows claim one path at start (V13)."""

    exit_code = ExitCode.AMBIGUOUS


class NotRunningError(UserError):
    """No readyfs daemon serves this mount point."""

    exit_code = ExitCode.NOT_RUNNING


class NoAnswerError(UserError):
    """A daemon is there and does not answer in time."""

    exit_code = ExitCode.NO_ANSWER


class RefreshFailedError(UserError):
    """The refresh that was asked for ended in an outage; the last good catalog is still served."""

    exit_code = ExitCode.REFRESH_FAILED


class NothingReadyError(UserError):
    """The state table has rows, and a mount would show none of them."""

    exit_code = ExitCode.NOT_READY


class NotInTimeError(UserError):
    """What was waited for did not come in the time that was given."""

    exit_code = ExitCode.NOT_READY


class FailedError(UserError):
    """What was waited for has failed, and nothing is under way that would change it."""

    exit_code = ExitCode.FAILED


class ImpossibleError(UserError):
    """What was asked for can never be there: no partition of this mount has that path or key."""

    exit_code = ExitCode.IMPOSSIBLE


class ResyncError(UserError):
    """What changed cannot be told: the past that it would be compared with is gone, or had another shape."""

    exit_code = ExitCode.RESYNC


class HistoryError(UserError):
    """A catalog is not kept, or cannot be kept on the disk."""

    exit_code = ExitCode.NOT_KEPT


class NoPinError(UserError):
    """There is no pin of this name: it was never made, or has ended."""

    exit_code = ExitCode.NO_PIN


class NotPermittedError(UserError):
    """Whoever asks may not enter the mount, or the pin is somebody else's."""

    exit_code = ExitCode.NOT_PERMITTED


class LimitError(UserError):
    """A limit on what one user, or all together, may have or hold is reached."""

    exit_code = ExitCode.LIMIT


class PinStoreError(UserError):
    """The pin store cannot be used as configured, or cannot take or give a catalog."""

    exit_code = ExitCode.PIN_STORE


class PinStoreAwayError(PinStoreError):
    """The pin store cannot be used at this moment, and may be later: it is away, full, or not to be written."""


class PinStoreBusyError(PinStoreAwayError):
    """Too many ask the pin store at once, which says nothing of the store."""


class FilesystemError(ReadyfsError):
    """What the vfs, or an engine that waits for the raw store, answers instead of a result."""


class NotADirectoryNodeError(FilesystemError):
    """A directory operation on a file."""


class IsADirectoryNodeError(FilesystemError):
    """A file operation on a directory."""


class BrokenRunError(FilesystemError):
    """A ready partition whose run cannot be served (V10), or a raw file that is not what was sealed."""


class StaleCatalogError(FilesystemError):
    """A walk from the root while the catalog is older than `--max-staleness` allows (V11)."""


class UnreadableHistoryError(FilesystemError):
    """A catalog that is kept on the disk cannot be read at this moment."""


class UnreadablePinStoreError(FilesystemError):
    """A view may be in the pin store, which cannot be asked at this moment."""


class StaleHandleError(FilesystemError):
    """A handle, inode or listing position that is no longer known."""


class NameTooLongError(FilesystemError):
    """A name of more bytes than any name here can have, and than statfs(2) tells."""


class NoSuchAttributeError(FilesystemError):
    """The node has no such extended attribute."""


class AttributesUnsupportedError(FilesystemError):
    """The attribute's namespace is not offered here."""


class AttributesDisabledError(FilesystemError):
    """Extended attributes are switched off for the whole mount."""


class TooManyHandlesError(FilesystemError):
    """The table of open files is full."""


class RawStoreUnresponsiveError(FilesystemError):
    """The raw store did not answer in time, or whatever waits for it was given up at the end of the daemon."""


class RequestInterruptedError(FilesystemError):
    """The reader was sent a signal while it waited for the raw store."""


class NotALinkError(FilesystemError):
    """What a symbolic link was wanted of is none."""


class WouldBlockError(FilesystemError):
    """The answer needs the raw store, which the caller must not wait for here; ask again where blocking is allowed."""


class PostponedError(FilesystemError):
    """So many calls hang on the same volume of the raw store that this one must wait aside; ask again later."""
