"""Ctrl-C while modules are imported: it ends the process at once, for nothing is there yet to be tidied up.

As an exception it would come up in the midst of an import, where nobody expects it and a traceback is the answer.
This module imports next to nothing: it is needed before the others.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """Let a SIGINT end the process during the body, as it ends a program that knows no signals."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as a shell has it for what runs in the background
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
