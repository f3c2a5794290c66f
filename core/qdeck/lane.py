"""Lanes: the cheapest way for a command to the server and back, shared by concurrent callers.

A lane answers with raw RESP2 replies (bytes, int, None, lists), raises redis-py's errors, repeats
nothing, and opens a new connection for the call after one that broke. In a cluster it goes through
redis-py's client, since that knows slots and redirections.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import redis
import redis.asyncio
from redis import exceptions as errors

from qdeck.dial import Dial
from qdeck.wire import SyncWire, Wire, Word

__all__ = ["ClusterLane", "ClusterSyncLane", "Lane", "SyncLane", "WireLane", "WireSyncLane"]

Command = Sequence[Word]


class Lane(Protocol):
    """What the engine calls; for one event loop."""

    async def call(self, *words: Word) -> Any:
        """Sends one command and returns its reply."""

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip; returns replies in order, errors as values."""

    async def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection; raises the first error."""

    async def aclose(self) -> None:
        """Closes the connection; a later call opens a new one."""


class SyncLane(Protocol):
    """The same without an event loop; thread-safe."""

    def call(self, *words: Word) -> Any:
        """Sends one command and returns its reply."""

    def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip; returns replies in order, errors as values."""

    def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection; raises the first error."""

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
        futures = [wire.call(*words) for words in commands]
        replies = await asyncio.gather(*futures, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, (errors.ConnectionError, errors.TimeoutError)):
                raise reply
        return replies

    async def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection; raises the first error."""
        one, two = await self.call_many([first, second])
        for reply in (one, two):
            if isinstance(reply, BaseException):
                raise reply
        return one, two

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
        """Sends two commands over one connection; raises the first error."""
        one, two = self.call_many([first, second])
        for reply in (one, two):
            if isinstance(reply, BaseException):
                raise reply
        return one, two

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


class ClusterLane:
    """A lane through redis-py's cluster client."""

    def __init__(self, client: redis.asyncio.RedisCluster) -> None:
        self._client = client
        _raw(client.response_callbacks)

    async def call(self, *words: Word) -> Any:
        """Sends one command to the node of its key and returns its reply."""
        return await self._client.execute_command(*words)

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands at the same time; returns replies in order, errors as values."""
        calls = [self._client.execute_command(*words) for words in commands]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection to the node of the first one's key."""
        client = self._client
        await client.initialize()
        node = client.get_node_from_key(_key_of(first))
        if node is None:
            raise errors.ClusterDownError("no node serves the slot of this key")
        connection = node.acquire_connection()
        try:
            await connection.connect()
            await connection.send_packed_command(connection.pack_commands([first, second]))
            return await connection.read_response(), await connection.read_response()
        except (errors.MovedError, errors.AskError, errors.ConnectionError, errors.TimeoutError):
            await client.aclose()
            raise
        except BaseException:
            await connection.disconnect()
            raise
        finally:
            node.release(connection)

    async def aclose(self) -> None:
        """Closes the connections; a later call opens new ones."""
        await self._client.aclose()


class ClusterSyncLane:
    """A blocking lane through redis-py's cluster client, made at the first call."""

    def __init__(self, make: Callable[[], redis.RedisCluster]) -> None:
        self._make = make
        self._made: redis.RedisCluster | None = None
        self._mutex = threading.Lock()

    def call(self, *words: Word) -> Any:
        """Sends one command to the node of its key and returns its reply."""
        return self._client().execute_command(*words)

    def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands one after the other; returns replies in order, errors as values."""
        client = self._client()
        replies: list[Any] = []
        for words in commands:
            try:
                replies.append(client.execute_command(*words))
            except errors.ResponseError as error:
                replies.append(error)
        return replies

    def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection to the node of the first one's key."""
        client = self._client()
        node = client.get_node_from_key(_key_of(first))
        pool = client.get_redis_connection(node).connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands([first, second]))
            return connection.read_response(), connection.read_response()
        except (errors.MovedError, errors.AskError, errors.ConnectionError, errors.TimeoutError):
            connection.disconnect()
            self.close()
            raise
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        with self._mutex:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _client(self) -> redis.RedisCluster:
        with self._mutex:
            if self._made is None:
                self._made = self._make()
            for node in self._made.get_nodes():
                if node.redis_connection is not None:
                    _raw(node.redis_connection.response_callbacks)
            return self._made


def _key_of(words: Command) -> Any:
    scripted = str(words[0]).upper() in ("EVAL", "EVALSHA", "FCALL")
    return words[3] if scripted else words[1]


def _raw(callbacks: Any) -> None:
    """Has a cluster client answer like the server, except to its own questions."""
    for name in list(callbacks):
        if not str(name).upper().startswith(("CLUSTER", "COMMAND", "INFO")):
            del callbacks[name]
