"""As much of Airflow 3.3.2's Task SDK as a DAG of the page uses, without a scheduler behind it.

`airflow.sdk` has `dag`, `task` with `task.sensor`, `Asset` and `PokeReturnValue`; `airflow.sdk.exceptions` has
`AirflowException` and, below it, `AirflowFailException`, after which no retry comes. A sensor is called until what it
returns is done: in the mode `reschedule` each call is a process of its own.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch

Function = Callable[..., Any]
SENSOR_OPTIONS: Final = {"mode", "poke_interval", "timeout", "retries", "soft_fail"}
DAG_OPTIONS: Final = {"schedule", "start_date", "catchup"}


@dataclass(frozen=True)
class PokeReturnValue:
    """What a sensor returns."""

    is_done: bool
    xcom_value: Any = None


@dataclass(frozen=True)
class Asset:
    """What events are of; its URI is also its name."""

    uri: str


class AirflowException(Exception):
    """The task has failed, and is tried again as often as its retries say."""


class AirflowFailException(AirflowException):
    """The task has failed for good."""


@dataclass
class Tasks:
    """What a DAG file defines: the functions of its tasks by name, and what stands for their results."""

    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, tuple[object, ...]] = field(default_factory=dict)
    options: dict[str, dict[str, object]] = field(default_factory=dict)

    def __call__(self, function: Function) -> Function:
        return self._define(function)

    def sensor(self, **options: object) -> Callable[[Function], Function]:
        """Decorate the function of a sensor."""
        assert set(options) <= SENSOR_OPTIONS, options
        return lambda function: self._define(function, **options)

    def dag(self, **options: object) -> Callable[[Function], Function]:
        """Decorate the function that defines a DAG, which runs when it is called."""
        assert set(options) <= DAG_OPTIONS, options
        return lambda function: function

    def _define(self, function: Function, **options: object) -> Function:
        name = function.__name__
        self.functions[name] = function
        self.options[name] = options

        def call(*arguments: object) -> str:
            self.calls[name] = arguments
            return f"result of {name}"

        return call


@contextmanager
def importable() -> Iterator[Tasks]:
    """Let the body import Airflow, and give what it defines."""
    tasks = Tasks()
    modules = {name: types.ModuleType(name) for name in ("airflow", "airflow.sdk", "airflow.sdk.exceptions")}
    vars(modules["airflow.sdk"]).update(dag=tasks.dag, task=tasks, Asset=Asset, PokeReturnValue=PokeReturnValue)
    vars(modules["airflow.sdk.exceptions"]).update(
        AirflowException=AirflowException, AirflowFailException=AirflowFailException
    )
    with patch.dict(sys.modules, modules):
        yield tasks
