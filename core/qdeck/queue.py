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
from qdeck.record import Settle, encode_settles, is_flat
from qdeck.scripts import Command, script
from qdeck.settings import Settings

__all__ = ["BATCH", "CHUNK", "PARKED", "Claimed", "Moved", "Turn"]

#: Jobs that one script call handles at most.
CHUNK: Final = 500
#: Jobs that one turn settles and claims, or one verb of an operator moves, at most: each costs the
#: server several commands.
BATCH: Final = 100
#: Jobs of paused tasks that one call holds at most: each costs little.
PARKED: Final = 500
_LOG_LINES: Final = 2000
_LOG_BYTES: Final = 1024 * 1024

# What the larger scripts take as KEYS, in the order of their headers.
_ENQUEUE: Final = "ready scheduled retrying lease meta tasks wake audit"
_TEND: Final = (
    "ready scheduled retrying lease cancelled dead errors meta totals tasks wake logs audit"
)
_EVERY_STATE: Final = (
    "ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs"
)
_WORK: Final = f"{_EVERY_STATE} outbox"
_DELIVER: Final = "ready scheduled lease meta tasks wake"
_RECLAIM: Final = "ready lease meta wake"
_TRIM: Final = "completed cancelled dead errors meta tasks logs"


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A job that this worker now runs: `attempt` counts from 1 within this round of runs."""

    id: str
    fence: int
    attempt: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer to settling and claiming. `next_s` is None when nothing is due later; `crowded`
    says that jobs wait for a place of their key (see `park`).
    """

    settled: list[str]
    claimed: list[Claimed]
    next_s: float | None
    again: bool
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """What an operator's verb did to one job; `state` is where it was ("" if unknown)."""

    id: str
    state: str
    outcome: str
    owner: str


def enqueue(
    keys: QueueKeys, max_size: int, entries: Sequence[str | bytes], actor: str | None = None
) -> Command:
    """Create jobs; `entries` are id and body in turn, at most `CHUNK` jobs. An actor goes on
    record; an empty one is that of jobs that come from another queue.
    """
    by = () if actor is None else (actor,)
    return Command(script("enqueue"), keys.of(_ENQUEUE), (keys.tag, max_size, *entries, *by))


def work(
    keys: QueueKeys, worker: str, counter: int, want: int, lease: float, settles: list[Settle]
) -> Command:
    """Settle runs and claim up to `want` jobs with a lease of so many seconds.

    Puts `settles` in the order in which they are answered: what is plain comes last, by task.
    """
    settles.sort(key=_order)
    told = ("1",) if any(s.then for s in settles) else ()
    return Command(
        script("work"),
        keys.of(_WORK),
        (keys.tag, worker, counter, want, int(lease * 1000), *encode_settles(settles), *told),
    )


def _order(settle: Settle) -> str:
    return settle.task if is_flat(settle) else ""


def read_turn(answer: list[Any]) -> Turn:
    """Read the answer to `work`; its settles are told in the order that it put them in."""
    settled_until = 5 + answer[3]
    claimed = [
        Claimed(answer[i].decode(), answer[i + 1], answer[i + 2], answer[i + 3])
        for i in range(settled_until, len(answer), 4)
    ]
    settled = [word.decode() for word in answer[5:settled_until]]
    plain, *strange = answer[4]
    settled += ["completed"] * plain
    for place, word in zip(strange[::2], strange[1::2], strict=True):
        settled[answer[3] + place - 1] = word.decode()
    return Turn(settled, claimed, _seconds(answer[1]), answer[2] > 0, answer[2] == 2)


def _seconds(ms: int) -> float | None:
    return None if ms < 0 else ms / 1000


def tend(keys: QueueKeys, lease: float, retries: int) -> Command:
    """Promote due jobs, return lost ones, unpark resumed ones."""
    return _tend(keys, lease, retries, ())


def recover(
    keys: QueueKeys, lease: float, retries: int, actor: str, whose: str, ids: Sequence[str]
) -> Command:
    """Tend, and return of the named jobs (at most 100) those whose lease has ended, at once."""
    return _tend(keys, lease, retries, (actor, whose, *ids))


def _tend(keys: QueueKeys, lease: float, retries: int, named: Sequence[str]) -> Command:
    args = (keys.tag, int(lease * 1000), BATCH, retries, *named)
    return Command(script("tend"), keys.of(_TEND), args)


def read_tend(answer: list[Any]) -> tuple[float | None, int, list[str]]:
    """Read the answer to `tend`: seconds until something is due, promoted, ids of lost runs."""
    return _seconds(answer[0]), answer[1], [job_id.decode() for job_id in answer[3:]]


def deliver(keys: QueueKeys, pairs: Sequence[tuple[str, str]]) -> Command:
    """Note for jobs that wait (id, name of one that has completed), at most `BATCH`."""
    args = [part for pair in pairs for part in pair]
    return Command(script("deliver"), keys.of(_DELIVER), (keys.tag, *args))


def park(keys: QueueKeys) -> Command:
    """Hold those of the first `PARKED` pending jobs that a paused task keeps from running, or of
    the first `BATCH` that a full key does.
    """
    return Command(script("park"), keys.of(_RECLAIM), (keys.tag, PARKED, BATCH))


def reclaim(keys: QueueKeys, limit_keys: Sequence[str], task: str = "") -> Command:
    """Take jobs out of hold for which their key has room, of at most 100 keys; the answer is how
    many keys left the list of `task`, how many jobs came out, and how many keys are done.
    """
    return Command(script("reclaim"), keys.of(_RECLAIM), (keys.tag, task, *limit_keys))


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
        script("log"),
        (keys.meta, keys.logs, keys.lease),
        (keys.tag, _LOG_LINES, _LOG_BYTES, *parts),
    )


def move(
    keys: QueueKeys,
    verb: str,
    actor: str,
    ids: Sequence[str],
    states: AbstractSet[str] | None = None,
    operation: str = "",
) -> Command:
    """Do an operator's verb to named jobs, at most `BATCH`, that are in a state which it allows, or
    in one of `states`; under the name of an operation a copy is kept for an undo.
    """
    allowed = " ".join(sorted(states or MOVES[verb][0]))
    return Command(
        script("move"),
        keys.of(f"{_EVERY_STATE} audit"),
        (keys.tag, verb, actor, allowed, operation, BATCH, *ids),
    )


def read_moved(answer: list[Any]) -> list[Moved]:
    """Read the answer to `move`."""
    return [
        Moved(*(part.decode("utf-8", "replace") for part in answer[i : i + 4]))
        for i in range(0, len(answer), 4)
    ]


def pause(
    keys: QueueKeys,
    on: bool,
    actor: str,
    task: str = "",
    target: str = "",
    of: str = "",
    mark: str = "",
) -> Command:
    """Pause or resume a queue or one task; the answer is 1 where that changed something (0: it
    stood so, -1: `mark` does not stand any more), and the id of the audit entry.
    """
    return Command(
        script("pause"),
        (keys.ready, keys.lease, keys.meta, keys.wake, keys.audit, keys.tasks),
        (keys.tag, int(on), actor, task, target, of, mark),
    )


def limit(
    keys: QueueKeys,
    most: int | None,
    rate: float | None,
    actor: str = "",
    target: str = "",
    of: str = "",
    mark: str = "",
) -> Command:
    """Set how many jobs may run at once and start a second, None is no limit; without an actor
    what a worker's settings say. The answer is as that of `pause`.
    """
    return Command(
        script("limit"),
        (keys.meta, keys.wake, keys.audit),
        (
            "" if most is None else most,
            "" if rate is None else f"{rate:g}",
            actor,
            target,
            of,
            mark,
        ),
    )


def fold(keys: QueueKeys) -> Command:
    """Add an hour that is over to the counters of all time; the answer is 1 to call again."""
    return Command(script("fold"), (keys.life,), (keys.tag, 2 * CHUNK))


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
