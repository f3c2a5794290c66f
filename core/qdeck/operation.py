"""Bulk operations as workers see them: what is running is carried on, one bounded step at a time.

Who started an operation may be long gone; any worker of its queue, and any console that watches,
carries it on. How fast is decided on the server, so that many of them are no faster than one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from qdeck import queue as verbs
from qdeck import steps
from qdeck.connection import repeat
from qdeck.errors import InvalidPayload, QdeckError
from qdeck.job import MOVES
from qdeck.keys import QueueKeys
from qdeck.ledger import Act
from qdeck.link import PATIENCE, SERVER_ERRORS
from qdeck.patching import Edit, decode_changes, fit, patched
from qdeck.record import decode_map, read_record
from qdeck.removal import send
from qdeck.scripts import Command
from qdeck.task import unique_digest

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["Hands", "advance_all", "carry", "carry_on", "new_record", "take_back"]

Run = Callable[[Command], Awaitable[Any]]
Read = Callable[[list[tuple[Any, ...]]], Awaitable[list[Any]]]

_log = logging.getLogger("qdeck.worker")
#: Finished operations of a queue that stay listed.
_KEPT: Final = 100
_PAGE: Final = 100
#: Seconds between looks at a queue where no operation runs.
_IDLE: Final = 15.0
_FIELDS: Final = (
    "state", "verb", "actor", "states", "starter", "changes", "resume", "canary", "task", "ender",
    "arg",
)  # fmt: skip
#: Steps in a row that others took, from which on hands look less often, and how often then (s).
_MISSES: Final = 3
_STANDBY: Final = 0.1
_pack: Final = msgspec.msgpack.Encoder().encode


class Hands:
    """How a step reaches the server: `run` sends a script, `read` plain commands together."""

    __slots__ = ("deck", "misses", "read", "run")

    def __init__(
        self, deck: Deck, run: Run, read: Read, misses: dict[str, int] | None = None
    ) -> None:
        """Take both ways, the deck whose server it is, and how often in a row other hands were
        there first, by operation.
        """
        self.deck, self.run, self.read = deck, run, read
        self.misses = {} if misses is None else misses


async def advance_all(deck: Deck, queue: str, misses: dict[str, int] | None = None) -> float | None:
    """Do one step of each operation that runs in a queue; the seconds until the next is due, None
    where none runs.

    One call where none is on record, two where none runs. Raises QdeckError when the server is
    away.
    """
    keys, due, seen, at = deck.keys(queue), None, 0, 0
    hands = Hands(deck, deck.execute, lambda commands: _read(deck, commands), misses)
    while True:
        (names,) = await hands.read([("ZRANGE", keys.ops, at, at + _PAGE - 1, "REV")])
        if isinstance(names, BaseException) or not names:
            return due
        states = await hands.read(
            [("HGET", keys.operation(raw.decode()), "state") for raw in names]
        )
        gone = []
        for raw, state in zip(names, states, strict=True):
            if state in (b"running", b"undoing"):
                wait = await carry(hands, keys, raw.decode())
                if wait is not None:
                    due = wait if due is None else min(due, wait)
            elif state != b"draft" and not isinstance(state, BaseException):
                seen += 1
                if not state or seen > _KEPT:
                    gone.append(raw)
        if gone:
            await hands.read([("ZREM", keys.ops, *gone)])
        if len(names) < _PAGE:
            return due
        at += _PAGE - len(gone)


async def carry_on(deck: Deck, queues: Sequence[str]) -> None:
    """Carry on the operations of some queues until cancelled; errors are logged and end nothing."""
    due, misses = dict.fromkeys(queues, 0.0), dict[str, int]()
    clock = asyncio.get_running_loop().time
    while True:
        queue = min(due, key=due.__getitem__)
        await asyncio.sleep(max(0.0, due[queue] - clock()))
        try:
            wait = await advance_all(deck, queue, misses)
        except QdeckError as error:
            _log.warning("bulk operations of queue %s: %s", queue, error)
            wait = None
        idle = _IDLE * random.uniform(0.8, 1.2)
        due[queue] = clock() + (idle if wait is None else wait)


async def carry(hands: Hands, keys: QueueKeys, operation: str) -> float | None:
    """Do one step of an operation; the seconds until the next, None once it has ended."""
    (found,) = await hands.read([("HMGET", keys.operation(operation), *_FIELDS)])
    if isinstance(found, BaseException):
        return None
    fields = {
        name: "" if raw is None else raw.decode("utf-8", "replace")
        for name, raw in zip(_FIELDS, found, strict=True)
    }
    if fields["state"] == "undoing":
        undone = await take_back(hands, keys, operation, fields["ender"])
        return 0.01 if undone.state == "undoing" else None
    if fields["state"] != "running" or fields["verb"] not in MOVES:
        return None
    if fields["resume"] and fields["canary"] == "ok" and fields["task"]:
        await _resume(hands, keys, operation, fields)
    step = steps.read_step(await hands.run(steps.pace(keys, operation)))
    if step.state != "running":
        hands.misses.pop(operation, None)
        return None
    if not step.granted:
        # One pair of hands is enough: the others look whether it still is there.
        missed = hands.misses[operation] = hands.misses.get(operation, 0) + 1
        return step.wait_s + (random.uniform(0.5, 1.5) * _STANDBY if missed > _MISSES else 0.0)
    hands.misses.pop(operation, None)
    if fields["verb"] == "move_queue":
        return await _send(hands, keys, operation, fields, step)
    changes = decode_changes(fields["changes"])
    patches: list[str | bytes] = []
    if changes:
        patches = await _patches(hands, keys, operation, changes, step.granted)
    command = steps.advance(
        keys,
        fields["verb"],
        fields["starter"] or fields["actor"],
        operation,
        fields["states"],
        patches,
    )
    done = steps.read_step(await hands.run(command))
    return step.wait_s if done.state == "running" else None


async def _send(
    hands: Hands, keys: QueueKeys, operation: str, fields: Mapping[str, str], step: steps.Step
) -> float | None:
    """Do one step of a move to another queue."""
    (found,) = await hands.read([("ZRANGE", keys.operation_ids(operation), 0, step.granted - 1)])
    ids = [raw.decode() for raw in found or ()] if isinstance(found, list) else []
    act = Act(fields["starter"] or fields["actor"])
    gone = await send(hands.deck, keys, fields["arg"], ids, act, operation)
    return step.wait_s if gone.state == "running" else None


async def take_back(
    hands: Hands, keys: QueueKeys, operation: str, actor: str, of: str = ""
) -> steps.Undone:
    """Do one step of an undo; jobs that went to another queue are fetched from there first."""
    key, copy = keys.operation(operation), keys.operation_copy(operation)
    ids: list[str] = []
    (found,) = await hands.read([("HMGET", key, "verb", "state", "arg")])
    verb, state, queue = ((raw or b"").decode("utf-8", "replace") for raw in found)
    if verb == "move_queue" and state in ("done", "stopped", "aborted", "undoing"):
        cursor: Any = 0
        while not ids:
            (answer,) = await hands.read([("HSCAN", copy, cursor, "COUNT", steps.STEP)])
            cursor, flat = answer
            ids = [raw.decode() for raw in flat[::2]][: steps.STEP]
            if int(cursor) == 0:
                break
        act = Act(actor, f"jobs that came from queue {keys.queue}")
        await send(hands.deck, hands.deck.keys(queue), keys.queue, ids, act)
    return steps.read_undone(await hands.run(steps.undo(keys, operation, actor, of, ids)))


async def _resume(hands: Hands, keys: QueueKeys, operation: str, fields: Mapping[str, str]) -> None:
    """Take the pause of a task back, since its first job completed."""
    task = fields["task"]
    target = f"{task} in {keys.queue}"
    await hands.run(verbs.pause(keys, False, fields["starter"], task, target))
    await hands.read([("HDEL", keys.operation(operation), "resume")])


async def _patches(
    hands: Hands, keys: QueueKeys, operation: str, changes: Sequence[Edit], most: int
) -> list[str | bytes]:
    """Return id, SHA-1 and new record in turn, for the next jobs of an operation."""
    (ids,) = await hands.read([("ZRANGE", keys.operation_ids(operation), 0, most - 1)])
    if isinstance(ids, BaseException) or not ids:
        return []
    raws = await hands.read([("GET", keys.job(raw.decode())) for raw in ids])
    records = [read_record(raw) if isinstance(raw, bytes) else None for raw in raws]
    tasks = sorted({record.body.task for record in records if record is not None})
    told = await hands.read([("HGET", hands.deck.shared.tasks, task) for task in tasks])
    published = {
        task: decode_map(raw) if isinstance(raw, bytes) else {}
        for task, raw in zip(tasks, told, strict=True)
    }
    found: list[str | bytes] = []
    for job_id, raw in zip(ids, raws, strict=True):
        made, digest = b"!", ""
        if isinstance(raw, bytes):
            digest = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
            with contextlib.suppress(InvalidPayload):
                made = new_record(raw, changes, published)
        found += (job_id.decode(), digest, made)
    return found


def new_record(
    raw: bytes, changes: Sequence[Edit], published: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """Return a record with a changed payload, empty where the changes change nothing.

    `published` is what workers say of tasks. Raises InvalidPayload where a change cannot be made,
    or the task refuses what comes of it.
    """
    record = read_record(raw)
    if record is None:
        raise InvalidPayload("the record is not readable")
    body = record.body
    payload = patched(body.payload, changes)
    if payload == body.payload:
        return b""
    fit(body.task, payload, published.get(body.task, {}))
    unique = body.unique
    if unique and unique == unique_digest(body.task, True, body.payload.encode()):
        # A key that was made of the arguments follows them.
        unique = unique_digest(body.task, True, payload.encode()) or unique
    new = msgspec.structs.replace(body, payload=payload, unique=unique)
    return _pack(msgspec.structs.replace(record, body=new))


async def _read(deck: Deck, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Return the replies to commands of one round trip, errors of single ones as values."""
    connector = deck.connector
    await connector.ensure()
    try:
        return await repeat(lambda: connector.lane().call_many(commands), limit=PATIENCE)
    except SERVER_ERRORS as error:
        raise connector.translate(error) from error
