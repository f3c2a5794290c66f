"""Lanes: the cheapest way for a command to the server and back, shared by concurrent callers.

A lane answers with raw RESP2 replies (bytes, int, None, lists), raises redis-py's errors, repeats
nothing, and opens a new connection for the call after one that broke. `cluster.py` has those for a
cluster.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from redis import exceptions as errors

from qdeck.dial import Dial
from qdeck.wire import SyncWire, Wire, Word

__all__ = ["Command", "Lane", "SyncLane", "WireLane", "WireSyncLane"]

Command = Sequence[Word]


class Lane(Protocol):
    """What the engine calls; for one event loop."""

    async def call(self, *words: Word) -> Any:
        """Sends one command and returns its reply."""

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip; returns replies in order, errors as values."""

    async def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection; raises the first one's error only."""

    async def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to every primary; returns a reply each, errors as values."""

    async def part(self, words: Command) -> WireLane:
        """Returns the lane with the one connection that takes this command."""

    def notice(self, error: BaseException) -> None:
        """Learns from an error of a part."""

    async def aclose(self) -> None:
        """Closes the connection; a later call opens a new one."""


class SyncLane(Protocol):
    """The same without an event loop; thread-safe."""

    def call(self, *words: Word) -> Any:
        """Sends one command and returns its reply."""

    def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip; returns replies in order, errors as values."""

    def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection; raises the first one's error only."""

    def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to every primary; returns a reply each, errors as values."""

    def close(self) -> None:
        """Closes the idle connections; a later call opens a new one."""


class WireLane:
    """A lane on one connection, on which concurrent calls share round trips."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._wire: Wire | None = None
        self._opening = asyncio.Lock()

    async def call(self, *words: Word) -> Any:
        """Sends one command and returns its reply."""
        wire = self._wire
        if wire is None or not wire.usable:
            wire = await self._open()
        return await wire.call(*words)

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip; returns replies in order, errors as values."""
        wire = self._wire
        if wire is None or not wire.usable:
            wire = await self._open()
        futures = wire.call_many(commands)
        replies: list[Any] = []
        try:
            for future in futures:
                try:
                    replies.append(await future)
                except errors.ResponseError as error:
                    replies.append(error)
        except BaseException:
            for future in futures:
                future.cancel()
                if not future.cancelled():
                    future.exception()
            raise
        return replies

    async def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection; raises the first one's error only."""
        one, two = await self.call_many([first, second])
        if isinstance(one, BaseException):
            raise one
        return one, two

    async def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to the one server there is."""
        return await self.call_many([words])

    async def part(self, words: Command) -> WireLane:
        """Returns itself: there is one connection."""
        return self

    def notice(self, error: BaseException) -> None:
        """Needs to learn nothing: a connection that broke is replaced by the next call."""

    async def aclose(self) -> None:
        """Closes the connection; a later call opens a new one."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def _open(self) -> Wire:
        async with self._opening:
            if self._wire is None or not self._wire.usable:
                self._wire = None
                self._wire = await self._dial.open()
            return self._wire


class WireSyncLane:
    """A lane of blocking connections, one for each thread that calls at the same moment."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._idle: list[SyncWire] = []
        _lanes.add(self)

    def call(self, *words: Word) -> Any:
        """Sends one command and returns its reply."""
        wire = self._take()
        try:
            reply = wire.call(*words)
        except errors.ResponseError as error:
            if isinstance(error, (errors.ReadOnlyError, errors.MasterDownError)):
                wire.close()
            else:
                self._idle.append(wire)
            raise
        except TimeoutError as error:
            wire.close()
            raise errors.TimeoutError(f"no answer within {self._dial.timeout:g} s") from error
        except OSError as error:
            wire.close()
            self.close()
            raise errors.ConnectionError(f"the connection was lost ({error})") from error
        except BaseException:
            wire.close()
            raise
        self._idle.append(wire)
        return reply

    def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip; returns replies in order, errors as values."""
        wire = self._take()
        try:
            replies = wire.call_many(commands)
        except TimeoutError as error:
            wire.close()
            raise errors.TimeoutError(f"no answer within {self._dial.timeout:g} s") from error
        except OSError as error:
            wire.close()
            self.close()
            raise errors.ConnectionError(f"the connection was lost ({error})") from error
        except BaseException:
            wire.close()
            raise
        self._idle.append(wire)
        return replies

    def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection; raises the first one's error only."""
        one, two = self.call_many([first, second])
        if isinstance(one, BaseException):
            raise one
        return one, two

    def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to the one server there is."""
        return self.call_many([words])

    def close(self) -> None:
        """Closes the idle connections; a later call opens a new one."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> SyncWire:
        try:
            return self._idle.pop()
        except IndexError:
            return self._dial.open_sync()


_lanes: weakref.WeakSet[WireSyncLane] = weakref.WeakSet()


def _drop_in_child() -> None:
    # Two processes on one connection would read each other's replies.
    for lane in list(_lanes):
        lane.close()


os.register_at_fork(after_in_child=_drop_in_child)
