"""Sends a program a Ctrl-C at the moment when it begins to import a module, which a variable names."""

import os
import signal
import sys


class _Interrupter:
    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        if name == os.environ["INTERRUPT_AT"]:
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, _Interrupter)
