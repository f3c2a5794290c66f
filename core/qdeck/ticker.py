"""Ticking: any worker fires the slots of its queues' schedules when they are due; there is no
leader.

Owns when to look, and what happens where a schedule cannot fire now. Which slots fire is decided
from what the server stores and by its clock; the script makes sure that each fires once.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qdeck import queue as verbs
from qdeck.errors import ConnectionFailed, QdeckError, QueueFull, ServerFull
from qdeck.link import SERVER_ERRORS
from qdeck.plan import decode_plan
from qdeck.record import decode_map
from qdeck.schedule import (
    Step,
    Stored,
    decide,
    decode_stored,
    job_of_slot,
    next_after,
    read_tick,
    tick,
)
from qdeck.task import TaskSpec

if TYPE_CHECKING:
    from qdeck.deck import Deck
    from qdeck.keys import QueueKeys

__all__ = ["Ticker"]

_log = logging.getLogger("qdeck.worker")
#: Schedules that one step looks at, and those of them that it fires, at most.
_LOOK: Final = 200
_FIRE: Final = 20
#: A schedule that cannot fire now is looked at again after so many ms.
_WAIT: Final = 5_000
#: Seconds for which what workers published about a task is remembered.
_FACTS: Final = 60.0


class Ticker:
    """Ticks on behalf of one worker; knows when each queue's next slot is due."""

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._due: dict[str, float | None] = {}
        self._facts: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def due(self, queue: str) -> bool:
        """Whether a slot of a queue may be due, as far as this worker knows."""
        at = self._due.get(queue, 0.0)
        return at is not None and at <= time.monotonic() + 0.001

    async def tend(self, keys: QueueKeys, patience: float | None = None) -> list[Any]:
        """Look after a queue: fire due slots, then do what `queue.tend` says; return its answer."""
        settings = self._deck.settings
        if self.due(keys.queue):
            await self.step(keys)
        command = verbs.tend(keys, settings.lease, settings.max_retries)
        answer: list[Any] = await self._deck.execute(command, patience=patience)
        if answer[0] == 0:
            # Something is due still; it may be a schedule that was added meanwhile.
            await self.step(keys)
        return answer

    async def step(self, keys: QueueKeys) -> float | None:
        """Fire what is due in a queue, up to 20 schedules and 50 slots of each.

        Returns seconds until it is worth to look again, None where the queue has no schedules.
        Raises QdeckError when the server is away.
        """
        clock, flat = await self._read(
            [("TIME",), ("ZRANGE", keys.cron_due, 0, _LOOK - 1, "WITHSCORES")]
        )
        now = int(clock[0]) * 1000 + int(clock[1]) // 1000
        scores = [float(flat[i]) for i in range(1, len(flat), 2)]
        names = [flat[i] for i in range(0, len(flat), 2) if float(flat[i + 1]) <= now]
        if not names:
            left = (scores[0] - now) / 1000 if scores else None
            self._due[keys.queue] = None if left is None else time.monotonic() + left
            return left
        # Each worker takes others of those due at one time.
        random.shuffle(names)
        chosen = names[:_FIRE]
        (records,) = await self._read([("HMGET", keys.cron, *chosen)])
        for name, raw in zip(chosen, records, strict=True):
            await self._tick(keys, name.decode(), raw, now)
        self._due[keys.queue] = 0.0
        return 0.0

    async def _tick(self, keys: QueueKeys, name: str, raw: bytes | None, now: int) -> None:
        stored = decode_stored(raw)
        if stored is None:
            _log.error("queue %s: schedule %s is not readable; save it anew", keys.queue, name)
            stored = Stored(0, 1, 0, 0, 0, "", "", "", 0, "", [])
        try:
            await self._fire(keys, name, stored, now)
        except (QueueFull, ServerFull) as error:
            _log.warning("queue %s: schedule %s waits: %s", keys.queue, name, error)
            await self._later(keys, name, stored)
        except ConnectionFailed:
            raise
        except Exception as error:
            surprise = not isinstance(error, QdeckError)
            _log.error(
                "queue %s: schedule %s cannot fire: %s", keys.queue, name, error, exc_info=surprise
            )
            await self._later(keys, name, stored)

    async def _fire(self, keys: QueueKeys, name: str, stored: Stored, now: int) -> None:
        settings, jobs = self._deck.settings, []
        if not stored.revision:
            step = Step((), 0)
        else:
            plan = decode_plan(stored.spec)
            if stored.enabled:
                step = decide(plan, stored.next, now)
            else:
                step = Step((), next_after(plan, max(stored.until, stored.last)))
            known = await self._task(plan.task)
            jobs = [(s, *job_of_slot(name, plan, s, settings, known)) for s in step.slots]
        alone = bool(jobs) and plan.overlap == "skip"
        try:
            word = await self._send(keys, name, stored, step, jobs, alone)
        except QueueFull:
            if len(jobs) < 2:
                raise
            # There may be room for one.
            step = Step(step.slots[:1], step.slots[1], step.missed, step.missed_last)
            word = await self._send(keys, name, stored, step, jobs[:1], alone)
        if step.missed and word == "fired":
            _log.warning(
                "queue %s: schedule %s was behind: %d slots were missed and are given up",
                keys.queue,
                name,
                step.missed,
            )

    async def _send(
        self,
        keys: QueueKeys,
        name: str,
        stored: Stored,
        step: Step,
        jobs: list[tuple[int, str, bytes]],
        alone: bool,
    ) -> str:
        command = tick(
            keys,
            name,
            stored.revision,
            stored.next,
            step,
            jobs,
            max_size=self._deck.settings.max_size,
            alone=alone,
        )
        return read_tick(await self._deck.execute(command)).word

    async def _later(self, keys: QueueKeys, name: str, stored: Stored) -> None:
        command = tick(keys, name, stored.revision, stored.next, Step((), 0), (), wait=_WAIT)
        await self._deck.execute(command)

    async def _task(self, name: str) -> TaskSpec | Mapping[str, Any]:
        spec = self._deck.registry.find(name)
        if spec is not None:
            return spec
        at, facts = self._facts.get(name, (0.0, {}))
        if name not in self._facts or time.monotonic() - at > _FACTS:
            facts = decode_map(await self._deck.call("HGET", self._deck.shared.tasks, name))
            self._facts[name] = (time.monotonic(), facts)
        return facts

    async def _read(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        deck = self._deck
        await deck.connector.ensure()
        try:
            replies = await deck.connector.lane().call_many(commands)
        except SERVER_ERRORS as error:
            raise deck.connector.translate(error) from error
        for reply in replies:
            if isinstance(reply, BaseException):
                raise deck.connector.translate(reply) from reply
        return replies
