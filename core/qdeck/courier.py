"""Taking word of completed jobs to those that wait for them, over queues; and freeing held keys.

A completed job with successors is put in its queue's outbox by the script that settles it, and
leaves the outbox when their queues have taken note. Each step may be repeated by anybody: a job
that waits counts each job that it waits for once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from qdeck import queue as verbs
from qdeck.errors import QdeckError
from qdeck.links import decode_names
from qdeck.queue import BATCH, Turn

if TYPE_CHECKING:
    from qdeck.deck import Deck
    from qdeck.execute import Run
    from qdeck.line import Line

__all__ = ["Courier", "deliver_all", "reclaim_all", "settle_links"]

_log = logging.getLogger("qdeck.worker")
#: Entries of an outbox that are read at a time; each may be as large as a flow.
_PAGE: Final = 50
#: Keys that one call looks at, and that one look of the upkeep does.
_KEYS: Final = 100
_LOOK: Final = 2000
#: Steps of parking between two turns.
_STEPS: Final = 20
#: Seconds that a worker that leaves gives to what it has just settled.
_LAST: Final = 2.0


async def deliver_all(deck: Deck, queue: str) -> int:
    """Deliver what lies in a queue's outbox; return how many entries left it.

    An entry that cannot be delivered now is logged and stays. Raises QdeckError when the outbox
    cannot be read.
    """
    keys, cursor, left = deck.keys(queue), 0, 0
    while True:
        answer = await deck.call("HSCAN", keys.outbox, cursor, "COUNT", _PAGE)
        cursor, flat = int(answer[0]), answer[1]
        if flat:
            entries = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
            done = await _deliver(deck, queue, entries)
            if done:
                await deck.call("HDEL", keys.outbox, *done)
                left += len(done)
        if cursor == 0:
            return left


async def _deliver(deck: Deck, queue: str, entries: dict[str, bytes]) -> list[str]:
    """Tell each job that waits; return the completed jobs of which all have been told."""
    parcels: dict[str, list[tuple[str, str, str]]] = {}
    for job_id, raw in entries.items():
        for target, waiting in decode_names(raw.decode("utf-8", "replace")):
            parcels.setdefault(target, []).append((waiting, f"{queue} {job_id}", job_id))
    undelivered: set[str] = set()
    for target, parcel in parcels.items():
        at = 0
        while at < len(parcel):
            part = parcel[at : at + BATCH]
            try:
                command = verbs.deliver(deck.keys(target), [each[:2] for each in part])
                answers = await deck.execute(command)
            except QdeckError as error:
                _log.warning(
                    "queue %s: what waits in queue %s cannot be told yet: %s", queue, target, error
                )
                undelivered |= {job_id for _, _, job_id in parcel[at:]}
                break
            at += len(answers)
    return [job_id for job_id in entries if job_id not in undelivered]


async def reclaim(deck: Deck, queue: str, keys: Sequence[str], task: str = "") -> tuple[int, int]:
    """Give jobs that are held for keys the places that are free; return how many got one, and how
    many keys left the list of a task.
    """
    of, freed, removed, at = deck.keys(queue), 0, 0, 0
    while at < len(keys):
        answer = await deck.execute(verbs.reclaim(of, keys[at : at + _KEYS], task))
        removed, freed, at = removed + answer[0], freed + answer[1], at + answer[2]
    return freed, removed


async def reclaim_all(deck: Deck, queue: str) -> int:
    """Look at keys that jobs are held for, some thousands of each task; return how many came out.

    Settles have it done for their key. This finds the rest: leases that were lost, and jobs that
    came out of hold and were cancelled before they started.
    """
    keys, freed = deck.keys(queue), 0
    raw = await deck.call("HGET", keys.meta, "keyed")
    for task in (raw or b"").decode("utf-8", "replace").split():
        size = await deck.call("ZCARD", keys.keyed(task))
        rank = random.randrange(max(size - _LOOK, 0) + 1)
        for _ in range(0, _LOOK, _KEYS):
            found = await deck.call("ZRANGE", keys.keyed(task), rank, rank + _KEYS - 1)
            out, gone = await reclaim(deck, queue, [key.decode() for key in found], task)
            freed, rank = freed + out, rank + len(found) - gone
            if len(found) < _KEYS:
                break
    return freed


async def settle_links(deck: Deck, queue: str) -> int:
    """Do all of both for a queue; return how much there was to do. Two reads where nothing is."""
    return await deliver_all(deck, queue) + await reclaim_all(deck, queue)


class Courier:
    """Does so for one worker at once: for each job that it has settled or that came back to it."""

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._queues: set[str] = set()
        self._keys: dict[str, dict[str, None]] = {}
        self._wake = asyncio.Event()

    def ended(self, run: Run, word: str) -> None:
        """Note how a run has ended; of no interest where nothing is tied to the job."""
        links = run.body.links
        if links is None:
            return
        if links.key:
            self._keys.setdefault(run.queue, {})[links.key] = None
        if links.then and word == "completed":
            self._queues.add(run.queue)
        elif links.then and word in ("dead", "cancelled"):
            waiting = decode_names(links.then)
            _log.warning(
                "job %s is %s, and its chain stops: %s (%d in all) will not start; retry it to go "
                "on, or cancel what waits",
                run.id,
                word,
                waiting[0][1] if waiting else "?",
                len(waiting),
            )
        self._wake.set()

    def lost(self, queue: str) -> None:
        """Note that jobs came back from a worker that vanished."""
        self._keys.setdefault(queue, {})
        self._wake.set()

    async def make_room(self, line: Line, turn: Turn) -> None:
        """Give jobs that a turn came upon the places of their key, or hold them, in a few steps."""
        if not turn.crowded:
            return
        try:
            for _ in range(_STEPS):
                answer = await self._deck.execute(verbs.park(line.keys), patience=line.patience)
                if answer[1] < BATCH:
                    return
        except Exception as error:
            line.fail(error)

    async def run(self) -> None:
        """Act whenever there is something to do; errors are logged and end nothing."""
        while True:
            await self._wake.wait()
            await self.flush()

    async def flush(self) -> None:
        """Do what has been noted; what fails here is done by upkeep."""
        self._wake.clear()
        queues, self._queues = self._queues, set()
        limited, self._keys = self._keys, {}
        try:
            for queue, keys in limited.items():
                if keys:
                    await reclaim(self._deck, queue, list(keys))
                else:
                    await reclaim_all(self._deck, queue)
            for queue in queues:
                await deliver_all(self._deck, queue)
        except QdeckError as error:
            _log.warning("what waits for settled jobs is told later: %s", error)

    async def close(self) -> None:
        """Do what is left, for a moment at most."""
        try:
            async with asyncio.timeout(_LAST):
                await self.flush()
        except TimeoutError:
            _log.debug("what waits for settled jobs is left to other workers")
