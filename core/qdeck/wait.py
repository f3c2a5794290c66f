"""Waiting for work: one blocked connection on the wake markers of the queues that look empty.

In a cluster each queue has its own. Whoever pops a marker must claim, so that the rule at the end
of that script can put it back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from qdeck.connection import Backoff
from qdeck.lane import Command, Lane

if TYPE_CHECKING:
    from qdeck.deck import Deck
    from qdeck.line import Line, Lines

__all__ = ["MarkerWait"]

_log = logging.getLogger("qdeck.worker")
#: Looks at empty queues of which one compares what is planned as well.
PLANS_EVERY: Final = 4


class MarkerWait:
    """Waits on behalf of one worker; sets `kick` whenever it should look."""

    def __init__(self, deck: Deck, lines: Lines, kick: asyncio.Event) -> None:
        self._deck = deck
        self._lines = lines
        self._kick = kick
        groups = [[line] for line in lines] if deck.connector.cluster else [list(lines)]
        self._groups = [_Group(deck, group, kick) for group in groups]

    def begin(self, listen: bool) -> float | None:
        """Begin to wait where nobody waits yet; returns seconds until something is due, or None."""
        next_at = self._lines.next_at()
        left = None if next_at is None else max(next_at - time.monotonic(), 0.0)
        if listen:
            for group in self._groups:
                group.listen(left)
        return left

    async def close(self) -> None:
        """End all waits."""
        for group in self._groups:
            await group.close()


class _Group:
    """One blocked connection over the markers of some queues of one slot."""

    def __init__(self, deck: Deck, lines: list[Line], kick: asyncio.Event) -> None:
        self._deck = deck
        self._lines = lines
        self._by_key = {line.keys.wake.encode(): line for line in lines}
        self._kick = kick
        self._lane: Lane | None = None
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._looks = 0
        self._plans: dict[str, Any] = {}

    def listen(self, left: float | None) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._listen(left))

    async def _listen(self, left: float | None) -> None:
        most = self._deck.settings.block_timeout
        block = most if left is None else max(min(most, left), 0.01)
        try:
            if self._lane is None:
                self._lane = self._deck.connector.new_lane(most)
            found = await self._lane.call("BZPOPMIN", *self._by_key, block)
            if found is None and (left is None or block < left):
                # A lost wake-up costs this much latency, and no job.
                await self._look()
        except Exception as error:
            # Whatever it is: a worker that nobody kicks would never look again.
            surprise = not isinstance(error, (RedisError, OSError, EOFError))
            level = logging.ERROR if surprise else logging.DEBUG
            _log.log(level, "waiting for work: %s", error, exc_info=surprise)
            await self._drop()
            await asyncio.sleep(self._backoff.pause())
            found = None
        else:
            self._backoff.reset()
        if found is not None:
            line = self._by_key[found[0]]
            line.popped = line.hot = True
        self._kick.set()

    async def _look(self) -> None:
        """Have queues claimed from that hold anything; what is planned is compared more rarely."""
        lines, names = self._lines, [line.keys for line in self._lines]
        sets = [key for of in names for key in (of.ready, of.scheduled, of.retrying, of.lease)]
        commands: list[Command] = [("EXISTS", *sets)]
        self._looks += 1
        if self._looks % PLANS_EVERY == 0:
            commands += [("HMGET", of.meta, "cron_at", "unpark") for of in names]
        found, *plans = await self._deck.connector.lane().call_many(commands)
        for line, plan in zip(lines, plans, strict=False):
            line.hot = line.hot or plan != self._plans.get(line.name)
            self._plans[line.name] = plan
        for line in lines if found != 0 else ():
            line.hot = True

    async def _drop(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            try:
                await lane.aclose()
            except (RedisError, OSError) as error:
                _log.debug("closing a waiting connection: %s", error)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop()
