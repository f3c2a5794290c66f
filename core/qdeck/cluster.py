"""Lanes through redis-py's cluster client, which knows slots and redirections.

Owns what a lane needs beyond it: raw replies, and a pair of commands on one connection. redis-py
pipelines no scripts in a cluster, so commands go side by side; during the reshard of a live slot
its ASK may miss under load, so move slots atomically or with workers stopped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import redis
import redis.asyncio
from redis import exceptions as errors

from qdeck.lane import Command
from qdeck.wire import Word

__all__ = ["ClusterLane", "ClusterSyncLane"]


class ClusterLane:
    """A lane through redis-py's cluster client."""

    shared: ClassVar[bool] = False

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
            one = await _value(connection.read_response())
            two = await _value(connection.read_response())
        except BaseException:
            await connection.disconnect()
            await client.aclose()
            raise
        finally:
            node.release(connection)
        if isinstance(one, (errors.MovedError, errors.AskError)):
            await client.aclose()
        if isinstance(one, BaseException):
            raise one
        return one, two

    async def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to every primary; returns a reply each, errors as values."""
        await self._client.initialize()
        nodes = self._client.get_primaries()
        calls = [self._client.execute_command(*words, target_nodes=[node]) for node in nodes]
        return await asyncio.gather(*calls, return_exceptions=True)

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
            one = _value_sync(connection.read_response)
            two = _value_sync(connection.read_response)
        except BaseException:
            connection.disconnect()
            self._forget(client)
            raise
        finally:
            pool.release(connection)
        if isinstance(one, (errors.MovedError, errors.AskError)):
            self._forget(client)
        if isinstance(one, BaseException):
            raise one
        return one, two

    def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to every primary; returns a reply each, errors as values."""
        client = self._client()
        replies: list[Any] = []
        for node in client.get_primaries():
            try:
                replies.append(client.execute_command(*words, target_nodes=[node]))
            except errors.ResponseError as error:
                replies.append(error)
        return replies

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

    def _forget(self, client: redis.RedisCluster) -> None:
        """Has the next call learn the slots anew; other threads finish on the old client."""
        with self._mutex:
            if self._made is client:
                self._made = None


async def _value(reading: Awaitable[Any]) -> Any:
    try:
        return await reading
    except errors.ResponseError as error:
        return error


def _value_sync(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except errors.ResponseError as error:
        return error


def _key_of(words: Command) -> Any:
    scripted = str(words[0]).upper() in ("EVAL", "EVALSHA", "FCALL")
    return words[3] if scripted else words[1]


def _raw(callbacks: Any) -> None:
    """Has a cluster client answer like the server, except to its own questions."""
    for name in list(callbacks):
        if not str(name).upper().startswith(("CLUSTER", "COMMAND")):
            del callbacks[name]
