"""The verbs of one queue as commands, and what their answers mean.

Every function here is pure: it makes a `Command` or reads an answer. Who sends it, and how often,
is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from qdeck.job import MOVES
from qdeck.keys import QueueKeys, SharedKeys
from qdeck.record import Settle, encode_settles
from qdeck.scripts import Command, script
from qdeck.settings import Settings

__all__ = ["BATCH", "CHUNK", "Claimed", "Moved", "Step", "Turn"]

#: Jobs that one script call handles at most.
CHUNK: Final = 500
#: Jobs that one turn settles and claims, or one verb of an operator moves, at most: each costs the
#: server several commands.
BATCH: Final = 200
_LOG_LINES: Final = 2000
_LOG_BYTES: Final = 1024 * 1024

# What the larger scripts take as KEYS, in the order of their headers.
_ENQUEUE: Final = "ready scheduled retrying lease meta totals tasks wake"
_TEND: Final = "ready scheduled retrying lease cancelled dead errors meta totals tasks wake logs"
_EVERY_STATE: Final = (
    "ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs"
)
_TRIM: Final = "completed cancelled dead errors meta tasks logs"


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A job that this worker now runs: `attempt` counts from 1 within this round of runs."""

    id: str
    fence: int
    attempt: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer to settling and claiming. `next_s` is None when nothing is due later."""

    settled: list[str]
    claimed: list[Claimed]
    next_s: float | None
    again: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """What an operator's verb did to one job; `state` is where it was ("" if unknown)."""

    id: str
    state: str
    outcome: str
    owner: str


@dataclass(frozen=True, slots=True)
class Step:
    """How far a bulk operation is."""

    state: str
    total: int
    done: int
    ok: int
    skipped: int


def enqueue(keys: QueueKeys, max_size: int, entries: Sequence[str | bytes]) -> Command:
    """Create jobs; `entries` are id and body in turn, at most `CHUNK` jobs."""
    return Command(script("enqueue"), keys.of(_ENQUEUE), (keys.tag, max_size, *entries))


def work(
    keys: QueueKeys, worker: str, counter: int, want: int, lease: float, settles: list[Settle]
) -> Command:
    """Settle runs and claim up to `want` jobs with a lease of so many seconds."""
    return Command(
        script("work"),
        keys.of(_EVERY_STATE),
        (keys.tag, worker, counter, want, int(lease * 1000), encode_settles(settles)),
    )


def read_turn(answer: list[Any]) -> Turn:
    """Read the answer to `work`."""
    settled_until = 4 + answer[3]
    claimed = [
        Claimed(answer[i].decode(), answer[i + 1], answer[i + 2], answer[i + 3])
        for i in range(settled_until, len(answer), 4)
    ]
    settled = [word.decode() for word in answer[4:settled_until]]
    return Turn(settled, claimed, _seconds(answer[1]), answer[2] == 1)


def _seconds(ms: int) -> float | None:
    return None if ms < 0 else ms / 1000


def tend(keys: QueueKeys, lease: float, retries: int) -> Command:
    """Promote due jobs, return lost ones, unpark resumed ones."""
    return Command(
        script("tend"), keys.of(_TEND), (keys.tag, int(lease * 1000), BATCH // 2, retries)
    )


def read_tend(answer: list[Any]) -> tuple[float | None, int, list[str]]:
    """Read the answer to `tend`: seconds until something is due, promoted, ids of lost runs."""
    return _seconds(answer[0]), answer[1], [job_id.decode() for job_id in answer[3:]]


def beat(keys: QueueKeys, lease: float, runs: Sequence[tuple[str, int]]) -> Command:
    """Renew the leases of (id, fence); the answers are b"1", b"x" (cancel asked) or b"0" (lost)."""
    args: list[Any] = [keys.tag, int(lease * 1000)]
    for job_id, fence in runs:
        args += (job_id, fence)
    return Command(script("beat"), (keys.lease, keys.meta), args)


def progress(
    keys: QueueKeys, reports: Sequence[tuple[str, int, float | None, str | None]]
) -> Command:
    """Store (id, fence, percent, message) of running jobs."""
    args: list[Any] = [keys.tag]
    for job_id, fence, percent, message in reports:
        args += (job_id, fence, "" if percent is None else f"{percent:g}", message or "")
    return Command(script("progress"), (keys.lease,), args)


def append_logs(keys: QueueKeys, parts: Sequence[bytes]) -> Command:
    """Append log lines; each part is msgpack (see log.lua)."""
    return Command(
        script("log"), (keys.meta, keys.logs), (keys.tag, _LOG_LINES, _LOG_BYTES, *parts)
    )


def move(keys: QueueKeys, verb: str, actor: str, ids: Sequence[str]) -> Command:
    """Do an operator's verb to named jobs, at most `BATCH`."""
    return _move(keys, verb, actor, "", BATCH, ids, MOVES[verb][0])


def advance(keys: QueueKeys, verb: str, actor: str, operation: str, states: str = "") -> Command:
    """Do one step of a bulk operation; `states` are those its jobs were frozen in (joined by
    spaces, none: all that the verb allows).
    """
    known = MOVES[verb][0] & set(states.split()) if states else MOVES[verb][0]
    return _move(keys, verb, actor, operation, 100, (), known)


def _move(
    keys: QueueKeys,
    verb: str,
    actor: str,
    operation: str,
    most: int,
    ids: Sequence[str],
    states: AbstractSet[str],
) -> Command:
    allowed = " ".join(sorted(states))
    return Command(
        script("move"),
        keys.of(_EVERY_STATE),
        (keys.tag, verb, actor, allowed, operation, most, *ids),
    )


def read_moved(answer: list[Any]) -> list[Moved]:
    """Read the answer to `move`."""
    return [
        Moved(*(part.decode("utf-8", "replace") for part in answer[i : i + 4]))
        for i in range(0, len(answer), 4)
    ]


def read_step(answer: list[Any]) -> Step:
    """Read the answer to `advance` or `start`."""
    return Step(answer[0].decode(), *answer[1:5])


def freeze(
    keys: QueueKeys,
    source: str,
    operation: str,
    verb: str,
    actor: str,
    rank: int,
    life: int,
    ids: Sequence[str] = (),
) -> Command:
    """Add named ids, or up to `CHUNK` of a set from a rank on, to a draft that lives `life` s."""
    return Command(
        script("freeze"),
        (source, keys.ops),
        (keys.tag, operation, verb, actor, rank, CHUNK, life, *ids),
    )


def start(keys: QueueKeys, operation: str, actor: str) -> Command:
    """Start a draft."""
    return Command(script("start"), (keys.ops,), (keys.tag, operation, actor))


def pause(keys: QueueKeys, on: bool, actor: str, task: str = "") -> Command:
    """Pause or resume a queue or one task; the answer is 1 where that changed something."""
    return Command(
        script("pause"),
        (keys.ready, keys.lease, keys.meta, keys.wake),
        (keys.tag, int(on), actor, task),
    )


def limit(keys: QueueKeys, most: int | None, rate: float | None) -> Command:
    """Set how many jobs may run at once and start a second; None is no limit."""
    return Command(
        script("limit"),
        (keys.meta, keys.wake),
        ("" if most is None else most, "" if rate is None else f"{rate:g}"),
    )


def trim(keys: QueueKeys, settings: Settings) -> Command:
    """Delete finished jobs beyond their retention; the answer is [jobs, logs] deleted."""
    s = settings
    completed, dead = int(s.keep_completed * 1000), int(s.keep_dead * 1000)
    return Command(
        script("trim"),
        keys.of(_TRIM),
        (
            keys.tag,
            200,
            completed,
            s.keep_completed_max,
            completed,
            s.keep_completed_max,
            dead,
            s.keep_dead_max,
            s.log_budget,
        ),
    )


def register(keys: SharedKeys, worker: str, alive: bool, fields: Sequence[Any]) -> Command:
    """Record that a worker lives (fields in pairs), or that it has left."""
    return Command(
        script("register"), (keys.workers, keys.queues), (keys.tag, worker, int(alive), *fields)
    )
