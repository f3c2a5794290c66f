"""Writes that wait until a replica or the disk has them, where `durability` asks for it.

The write and its WAIT or WAITAOF go over one connection, since the server counts by connection;
writes of concurrent callers share one wait. Limits: a replica's word does not survive a fail-over
to another replica; `fsync` asks the primary's own disk only; Redis before 7.2 has no WAITAOF.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis import exceptions as errors

from qdeck.lane import Command, Lane, SyncLane, WireLane

__all__ = ["Confirmer", "Confirming", "ConfirmingSync", "wait_command"]

_PATIENCE = 1500
"""Milliseconds for replicas or the disk; everysec needs up to 1000, a reply may take 5000."""


def wait_command(durability: str) -> Command:
    """Returns the command that waits for the writes before it on the same connection."""
    return ("WAIT", 1, _PATIENCE) if durability == "replica" else ("WAITAOF", 1, 0, _PATIENCE)


def _shortfall(durability: str, reply: Any) -> str | None:
    if isinstance(reply, Exception):
        needs = "; fsync needs Valkey or Redis 7.2 with appendonly yes"
        return f"the server says: {reply}{needs if durability == 'fsync' else ''}"
    if durability == "replica":
        return None if reply >= 1 else f"no replica confirmed within {_PATIENCE / 1000:g} s"
    return None if reply[0] >= 1 else f"no fsync within {_PATIENCE / 1000:g} s"


class Confirmer:
    """Sends writes over a lane of its own, many with one wait; belongs to one event loop."""

    def __init__(self, lane: Lane, durability: str) -> None:
        self._lane = lane
        self._durability = durability
        self._parts: dict[WireLane, _Part] = {}

    async def call(self, words: Command) -> tuple[Any, str | None]:
        """Returns the reply and why it fell short, if it did; raises the write's error."""
        lane = await self._lane.part(words)
        part = self._parts.get(lane)
        if part is None:
            part = self._parts[lane] = _Part(lane, self._durability)
        try:
            return await part.call(words)
        except (errors.ConnectionError, errors.TimeoutError, errors.AskError) as error:
            self._lane.notice(error)
            raise

    async def aclose(self) -> None:
        """Closes the lane, after the writes that are on their way."""
        for part in self._parts.values():
            await part.finish()
        self._parts.clear()
        await self._lane.aclose()


class _Part:
    """The writes over one connection."""

    def __init__(self, lane: WireLane, durability: str) -> None:
        self.lane = lane
        self.durability = durability
        self._pending: list[tuple[Command, asyncio.Future[tuple[Any, str | None]]]] = []
        self._task: asyncio.Task[None] | None = None

    async def call(self, words: Command) -> tuple[Any, str | None]:
        future: asyncio.Future[tuple[Any, str | None]] = asyncio.get_running_loop().create_future()
        self._pending.append((words, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await future

    async def finish(self) -> None:
        if self._task is not None:
            await self._task

    async def _drain(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            commands = [words for words, _ in batch]
            try:
                *replies, waited = await self.lane.call_many(
                    [*commands, wait_command(self.durability)]
                )
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            short = _shortfall(self.durability, waited)
            for (_, future), reply in zip(batch, replies, strict=True):
                if future.done():
                    continue
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                else:
                    future.set_result((reply, short))


class Confirming:
    """One write's link: `call` it, then read `shortfall`, which is None when all is well."""

    def __init__(self, confirmer: Confirmer) -> None:
        self._confirmer = confirmer
        self.shortfall: str | None = None

    async def call(self, *words: Any) -> Any:
        """Sends one command and waits for its confirmation; returns its reply."""
        reply, self.shortfall = await self._confirmer.call(words)
        return reply


class ConfirmingSync:
    """The same without an event loop."""

    def __init__(self, lane: SyncLane, durability: str) -> None:
        self._lane = lane
        self._durability = durability
        self.shortfall: str | None = None

    def call(self, *words: Any) -> Any:
        """Sends one command and waits for its confirmation; returns its reply."""
        reply, waited = self._lane.call_pair(words, wait_command(self._durability))
        self.shortfall = _shortfall(self._durability, waited)
        return reply
