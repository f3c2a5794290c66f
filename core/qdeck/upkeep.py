"""What any worker does for its queues besides running jobs: successors, trimming, bulk operations.

Promotion of due jobs and the return of lost ones happen in the worker's own turn, when they are
due. Everything here is bounded a step, and a step that finds much to do is followed by the next.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

from qdeck import ledger
from qdeck import queue as verbs
from qdeck.courier import deliver_all, reclaim_all
from qdeck.errors import QdeckError
from qdeck.operation import carry_on
from qdeck.orphans import cancel_orphans
from qdeck.removal import carry_all

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["Upkeep"]

_log = logging.getLogger("qdeck.worker")
#: Seconds between looks at a queue that had nothing to do.
PAUSE: Final = 30.0
#: Trimming is due at every so many looks, what only heals or sums up at every so many.
TRIM_EVERY: Final = 2
HEAL_EVERY: Final = 4


class Upkeep:
    """Keeps the queues of one worker in order until it is cancelled."""

    def __init__(self, deck: Deck, queues: list[str]) -> None:
        self._deck = deck
        self._queues = queues

    async def run(self) -> None:
        """Look after each queue again and again; errors are logged and end nothing."""
        bulk, looks = asyncio.create_task(carry_on(self._deck, self._queues)), 0
        try:
            while True:
                for queue in self._queues:
                    trim = looks % TRIM_EVERY == 0 and await self._turn(queue, "trim", TRIM_EVERY)
                    heal = looks % HEAL_EVERY == 0 and await self._turn(queue, "heal", HEAL_EVERY)
                    await self._try(queue, trim=trim, heal=heal)
                looks += 1
                await asyncio.sleep(PAUSE * random.uniform(0.8, 1.2))
        finally:
            bulk.cancel()
            await asyncio.wait([bulk])

    async def once(self) -> None:
        """Look after each queue once; a worker too short-lived for `run` does so at its end."""
        for queue in self._queues:
            await self._try(queue, trim=True, heal=True)

    async def _turn(self, queue: str, work: str, looks: int) -> bool:
        """Whether no other worker of a queue does some work; whoever asks first does it."""
        key, seconds = self._deck.keys(queue).turn(work), int(PAUSE * looks * 0.75)
        try:
            return bool(await self._deck.call("SET", key, 1, "NX", "EX", seconds))
        except QdeckError as error:
            # Memory that is full refuses this, and is what trimming is for.
            _log.debug("upkeep of queue %s: %s", queue, error)
            return True

    async def _try(self, queue: str, *, trim: bool, heal: bool) -> None:
        try:
            await self.look(queue, trim=trim, heal=heal)
        except QdeckError as error:
            _log.warning("upkeep of queue %s: %s", queue, error)

    async def look(self, queue: str, *, trim: bool, heal: bool) -> None:
        """Do what there is to do for one queue now."""
        keys = self._deck.keys(queue)
        if await self._deck.call("EXISTS", keys.outbox, keys.moving):
            await deliver_all(self._deck, queue)
            await carry_all(self._deck, queue)
        await reclaim_all(self._deck, queue)
        if heal:
            await cancel_orphans(self._deck, queue)
        while heal:
            folding = await self._deck.execute(verbs.fold(keys))
            swept, _ = await self._deck.execute(ledger.sweep(keys))
            if swept + folding == 0:
                break
            await asyncio.sleep(0.002)
        while trim:
            deleted, logs = await self._deck.execute(verbs.trim(keys, self._deck.settings))
            if deleted + logs == 0:
                return
            await asyncio.sleep(0.002)
