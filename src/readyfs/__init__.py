"""readyfs: a read-only filesystem that shows a pipeline's ready partitions and nothing else.

`readyfs.pin` holds what a mount shows now, for a Python program. It is imported when it is asked for: the command line
begins with this module, too.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from readyfs.pinned_view import LeaseLostError as LeaseLostError
    from readyfs.pinned_view import PinnedView as PinnedView
    from readyfs.pinned_view import pin as pin

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in ("pin", "PinnedView", "LeaseLostError"):
        from readyfs import pinned_view

        return getattr(pinned_view, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "pin", "PinnedView", "LeaseLostError"})
