"""The forms of a manifest, and the names by which they are looked up."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Form(Enum):
    """What a manifest holds: a JSON object for each partition, or the paths of its files, ended by newline or NUL."""

    JSONL = b"jsonl"
    PATHS = b"paths"
    PATHS0 = b"paths0"

    @property
    def file_name(self) -> bytes:
        """The name of the manifest in every directory above a partition."""
        return b".manifest." + self.value


FORMS: Final[Mapping[bytes, Form]] = {form.file_name: form for form in Form}
"""The forms by file name."""
