"""Ctrl-C while modules are imported: it ends the process at once, for nothing is there yet to be tidied up.

As an exception it would come up in the midst of an import, where nobody expects it and a traceback is the answer.
It is needed before all others, and so imports nothing but what the interpreter has in itself: the module `signal` alone
takes long enough to be interrupted.
"""

import _signal as signal  # type: ignore[import-not-found]


class EndedByInterrupts:
    """While it is entered, a SIGINT ends the process, as it ends a program that knows no signals."""

    def __enter__(self) -> None:
        """Take Python's own handler away, unless the signal is ignored, as a shell has it in the background."""
        self._is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *_exception: object) -> None:
        """Put it back."""
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
