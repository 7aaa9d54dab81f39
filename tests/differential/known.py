"""What ways of reading are documented to answer differently: all that the comparison lets pass."""

from __future__ import annotations

from tests.differential.answers import Answer, Failed


def is_known(side: str, is_direct: bool, raw: Answer, mount: Answer) -> bool:
    """Return whether a mount's differing answer is one that its way of reading is known for.

    | way of reading | call | answer |
    |---|---|---|
    | passthrough | a read through O_DIRECT, not of whole blocks into aligned memory | EINVAL, where the raw files' own
      file system gives it; the others read |
    """
    return side == "passthrough" and is_direct and mount == raw == Failed("EINVAL")
