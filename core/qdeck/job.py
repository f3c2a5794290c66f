"""What a job is to its callers: a frozen value, its states, and the table of moves between them.

Owns the words of the states, the priorities and the job ids. Knows nothing of servers or tasks.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import msgspec

from qdeck.errors import SettingsError

__all__ = ["MOVES", "PRIORITIES", "Job", "JobFailure", "State", "id_at", "new_id", "parse_priority"]

R = TypeVar("R")


class State(StrEnum):
    """Where a job is; every job is in exactly one."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self in _FINISHED


_FINISHED: Final = frozenset({State.COMPLETED, State.DEAD, State.CANCELLED})
_WAITING: Final = frozenset({State.SCHEDULED, State.PENDING, State.RETRYING})

#: verb -> (states it starts from, states it may lead to); the scripts refuse everything else.
MOVES: Final[Mapping[str, tuple[frozenset[State], frozenset[State]]]] = MappingProxyType(
    {
        "enqueue": (frozenset(), frozenset({State.PENDING, State.SCHEDULED})),
        "promote": (
            frozenset({State.SCHEDULED, State.RETRYING}),
            frozenset({State.PENDING, State.CANCELLED}),
        ),
        "claim": (
            frozenset({State.PENDING}),
            frozenset({State.RUNNING, State.CANCELLED, State.DEAD}),
        ),
        "settle": (
            frozenset({State.RUNNING}),
            frozenset(
                {State.COMPLETED, State.RETRYING, State.DEAD, State.CANCELLED, State.PENDING}
            ),
        ),
        "reap": (
            frozenset({State.RUNNING}),
            frozenset({State.PENDING, State.DEAD, State.CANCELLED}),
        ),
        "cancel": (_WAITING | {State.RUNNING}, frozenset({State.CANCELLED, State.RUNNING})),
        "run_now": (frozenset({State.SCHEDULED, State.RETRYING}), frozenset({State.PENDING})),
        "retry": (frozenset({State.DEAD, State.CANCELLED}), frozenset({State.PENDING})),
        "delete": (_WAITING | _FINISHED, frozenset()),
        "discard": (_WAITING, frozenset({State.DEAD})),
        "move_in_time": (
            frozenset({State.SCHEDULED, State.RETRYING}),
            frozenset({State.SCHEDULED, State.RETRYING}),
        ),
        "move_queue": (_WAITING, frozenset({State.PENDING, State.SCHEDULED})),
        "priority": (_WAITING, _WAITING),
        "patch": (_WAITING | _FINISHED, _WAITING | _FINISHED),
    }
)

PRIORITIES: Final[Mapping[str, int]] = MappingProxyType(
    {"low": 2, "normal": 4, "high": 6, "critical": 8}
)


def parse_priority(value: str | int) -> int:
    """Return a priority from 0 to 9, higher first, given a number or one of the four names."""
    if isinstance(value, str):
        if value in PRIORITIES:
            return PRIORITIES[value]
        if value.isascii() and value.isdigit():
            value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9:
        return value
    raise SettingsError(
        f"priority {value!r} is not known; use 0 to 9 or one of {', '.join(PRIORITIES)}"
    )


class JobFailure(msgspec.Struct, frozen=True):
    """The last error of a job: class name, message, traceback text (at most 8 KiB), error group."""

    type: str
    message: str
    traceback: str = ""
    fingerprint: str = ""


class Job(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """One job as it stood when it was read; nothing here changes afterwards.

    Times are aware UTC or None. `attempt` is 0 before the first run and counts claims; `progress`
    is 0 to 100 or None. `created` is False on the answer to an enqueue that created nothing.
    """

    id: str
    task: str
    queue: str
    state: State
    priority: int = 4
    attempt: int = 0
    max_attempts: int = 1
    payload: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    created_at: datetime | None = None
    available_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: float | None = None
    message: str | None = None
    error: JobFailure | None = None
    result: R | None = None
    worker: str | None = None
    created: bool = True


def from_ms(value: float | int | None) -> datetime | None:
    """Return an aware UTC time for milliseconds since the epoch; None for None and 0."""
    return datetime.fromtimestamp(value / 1000, UTC) if value else None


_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]

_lock = threading.Lock()
_last_ms = 0
_prefix = ""
_tail = 0


def new_id() -> str:
    """Return a new job id: 26 characters (Crockford base 32, ULID), ordered by time within a
    process.

    48 bits of milliseconds, then 80 random bits that count up within a millisecond.
    """
    global _last_ms, _prefix, _tail
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms = now
            _prefix = "".join(_PAIRS[now >> shift & 1023] for shift in (40, 30, 20, 10, 0))
            _tail = int.from_bytes(os.urandom(10)) >> 1
        else:
            _tail += 1
        tail = _tail
        prefix = _prefix
    p = _PAIRS
    return (
        f"{prefix}{p[tail >> 70 & 1023]}{p[tail >> 60 & 1023]}{p[tail >> 50 & 1023]}"
        f"{p[tail >> 40 & 1023]}{p[tail >> 30 & 1023]}{p[tail >> 20 & 1023]}"
        f"{p[tail >> 10 & 1023]}{p[tail & 1023]}"
    )


def id_at(ms: int, tail: bytes) -> str:
    """Return the id of a time and 10 more bytes: the same for the same, in the form of `new_id`."""
    number = ms << 80 | int.from_bytes(tail[:10])
    return "".join(_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10))


def _after_fork() -> None:
    global _last_ms, _lock
    _lock = threading.Lock()
    _last_ms = 0


os.register_at_fork(after_in_child=_after_fork)
