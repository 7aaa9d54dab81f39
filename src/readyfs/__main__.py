"""The program: `readyfs`, and `python -m readyfs`."""

import sys

from readyfs.cli.interrupts import EndedByInterrupts


def main() -> int:
    """Run this process's command line and return its exit code; whenever a Ctrl-C comes, there is no traceback."""
    with EndedByInterrupts():
        from readyfs.cli.main import INTERRUPTED
        from readyfs.cli.main import main as run
        from readyfs.cli.streams import prepare_streams
    prepare_streams()
    try:
        return run()
    except KeyboardInterrupt:  # the last words of an error were interrupted
        return INTERRUPTED
    finally:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter's own end would answer with a traceback


if __name__ == "__main__":
    sys.exit(main())
