"""Drafts of bulk operations in the making: which jobs are meant is frozen on the server, and what a
patch would make of them is looked at.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from qdeck import steps
from qdeck.admin import Action, Diff, Draft, JobRef, JobRow, Selection
from qdeck.errors import InvalidPayload
from qdeck.glimpse import Hit
from qdeck.job import MOVES, State, new_id
from qdeck.keys import QueueKeys, queue_keys
from qdeck.listing import SETS, Source
from qdeck.operation import new_record
from qdeck.opview import as_changes
from qdeck.patching import decode_changes, patched
from qdeck.queue import CHUNK
from qdeck.reader import Reader, at_ms, count, items, number, text
from qdeck.record import decode_map, read_record
from qdeck.steps import Asked

__all__ = ["LIFE", "Frozen", "about", "freeze_hits", "freeze_refs", "freeze_sources"]

#: Seconds that a draft waits for its start.
LIFE: Final = 900
#: Scripts of one freeze in flight at a time.
_WIDTH: Final = 4
SAMPLES: Final = 5
#: Records that a patch is tried on in one round trip.
_TRIED: Final = 250


class Frozen:
    """A draft in the making: collects what the steps of freezing answer. A job that is in another
    state than those frozen by the time of the operation is skipped.
    """

    def __init__(self, reader: Reader, verb: Action, actor: str, asked: Asked) -> None:
        self.reader, self.verb, self.actor, self.asked = reader, verb, actor, asked
        self.operation = new_id()
        self.totals: dict[str, int] = {}
        self.states: set[str] = set()
        self.expires: float = 0.0
        self.samples: list[Hit] = []

    async def add(self, queue: str, source: str, rank: int, ids: Sequence[str] = ()) -> None:
        """Freeze up to `CHUNK` jobs of a set from a rank on, or those named."""
        command = steps.freeze(
            self.keys(queue), source, self.operation, self.verb, self.actor, rank, LIFE, ids,
            replace(self.asked, states=frozenset(self.states)),
        )  # fmt: skip
        answer = await self.reader.run(command)
        self.totals[queue] = max(answer[0], self.totals.get(queue, 0))
        self.expires = answer[2]

    def show(self, hits: Sequence[Hit]) -> None:
        """Keep the first jobs as samples."""
        self.samples += hits[: SAMPLES - len(self.samples)]

    def keys(self, queue: str) -> QueueKeys:
        """Return the names of a queue."""
        return queue_keys(self.reader.deck.settings.prefix, queue)

    @property
    def total(self) -> int:
        """How many jobs are frozen over all queues."""
        return sum(self.totals.values())

    async def draft(self, samples: tuple[JobRow, ...], warning: str) -> Draft:
        """Return the draft as its caller sees it."""
        name = " ".join((self.operation, *sorted(self.totals)))
        draft = Draft(name, self.verb, self.total, samples, at_ms(self.expires), warning=warning)
        return await self._tried(draft) if self.asked.changes else draft

    async def _tried(self, draft: Draft) -> Draft:
        """Return a draft with what its changes would make of every job."""
        changes = decode_changes(self.asked.changes)
        published: dict[str, Mapping[str, Any]] = {}
        changed = unchanged = invalid = 0
        diffs: list[Diff] = []
        for queue, total in sorted(self.totals.items()):
            keys = self.keys(queue)
            for at in range(0, total, _TRIED):
                ids = items(
                    await self.reader.one(
                        "ZRANGE", keys.operation_ids(self.operation), at, at + _TRIED - 1
                    )
                )
                raws = await self.reader.read([("GET", keys.job(text(raw))) for raw in ids])
                await self._learn(raws, published)
                for job_id, raw in zip(ids, raws, strict=True):
                    problem, made = "", b""
                    try:
                        made = new_record(
                            raw if isinstance(raw, bytes) else b"", changes, published
                        )
                    except InvalidPayload as error:
                        problem = str(error)
                    invalid += bool(problem)
                    changed += bool(made)
                    unchanged += not problem and not made
                    if len(diffs) < SAMPLES and (problem or made):
                        ref = JobRef(text(job_id), queue)
                        diffs.append(_diff(ref, raw, made, problem, changes))
        return Draft(
            draft.id, draft.verb, draft.total, draft.samples, draft.expires_at, changed, unchanged,
            invalid, tuple(diffs), as_changes(self.asked.changes), draft.warning,
        )  # fmt: skip

    async def _learn(self, raws: Sequence[Any], published: dict[str, Mapping[str, Any]]) -> None:
        """Read what workers publish of the tasks that are not known yet."""
        records = [read_record(raw) for raw in raws if isinstance(raw, bytes)]
        new = {each.body.task for each in records if each is not None} - set(published)
        tasks = sorted(new)
        replies = await self.reader.read(
            [("HGET", self.reader.deck.shared.tasks, task) for task in tasks]
        )
        for task, raw in zip(tasks, replies, strict=True):
            published[task] = decode_map(raw) if isinstance(raw, bytes) else {}


def _diff(ref: JobRef, raw: Any, made: bytes, problem: str, changes: Sequence[Any]) -> Diff:
    before = read_record(raw) if isinstance(raw, bytes) else None
    after = read_record(made)
    if before is None:
        return Diff(ref, "", "", problem)
    if after is not None:
        return Diff(ref, before.body.payload, after.body.payload)
    try:
        return Diff(ref, before.body.payload, patched(before.body.payload, changes), problem)
    except InvalidPayload:
        return Diff(ref, before.body.payload, before.body.payload, problem)


def about(what: Sequence[JobRef] | Selection) -> str:
    """Return a digest of which jobs are meant, the same for whoever asks."""
    if isinstance(what, Selection):
        words = [what.state, what.queue or "*", what.fingerprint or "", what.query.strip()]
    else:
        words = sorted(f"{ref.queue} {ref.id}" for ref in what)
    return hashlib.blake2b("\n".join(words).encode(), digest_size=16).hexdigest()


async def freeze_refs(frozen: Frozen, refs: Iterable[JobRef]) -> None:
    """Freeze those of the named jobs whose state allows the verb now, `CHUNK` a step."""
    queues: dict[str, list[str]] = defaultdict(list)
    for ref in dict.fromkeys(refs):
        queues[ref.queue].append(ref.id)
    for queue, ids in queues.items():
        for i in range(0, len(ids), CHUNK):
            found = await _allowed(frozen, frozen.keys(queue), ids[i : i + CHUNK])
            await freeze_hits(frozen, found)


async def freeze_hits(frozen: Frozen, hits: Sequence[Hit]) -> None:
    """Freeze jobs found in a set, at most `CHUNK`."""
    frozen.show(hits)
    frozen.states |= {hit.state for hit in hits}
    queues: dict[str, list[str]] = defaultdict(list)
    for hit in hits:
        queues[hit.queue].append(hit.id)
    for queue, ids in queues.items():
        await frozen.add(queue, frozen.keys(queue).ready, 0, ids)


async def _allowed(frozen: Frozen, keys: QueueKeys, ids: Sequence[str]) -> list[Hit]:
    """Return the jobs whose state allows the verb; a held job is in no set but has a record."""
    states = list(SETS)
    replies = await frozen.reader.read(
        [("ZMSCORE", getattr(keys, SETS[state]), *ids) for state in states]
        + [("EXISTS", keys.job(job_id)) for job_id in ids]
    )
    scores = [items(reply) or [None] * len(ids) for reply in replies[: len(states)]]
    allowed, found = MOVES[frozen.verb][0], []
    for i, job_id in enumerate(ids):
        place = next((s for s, reply in zip(states, scores, strict=True) if reply[i]), None)
        if place is not None and State(place) in allowed:
            score = number(scores[states.index(place)][i]) or 0.0
            found.append(Hit(keys.queue, job_id, score, place))
        elif place is None and State.PENDING in allowed and count(replies[len(states) + i]):
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
