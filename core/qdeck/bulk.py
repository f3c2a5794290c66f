"""Bulk operations over one or more queues: ids frozen on the server, started once, then advanced
in steps.

One operation has one id and a record in each queue that it touches; who asked for it holds an
opaque text that names both, so that one dialog acts on exactly what was frozen.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, cast

from qdeck import queue as verbs
from qdeck.admin import ACTIONS, STATES, Action, Denied, Draft, JobRef, JobRow, Operation
from qdeck.glimpse import Hit
from qdeck.job import MOVES, State, new_id
from qdeck.keys import QueueKeys, queue_keys
from qdeck.listing import SETS, Source
from qdeck.queue import CHUNK
from qdeck.reader import Reader, at_ms, count, items, number, text

__all__ = [
    "LIFE",
    "Frozen",
    "advance",
    "forget",
    "freeze_hits",
    "freeze_refs",
    "freeze_sources",
    "list_operations",
    "read_operation",
    "start",
]

#: Seconds that a draft waits for its start.
LIFE: Final = 900
#: Scripts of one freeze in flight at a time.
_WIDTH: Final = 4
SAMPLES: Final = 5
_FIELDS: Final = ("state", "verb", "total", "done", "ok", "skipped", "actor", "created", "states")


class Frozen:
    """A draft in the making: collects what the steps of freezing answer."""

    def __init__(self, reader: Reader, verb: Action, actor: str) -> None:
        self.reader, self.verb, self.actor = reader, verb, actor
        self.operation = new_id()
        self.totals: dict[str, int] = {}
        self.states: set[str] = set()
        self.expires: float = 0.0
        self.samples: list[Hit] = []

    async def add(self, queue: str, source: str, rank: int, ids: Sequence[str] = ()) -> None:
        """Freeze up to `CHUNK` jobs of a set from a rank on, or those named."""
        keys = queue_keys(self.reader.deck.settings.prefix, queue)
        answer = await self.reader.run(
            verbs.freeze(keys, source, self.operation, self.verb, self.actor, rank, LIFE, ids)
        )
        self.totals[queue] = max(answer[0], self.totals.get(queue, 0))
        self.expires = answer[2]

    def show(self, hits: Sequence[Hit]) -> None:
        """Keep the first jobs as samples."""
        self.samples += hits[: SAMPLES - len(self.samples)]

    @property
    def total(self) -> int:
        """How many jobs are frozen over all queues."""
        return sum(self.totals.values())

    async def draft(self, samples: tuple[JobRow, ...]) -> Draft:
        """Note the states that the jobs were frozen in, and return the draft as its caller sees
        it.

        A job that is in another state by then is skipped.
        """
        prefix, states = self.reader.deck.settings.prefix, " ".join(sorted(self.states))
        self.reader.refuse(
            await self.reader.read(
                [
                    ("HSET", queue_keys(prefix, each).operation(self.operation), "states", states)
                    for each in self.totals
                ]
            )
        )
        name = " ".join((self.operation, *sorted(self.totals)))
        return Draft(name, self.verb, self.total, samples, at_ms(self.expires))


async def freeze_refs(frozen: Frozen, refs: Iterable[JobRef]) -> None:
    """Freeze those of the named jobs whose state allows the verb now, `CHUNK` a step."""
    queues: dict[str, list[str]] = defaultdict(list)
    for ref in dict.fromkeys(refs):
        queues[ref.queue].append(ref.id)
    for queue, ids in queues.items():
        keys = queue_keys(frozen.reader.deck.settings.prefix, queue)
        for i in range(0, len(ids), CHUNK):
            await freeze_hits(frozen, await _allowed(frozen, keys, ids[i : i + CHUNK]))


async def freeze_hits(frozen: Frozen, hits: Sequence[Hit]) -> None:
    """Freeze jobs found in a set, at most `CHUNK`."""
    frozen.show(hits)
    frozen.states |= {hit.state for hit in hits}
    queues: dict[str, list[str]] = defaultdict(list)
    for hit in hits:
        queues[hit.queue].append(hit.id)
    for queue, ids in queues.items():
        keys = queue_keys(frozen.reader.deck.settings.prefix, queue)
        await frozen.add(queue, keys.ready, 0, ids)


async def _allowed(frozen: Frozen, keys: QueueKeys, ids: Sequence[str]) -> list[Hit]:
    """Return the jobs whose state allows the verb; a held job is in no set but has a record."""
    states = [state for state in STATES if State(state) in MOVES[frozen.verb][0]]
    replies = await frozen.reader.read(
        [("ZMSCORE", getattr(keys, SETS[state]), *ids) for state in (*states, "running")]
        + [("EXISTS", keys.job(job_id)) for job_id in ids]
    )
    scores = [items(reply) or [None] * len(ids) for reply in replies[: len(states) + 1]]
    found = []
    for i, job_id in enumerate(ids):
        place = next((s for s, reply in zip(states, scores, strict=False) if reply[i]), None)
        if place is not None:
            score = number(scores[states.index(place)][i]) or 0.0
            found.append(Hit(keys.queue, job_id, score, place))
        elif "pending" in states and not scores[-1][i] and count(replies[len(states) + 1 + i]):
            found.append(Hit(keys.queue, job_id, 0.0, "pending", True))
    return found


async def freeze_sources(frozen: Frozen, sources: Sequence[Source]) -> None:
    """Freeze whole sets, `CHUNK` a step; empty ones leave nothing behind."""
    first = ("0", str(SAMPLES - 1), "WITHSCORES")
    replies = await frozen.reader.read(
        [("ZCARD", source.key) for source in sources]
        + [("ZRANGE", source.key, *first) for source in sources]
    )
    for i, source in enumerate(sources):
        frozen.show(source.hits(replies[len(sources) + i]))
        frozen.states.add(source.state)
        ranks = range(0, count(replies[i]) or 0, CHUNK)
        for at in range(0, len(ranks), _WIDTH):
            await asyncio.gather(
                *(frozen.add(source.queue, source.key, rank) for rank in ranks[at : at + _WIDTH])
            )


async def start(reader: Reader, draft: Draft, actor: str) -> Operation:
    """Start a draft in all of its queues, or in none where one of its parts has expired."""
    operation, queues = _split(draft.id)
    if not queues:
        return Operation(draft.id, draft.verb, "done", 0, 0, 0, 0, actor)
    states = await _read(reader, operation, queues)
    if len(states) < len(queues):
        raise Denied("the draft has expired after 15 minutes; nothing was started; make a new one")
    for queue in queues:
        keys = queue_keys(reader.deck.settings.prefix, queue)
        await reader.run(verbs.start(keys, operation, actor))
    return await read_operation(reader, draft.id)


async def advance(reader: Reader, operation_id: str) -> Operation:
    """Do one bounded step in each queue where the operation still runs."""
    operation, queues = _split(operation_id)
    found = await _read(reader, operation, queues)
    await asyncio.gather(
        *(
            reader.run(
                verbs.advance(
                    queue_keys(reader.deck.settings.prefix, queue),
                    text(fields["verb"]),
                    text(fields["actor"]),
                    operation,
                    text(fields["states"]),
                )
            )
            for queue, fields in found.items()
            if fields["state"] == b"running" and text(fields["verb"]) in ACTIONS
        )
    )
    return await read_operation(reader, operation_id)


async def forget(reader: Reader, draft_id: str) -> None:
    """Forget a draft; what was started stays."""
    operation, queues = _split(draft_id)
    found = await _read(reader, operation, queues)
    commands: list[Sequence[Any]] = []
    for queue, fields in found.items():
        if fields["state"] == b"draft":
            keys = queue_keys(reader.deck.settings.prefix, queue)
            commands.append(("UNLINK", keys.operation(operation), keys.operation_ids(operation)))
            commands.append(("ZREM", keys.ops, operation))
    reader.refuse(await reader.read(commands))


async def list_operations(reader: Reader, queues: Sequence[str]) -> tuple[Operation, ...]:
    """Return the newest operations on record, at most 100 a queue; drafts are not shown."""
    prefix = reader.deck.settings.prefix
    keys = [queue_keys(prefix, queue) for queue in queues]
    listed = await reader.read([("ZRANGE", of.ops, 0, 99, "REV") for of in keys])
    where: dict[str, list[str]] = defaultdict(list)
    for queue, reply in zip(queues, listed, strict=True):
        for name in items(reply):
            where[text(name)].append(queue)
    pairs = [(operation, queue) for operation, names in where.items() for queue in names]
    replies = await reader.read(
        [
            ("HMGET", queue_keys(prefix, queue).operation(operation), *_FIELDS)
            for operation, queue in pairs
        ]
    )
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for (operation, queue), reply in zip(pairs, replies, strict=True):
        fields = dict(zip(_FIELDS, items(reply), strict=False))
        if fields.get("state") not in (None, b"draft"):
            found[operation][queue] = fields
    merged = [_merge(" ".join((name, *parts)), parts) for name, parts in found.items()]
    return tuple(sorted(merged, key=lambda each: each.id, reverse=True))


async def read_operation(reader: Reader, name: str) -> Operation:
    """Return an operation as it is now; raises Denied where it is not on record."""
    operation, queues = _split(name)
    found = await _read(reader, operation, queues)
    if not found:
        raise Denied("the operation is not on record any more; it was discarded or has expired")
    return _merge(name, found)


async def _read(reader: Reader, operation: str, queues: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the fields of an operation's record in each queue that has one."""
    prefix = reader.deck.settings.prefix
    replies = await reader.read(
        [("HMGET", queue_keys(prefix, queue).operation(operation), *_FIELDS) for queue in queues]
    )
    found = {}
    for queue, reply in zip(queues, replies, strict=True):
        fields = dict(zip(_FIELDS, items(reply), strict=False))
        if fields.get("state") is not None:
            found[queue] = fields
    return found


def _merge(name: str, parts: Mapping[str, Mapping[str, Any]]) -> Operation:
    def total(field: str) -> int:
        return sum(int(number(part[field]) or 0) for part in parts.values())

    states = {text(part["state"]) for part in parts.values()}
    state = next((s for s in ("running", "draft", "aborted") if s in states), "done")
    first = next(iter(parts.values()))
    verb = text(first["verb"])
    return Operation(
        name,
        verb if verb in ACTIONS else "delete",
        cast(Literal["draft", "running", "done", "aborted"], state),
        total("total"),
        total("done"),
        total("ok"),
        total("skipped"),
        text(first["actor"]),
        ", ".join(parts),
        at_ms(first["created"]),
    )


def _split(name: str) -> tuple[str, list[str]]:
    operation, *queues = name.split(" ")
    return operation, queues
