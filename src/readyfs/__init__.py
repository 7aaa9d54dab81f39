"""readyfs: a read-only filesystem that shows a pipeline's ready partitions and nothing else.

`readyfs.pin` holds what a mount shows now, for a Python program. It is imported when it is asked for: the command line
begins with this module, too.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from readyfs.errors import UserError
    from readyfs.pinned_view import LeaseLostError, PinnedView, pin

__all__ = ["LeaseLostError", "PinnedView", "UserError", "__version__", "pin"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "__version__" or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "UserError":
        from readyfs.errors import UserError

        return UserError
    from readyfs import pinned_view

    return getattr(pinned_view, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
