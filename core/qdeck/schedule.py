"""A schedule as the server keeps it, and which of its slots are to fire now.

Owns the layout of the stored record (see tick.lua), the job of a slot, and the rules for slots that
were missed. Pure: the time is the server's and is given; due-ness is checked again by the script.

A schedule that a worker finds more than 10 s behind was interrupted: nobody was there. Its slots
older than 1 s are then *missed*: with `skip` none of them fires, with `latest` the last of them,
with `all` each that is not older than `catch_up`, oldest first, 50 a step. Slots of a schedule that
is less behind all fire, whatever the policy, so that a short stall loses nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from qdeck.cron import Cron
from qdeck.job import id_at
from qdeck.keys import QueueKeys
from qdeck.plan import Plan
from qdeck.producer import entry_by_name, entry_of
from qdeck.record import encode_body, to_ms
from qdeck.scripts import Command, script
from qdeck.settings import Settings
from qdeck.task import Call, TaskSpec

__all__ = [
    "STEP",
    "Note",
    "Past",
    "Step",
    "Stored",
    "Ticked",
    "at",
    "decide",
    "decode_stored",
    "job_of_slot",
    "next_after",
    "read_tick",
    "rfc3339",
    "slots_between",
    "store",
    "tick",
]

#: Slots that one step fires at most.
STEP: Final = 50
#: A schedule this far behind (ms) was interrupted; slots older than `_PROMPT` were then missed.
_INTERRUPTED: Final = 10_000
_PROMPT: Final = 1_000
#: Missed slots are counted up to so many.
_COUNTED: Final = 1000

_TICK: Final = (
    "ready scheduled retrying lease completed cancelled dead meta totals tasks wake cron cron:due "
    "audit"
)
_STORE: Final = "meta wake cron cron:due audit"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Past(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot that was handled: its job ("": none), how late in ms, and why there is no job.

    `word` is empty while the job must be asked; `count` is how many slots were missed.
    """

    slot: int
    id: str
    late: int
    word: str
    count: int


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """The record of a schedule; times in ms, 0 where there is none. `next` is when it is due: its
    next slot, or while it is disabled when it wakes.
    """

    revision: int
    enabled: int
    until: int
    next: int
    last: int
    last_job: str
    spec: str
    declared: str
    edited: int
    editor: str
    history: list[Past]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with a due schedule: slots to fire, the slot after them, and how many were missed
    (up to 1,000 are counted) with the last of them. Times in ms; `next` 0: it never fires again.
    """

    slots: tuple[int, ...]
    next: int
    missed: int = 0
    missed_last: int = 0


@dataclass(frozen=True, slots=True)
class Ticked:
    """What a tick did: `word` is "fired", "moved", "early" or "unreadable"; `slots` has a letter a
    slot (see tick.lua).
    """

    now: int
    word: str
    slots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Who changes a schedule, by which verb, and what came of it, for the record; `of` is the id of
    the act that this takes back.
    """

    actor: str
    verb: str
    outcome: str
    of: str = ""


def decode_stored(raw: bytes | None) -> Stored | None:
    """Return a stored schedule; None where there is none or the scripts cannot read it either.

    What they pass on unread may be broken: a spec is then empty, an entry of the history left out.
    """
    try:
        row = msgspec.msgpack.decode(raw or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    numbers = row[:5] if isinstance(row, list) and len(row) == 11 else ()
    if len(numbers) < 5 or not all(_whole(number) for number in numbers):
        return None
    if not isinstance(row[5], str) or not isinstance(row[10], list):
        return None
    spec, declared, editor = (each if isinstance(each, str) else "" for each in (*row[6:8], row[9]))
    edited = int(row[8]) if _whole(row[8]) else 0
    history = [
        Past(int(entry[0]), entry[1], int(entry[2]), entry[3], int(entry[4]))
        for entry in row[10]
        if isinstance(entry, list)
        and len(entry) == 5
        and all(_whole(entry[place]) for place in (0, 2, 4))
        and all(isinstance(entry[place], str) for place in (1, 3))
    ]
    revision, enabled, until, due, last = (int(number) for number in numbers)
    return Stored(
        revision, enabled, until, due, last, row[5], spec, declared, edited, editor, history
    )


def _whole(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def at(ms: int) -> datetime:
    """Return milliseconds since the epoch as an aware UTC time, exactly."""
    return _EPOCH + timedelta(milliseconds=ms)


def rfc3339(ms: int) -> str:
    """Return a slot as it stands in a job's metadata: `2026-11-22T09:00:00Z`."""
    return at(ms).isoformat().replace("+00:00", "Z")


def next_after(plan: Plan, ms: int) -> int:
    """Return the first slot later than a time, in ms; 0 when none comes."""
    return _after(plan.cron, plan.zone, ms)


def _after(cron: Cron, zone: str, ms: int) -> int:
    slot = cron.after(at(ms), zone)
    return 0 if slot is None else to_ms(slot)


def slots_between(plan: Plan, start: int, end: int, limit: int) -> list[int]:
    """Return the slots from `start` up to but not `end`, at most so many."""
    return [to_ms(slot) for slot in plan.cron.slots(at(start), at(end), plan.zone, limit)]


def decide(plan: Plan, due: int, now: int) -> Step:
    """Return what to do with a schedule that is due, by the rules at the top."""
    cron, zone = plan.cron, plan.zone
    if now - due <= _INTERRUPTED:
        return _fire(plan, due, now, Step((), 0))
    last = _last_until(cron, zone, due, now - _PROMPT)
    after = _after(cron, zone, last)
    if plan.misfire == "all":
        oldest = now - int(plan.catch_up * 1000)
        if due >= oldest:
            return _fire(plan, due, now, Step((), 0))
        first = _after(cron, zone, oldest - 1)
        given_up = last if not first or first > last else _last_until(cron, zone, due, first - 1)
        count = len(slots_between(plan, due, given_up + 1, _COUNTED))
        return _fire(plan, first, now, Step((), 0, count, given_up))
    count = len(slots_between(plan, due, last + 1, _COUNTED))
    if plan.misfire == "skip":
        return _fire(plan, after, now, Step((), 0, count, last))
    if last == due:
        return _fire(plan, due, now, Step((), 0))
    given_up = _last_until(cron, zone, due, last - 1)
    return _fire(plan, last, now, Step((), 0, max(count - 1, 1), given_up))


def _fire(plan: Plan, first: int, now: int, step: Step) -> Step:
    """Return a step that fires the slots from `first` to now."""
    slots: list[int] = []
    slot = first
    while 0 < slot <= now and len(slots) < STEP:
        slots.append(slot)
        slot = next_after(plan, slot)
    return Step(tuple(slots), slot, step.missed, step.missed_last)


def _last_until(cron: Cron, zone: str, slot: int, end: int) -> int:
    """Return the last slot that is not after `end`, given one that is not; by bisection."""
    found, high = slot, end
    while found < high:
        later = _after(cron, zone, found)
        if not later or later > high:
            return found
        found = later
        middle = (found + high) // 2
        beyond = _after(cron, zone, middle)
        if beyond and beyond <= high:
            found = beyond
        else:
            high = middle
    return found


def job_of_slot(
    name: str,
    plan: Plan,
    slot: int,
    settings: Settings,
    known: TaskSpec | Mapping[str, Any],
    **metadata: Any,
) -> tuple[str, bytes]:
    """Return id and body of the job of a slot: for one slot always the same id.

    `known` is the task, or what workers published about it.
    """
    digest = hashlib.blake2b(f"{name}\n{slot}".encode(), digest_size=16).digest()
    said = {**plan.options.get("metadata", {}), "schedule": name, "slot": rfc3339(slot), **metadata}
    if not slot:
        del said["slot"]
    terms, payload = plan.terms(metadata=said), msgspec.json.encode(plan.payload)
    if isinstance(known, TaskSpec):
        body = entry_of(Call(known, payload, terms), settings).body
    else:
        body = entry_by_name(plan.task, payload, terms, settings, known).body
    if slot and plan.jitter:
        late = int.from_bytes(digest[10:]) % (int(plan.jitter * 1000) + 1)
        body = msgspec.structs.replace(body, at=slot + late)
    return id_at(slot, digest[:10]), encode_body(body)


def tick(
    keys: QueueKeys,
    name: str,
    revision: int,
    due: int | None,
    step: Step,
    jobs: Sequence[tuple[int, str, bytes]],
    *,
    max_size: int = 0,
    alone: bool = False,
    wait: int = 0,
    note: Note | None = None,
    made: str = "",
) -> Command:
    """Fire slots of a schedule, whose jobs are (slot, id, body).

    `due` None: besides its plan, which stays. `alone` drops slots while the last job is unfinished.
    With `wait` nothing fires now, and workers look again after so many ms. Under the name `made`
    the ids of new jobs are kept for an undo.
    """
    args: list[Any] = [
        *(keys.tag, name, revision, "" if due is None else due, step.next, max_size),
        *(step.missed, step.missed_last, int(alone), wait),
        *((note.actor, note.verb) if note else ("", "")),
        made,
    ]
    for job in jobs:
        args += job
    return Command(script("tick"), keys.of(_TICK), args)


def read_tick(answer: list[Any]) -> Ticked:
    """Read the answer to `tick`."""
    return Ticked(answer[0], answer[1].decode(), tuple(word.decode() for word in answer[2:]))


def store(
    keys: QueueKeys,
    name: str,
    revision: int | None,
    spec: str,
    *,
    declared: str = "",
    enabled: bool = True,
    until: int = 0,
    next_slot: int | None = 0,
    past: tuple[int, Sequence[Past]] | None = None,
    count: bool = True,
    note: Note | None = None,
) -> Command:
    """Add (`revision` None), change or remove (`spec` empty) a schedule; `next_slot` None keeps it.

    `past` is the last slot and the history of a new one that stood elsewhere.

    The answer is its revision, 0 where it was removed, -1 where another revision stands, -2 where
    the next slot was handled meanwhile.
    """
    seen = "" if revision is None else revision
    due = "" if next_slot is None else next_slot
    said = (note.actor, note.verb, note.outcome, note.of) if note else ("", "", "", "")
    return Command(
        script("schedule"),
        keys.of(_STORE),
        (
            *(keys.tag, name, seen, int(count), spec, declared, int(enabled), until, due),
            *(b"" if past is None else msgspec.msgpack.encode(past), *said),
        ),
    )
