"""What one setting is.

A setting has one name, from which its flag, variable and TOML key follow. Wherever a value comes from it reaches the
setting as a tuple of texts, so that there is one parser for each, and every message about a value reads the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)

VARIABLE_PREFIX: Final = "READYFS_"


class Shape(Enum):
    """How a setting is written in each place."""

    TEXT = "text"
    NUMBER = "number"
    ACCOUNT = "account"
    SWITCH = "switch"
    DATE = "date"
    LIST = "list"
    COMMA_LIST = "comma list"


class Group(StrEnum):
    """The headings under which help and documents list the settings."""

    STORES = "Where the data is"
    SELECTION = "What is shown"
    TABLE = "Names in the state table"
    LAYOUT = "How paths are made"
    TIMING = "Times"
    GUARD = "Guard against an emptied table"
    HISTORY = "What was shown before"
    PINS = "Pins"
    MOUNT = "The mount"
    PLACES = "Our own files"
    LOG = "Logging"


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """One setting; `parse` turns the texts that were given into its value and raises `UsageError`.

    `default` is asked, with the environment, when nothing was given, and `default_text` is what help and documents
    say of it. `render` turns a value of this setting back into the text that one would write.
    """

    name: str
    group: Group
    shape: Shape
    parse: Callable[[tuple[str, ...]], T_co]
    default: Callable[[Mapping[str, str]], T_co]
    default_text: str
    metavar: str
    help: str
    render: Callable[[object], str] = str
    is_path: bool = False

    @property
    def flag(self) -> str:
        """Return the long option, such as `--name-timeout`."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """Return the environment variable, such as `READYFS_NAME_TIMEOUT`."""
        return VARIABLE_PREFIX + self.name.replace("-", "_").upper()

    @property
    def repeatable(self) -> bool:
        """Whether the flag may be given several times."""
        return self.shape in (Shape.LIST, Shape.COMMA_LIST)
