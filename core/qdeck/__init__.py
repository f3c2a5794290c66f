"""A job queue on Redis and Valkey.

Importing this package imports nothing else: each name is fetched from its module when first used,
so that a console that needs only `qdeck.admin` loads neither the engine nor redis.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdeck.backoff import exponential, fixed
    from qdeck.classtask import Task
    from qdeck.context import Context
    from qdeck.deck import Deck
    from qdeck.errors import (
        ConnectionFailed,
        Control,
        Discard,
        InvalidCron,
        InvalidPayload,
        InvalidQuery,
        InvalidTask,
        JobCancelled,
        JobDead,
        JobError,
        JobNotFound,
        NotDurable,
        QdeckError,
        QueueFull,
        ReadOnly,
        Retry,
        RevisionConflict,
        ServerFull,
        SettingsError,
        Snooze,
        StaleLease,
        TaskError,
        Timeout,
        UnknownTask,
        WrongState,
    )
    from qdeck.job import Job, State

__all__ = [
    "ConnectionFailed",
    "Context",
    "Control",
    "Deck",
    "Discard",
    "InvalidCron",
    "InvalidPayload",
    "InvalidQuery",
    "InvalidTask",
    "Job",
    "JobCancelled",
    "JobDead",
    "JobError",
    "JobNotFound",
    "NotDurable",
    "QdeckError",
    "QueueFull",
    "ReadOnly",
    "Retry",
    "RevisionConflict",
    "ServerFull",
    "SettingsError",
    "Snooze",
    "StaleLease",
    "State",
    "Task",
    "TaskError",
    "Timeout",
    "UnknownTask",
    "WrongState",
    "exponential",
    "fixed",
]

_HOMES = {
    "Context": "context",
    "Deck": "deck",
    "Job": "job",
    "State": "job",
    "Task": "classtask",
    "exponential": "backoff",
    "fixed": "backoff",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
