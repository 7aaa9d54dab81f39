"""How many requests the kernel sends that nobody waits for: reads ahead, and the release of every file that is closed.

With its default of 12 the releases of many readers queue up, and a read that stands behind them waits for seconds. The
direct engine asks for more when it is mounted; libfuse's defaults are raised here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger("readyfs.fuse")

MAX_BACKGROUND: Final = 1024
_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")


def raise_background(device: tuple[int, int], connections: Path = _CONNECTIONS) -> None:
    """Raise the limit of a mount, which its device number (major, minor) names.

    Needs fusectl to be mounted there, as service managers do, and root; without it the mount works all the same. The
    kernel lowers what an ordinary user writes to a limit of its own.
    """
    # The directory's name is the kernel's dev_t as one number.
    connection = connections / str(device[0] << 20 | device[1])
    try:
        (connection / "max_background").write_text(str(MAX_BACKGROUND))
        (connection / "congestion_threshold").write_text(str(MAX_BACKGROUND * 3 // 4))
    except OSError as error:
        log.debug("background requests stay as few as they are", connection=str(connection), error=error.strerror)
