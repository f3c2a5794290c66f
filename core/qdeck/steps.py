"""The verbs of bulk operations as commands, and what their answers mean.

Every function here is pure: it makes a `Command` or reads an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdeck.job import MOVES
from qdeck.keys import QueueKeys
from qdeck.queue import CHUNK
from qdeck.scripts import Command, script

__all__ = ["STEP", "Asked", "Pace", "Step", "Undone"]

#: Jobs that one step of an operation handles at most: a script of half a millisecond, so that
#: those who claim meanwhile hardly notice.
STEP: Final = 25
_EVERY_STATE: Final = (
    "ready scheduled retrying lease completed cancelled dead errors meta totals tasks wake logs"
    " audit"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a draft is about: a digest of the jobs meant, the verb's argument, changes (JSON), and
    the states that its jobs are in (none: all that the verb allows).
    """

    what: str = ""
    argument: str = ""
    changes: str = ""
    states: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pace:
    """How a draft is started; see `BulkDoor.start`."""

    rate: float | None = None
    stop_after: int | None = None
    canary: bool = False
    keep_copy: bool = True
    resume: bool = False
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """How far a bulk operation is; how many jobs it may handle now, and seconds until more."""

    state: str
    total: int
    done: int
    ok: int
    skipped: int
    granted: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Undone:
    """How far an undo is: jobs taken back, left alone, and still to look at."""

    state: str
    undone: int
    left: int
    ahead: int


def freeze(
    keys: QueueKeys,
    source: str,
    operation: str,
    verb: str,
    actor: str,
    rank: int,
    life: int,
    ids: Sequence[str] = (),
    asked: Asked | None = None,
) -> Command:
    """Add named ids, or up to `CHUNK` of a set from a rank on, to a draft that lives `life` s."""
    of = asked or Asked()
    words = (of.what, of.argument, of.changes, " ".join(sorted(of.states)))
    return Command(
        script("freeze"),
        (source, keys.ops),
        (keys.tag, operation, verb, actor, rank, CHUNK, life, *words, *ids),
    )


def start(keys: QueueKeys, operation: str, actor: str, pace: Pace | None = None) -> Command:
    """Start a draft."""
    of = pace or Pace()
    return Command(
        script("start"),
        (keys.ops, keys.audit),
        (
            keys.tag,
            operation,
            actor,
            "" if of.rate is None else f"{of.rate:g}",
            "" if of.stop_after is None else of.stop_after,
            int(of.canary),
            int(of.keep_copy),
            int(of.resume),
            int(of.anyway),
        ),
    )


def pace(keys: QueueKeys, operation: str) -> Command:
    """Ask how many jobs a running operation may handle now."""
    return Command(script("pace"), (keys.audit,), (keys.tag, operation, STEP))


def advance(
    keys: QueueKeys,
    verb: str,
    actor: str,
    operation: str,
    states: str = "",
    patches: Sequence[str | bytes] = (),
) -> Command:
    """Do one step of a bulk operation; `states` are those its jobs were frozen in (joined by
    spaces, none: all that the verb allows), `patches` are id, SHA-1 and new record in turn.
    """
    known = MOVES[verb][0] & set(states.split()) if states else MOVES[verb][0]
    allowed = " ".join(sorted(known))
    return Command(
        script("move"),
        keys.of(_EVERY_STATE),
        (keys.tag, verb, actor, allowed, operation, STEP, *patches),
    )


def abort(keys: QueueKeys, operation: str, actor: str) -> Command:
    """End a running operation."""
    return Command(script("abort"), (keys.audit,), (keys.tag, operation, actor))


def undo(
    keys: QueueKeys, operation: str, actor: str, of: str = "", ids: Sequence[str] = ()
) -> Command:
    """Take back one step of what an ended operation did; `of` is the audit entry of that, `ids` are
    jobs that were fetched back from another queue for it.
    """
    return Command(
        script("undo"), keys.of(_EVERY_STATE), (keys.tag, operation, actor, STEP, of, *ids)
    )


def read_step(answer: list[Any]) -> Step:
    """Read the answer to `start`, `pace`, `advance` or `abort`."""
    wait = answer[6] / 1000 if len(answer) > 6 else 0.0
    return Step(answer[0].decode(), *answer[1:6], *([wait] if len(answer) > 6 else []))


def read_undone(answer: list[Any]) -> Undone:
    """Read the answer to `undo`."""
    return Undone(answer[0].decode(), *answer[1:4])
