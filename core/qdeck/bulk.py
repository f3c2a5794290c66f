"""Bulk operations over one or more queues: ids frozen on the server, started once, then advanced
in steps.

One operation has one id and a record in each queue that it touches; who asked for it holds an
opaque text that names both, so that one dialog acts on exactly what was frozen. Over several queues
each part has its share of the rate and of the stop rule, and a canary of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from qdeck import steps
from qdeck.admin import Denied, Draft, Operation
from qdeck.errors import QdeckError
from qdeck.facts import memory_full
from qdeck.keys import QueueKeys, queue_keys
from qdeck.link import SERVER_ERRORS
from qdeck.operation import Hands, carry, take_back
from qdeck.opview import FIELDS, merge
from qdeck.reader import Reader, in_words, items, text
from qdeck.steps import Pace, Undone

__all__ = [
    "abort",
    "advance",
    "check_running",
    "forget",
    "list_operations",
    "read_operation",
    "running_over",
    "start",
    "undo",
]

#: New failures that an operation may be told to stop after.
_MOST_FAILURES: Final = 1000


async def start(
    reader: Reader, draft: Draft, actor: str, pace: Pace, dry_run: bool = False
) -> Operation:
    """Start a draft in all of its queues, or in none where one of its parts has expired.

    Deleted jobs are not kept for an undo where the server's memory is full.
    """
    operation, queues = split(draft.id)
    if pace.rate is not None and not 0.001 <= pace.rate <= 1_000_000:
        raise Denied(f"rate {pace.rate} is not usable; give 0.001 to 1,000,000 jobs a second")
    if pace.stop_after is not None and not 0 < pace.stop_after <= _MOST_FAILURES:
        raise Denied(f"stop after {pace.stop_after} is not usable; give 1 to {_MOST_FAILURES:,}")
    if pace.canary and draft.verb not in ("retry", "run_now", "patch"):
        raise Denied(f"{draft.verb} runs no job, so none can be tried first; leave the canary out")
    if not queues:
        return Operation(draft.id, draft.verb, "done", 0, 0, 0, 0, actor)
    states = await _read(reader, operation, queues)
    if len(states) < len(queues):
        raise Denied("the draft has expired after 15 minutes; nothing was started; make a new one")
    if dry_run:
        if not pace.anyway:
            await _refuse_same(reader, queues, states)
        return merge(draft.id, states)
    kept = pace.keep_copy and not (draft.verb == "delete" and await _memory_full(reader))
    share = Pace(
        pace.rate / len(queues) if pace.rate else None,
        max(1, pace.stop_after // len(queues)) if pace.stop_after else None,
        pace.canary,
        kept,
        pace.resume,
        pace.anyway,
    )
    for queue in queues:
        await reader.run(steps.start(_keys(reader, queue), operation, actor, share))
    return await read_operation(reader, draft.id)


async def advance(reader: Reader, operation_id: str) -> Operation:
    """Do one bounded step in each queue where the operation still runs; wait where it has to, at
    most a second.
    """
    operation, queues = split(operation_id)
    hands = _hands(reader)
    try:
        waits = await asyncio.gather(
            *(carry(hands, _keys(reader, queue), operation) for queue in queues)
        )
    except (QdeckError, *SERVER_ERRORS) as error:
        raise in_words(reader.deck, error) from error
    due = [wait for wait in waits if wait is not None]
    if due:
        await asyncio.sleep(min(due))
    return await read_operation(reader, operation_id)


def check_running(operation: Operation) -> None:
    """Raise Denied for an operation that cannot be aborted."""
    if operation.state != "running":
        raise Denied(
            f"the operation is {operation.state}, there is nothing to abort; `qdeck ops list` "
            "tells what runs"
        )


async def abort(reader: Reader, operation_id: str, actor: str) -> Operation:
    """End an operation in each queue where it still runs."""
    operation, queues = split(operation_id)
    check_running(await read_operation(reader, operation_id))
    for queue in queues:
        await reader.run(steps.abort(_keys(reader, queue), operation, actor))
    return await read_operation(reader, operation_id)


async def undo(reader: Reader, operation_id: str, actor: str, of: str = "") -> Undone:
    """Take back what an ended operation did, in steps; who dies meanwhile leaves it to workers."""
    operation, queues = split(operation_id)
    found = [Undone("gone", 0, 0, 0)]
    for queue in queues:
        while True:
            try:
                step = await take_back(_hands(reader), _keys(reader, queue), operation, actor, of)
            except (QdeckError, *SERVER_ERRORS) as error:
                raise in_words(reader.deck, error) from error
            if step.state != "undoing":
                found.append(step)
                break
    done = [step for step in found if step.state == "undone"]
    return Undone(
        "undone" if done else found[-1].state,
        sum(step.undone for step in done),
        sum(step.left for step in done),
        0,
    )


async def forget(reader: Reader, draft_id: str, dry_run: bool = False) -> int | None:
    """Forget a draft and return how many jobs it held; None where there is none, since what was
    started stays.
    """
    operation, queues = split(draft_id)
    found = await _read(reader, operation, queues)
    commands: list[Sequence[Any]] = []
    total: int | None = None
    for queue, fields in found.items():
        if fields["state"] == b"draft":
            total = (total or 0) + int(text(fields["total"]) or 0)
            keys = _keys(reader, queue)
            commands.append(("UNLINK", keys.operation(operation), keys.operation_ids(operation)))
            commands.append(("ZREM", keys.ops, operation))
    if not dry_run:
        reader.refuse(await reader.read(commands))
    return total


async def list_operations(reader: Reader, queues: Sequence[str]) -> tuple[Operation, ...]:
    """Return the newest operations on record, at most 100 a queue; drafts are not shown."""
    found = await _listed(reader, queues)
    merged = [merge(" ".join((name, *parts)), parts) for name, parts in found.items()]
    return tuple(sorted(merged, key=lambda each: each.id, reverse=True))


async def running_over(reader: Reader, queues: Sequence[str], what: str) -> str:
    """Return who runs an operation over the same jobs, or in the same queues, in words."""
    found = await _listed(reader, queues)
    for name in sorted(found, reverse=True):
        operation = merge(name, found[name])
        if operation.state != "running":
            continue
        same = any(text(part["what"]) == what for part in found[name].values())
        jobs = "the same jobs" if same else f"jobs of {operation.queue}"
        return (
            f"{operation.started_by} runs {operation.verb.replace('_', ' ')} over {jobs} already: "
            f"{operation.done:,} of {operation.total:,}"
        )
    return ""


async def _refuse_same(
    reader: Reader, queues: Sequence[str], parts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise Denied where the same runs over the same jobs, as a start would."""
    about = {text(part["what"]) for part in parts.values()}
    for name, found in (await _listed(reader, queues)).items():
        operation = merge(name, found)
        if operation.state == "running" and about & {text(p["what"]) for p in found.values()}:
            raise Denied(
                "the operation is running already over the same jobs, started by "
                f"{operation.started_by}: {operation.done} of {operation.total}; make a new one"
            )


async def _memory_full(reader: Reader) -> bool:
    """Return whether a server has reached its `maxmemory`."""
    return any(map(memory_full, await reader.everywhere(("INFO", "memory"))))


async def read_operation(reader: Reader, name: str) -> Operation:
    """Return an operation as it is now; raises Denied where it is not on record."""
    operation, queues = split(name)
    found = await _read(reader, operation, queues)
    if not found:
        raise Denied("the operation is not on record any more; it was discarded or has expired")
    return merge(name, found)


async def _listed(reader: Reader, queues: Sequence[str]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the records of operations by id and queue, drafts left out."""
    listed = await reader.read(
        [("ZRANGE", _keys(reader, queue).ops, 0, 99, "REV") for queue in queues]
    )
    pairs = [
        (text(name), queue)
        for queue, reply in zip(queues, listed, strict=True)
        for name in items(reply)
    ]
    replies = await reader.read(
        [("HMGET", _keys(reader, queue).operation(name), *FIELDS) for name, queue in pairs]
    )
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for (name, queue), reply in zip(pairs, replies, strict=True):
        fields = dict(zip(FIELDS, items(reply), strict=False))
        if fields.get("state") not in (None, b"draft"):
            found.setdefault(name, {})[queue] = fields
    return found


async def _read(
    reader: Reader, operation: str, queues: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """Return the fields of an operation's record in each queue that has one."""
    replies = await reader.read(
        [("HMGET", _keys(reader, queue).operation(operation), *FIELDS) for queue in queues]
    )
    found: dict[str, Mapping[str, Any]] = {}
    for queue, reply in zip(queues, replies, strict=True):
        fields = dict(zip(FIELDS, items(reply), strict=False))
        if fields.get("state") is not None:
            found[queue] = fields
    return found


def _hands(reader: Reader) -> Hands:
    return Hands(reader.deck, reader.run, reader.read)


def _keys(reader: Reader, queue: str) -> QueueKeys:
    return queue_keys(reader.deck.settings.prefix, queue)


def split(name: str) -> tuple[str, list[str]]:
    """Return the id and the queues that an operation's name holds."""
    operation, *queues = name.split(" ")
    return operation, queues
