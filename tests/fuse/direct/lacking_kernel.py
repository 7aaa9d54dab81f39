"""Program: be `readyfs` on a kernel that offers less than the direct engine needs.

python lacking_kernel.py python -m readyfs mount ...
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

if __name__ == "__main__":
    # For a script the interpreter looks in the script's directory, where modules of the tests would be found.
    del sys.path[0]

from readyfs.cli.main import main as readyfs_main
from readyfs.fuse.direct import negotiation
from readyfs.fuse.direct.protocol import InitFlag, InitIn


class OlderInit:
    """The kernel's INIT without one of the flags."""

    @staticmethod
    def _make(values: Iterable[int]) -> InitIn:
        init = InitIn._make(values)
        return init._replace(flags=init.flags & ~InitFlag.NO_OPENDIR_SUPPORT)


def main() -> int:
    """Hide the flag, then be `readyfs`."""
    setattr(negotiation, "InitIn", OlderInit)  # noqa: B010 - a type checker would not have it otherwise
    command = sys.argv[1:]
    sys.argv = command[command.index("readyfs") :]
    return readyfs_main()


if __name__ == "__main__":
    sys.exit(main())
