"""redis-py clients for every kind of address, with its own retries switched off.

Owns what is passed to redis-py; keeps no client. redis-py's default of 10 silent retries would
repeat calls that must not be repeated, also inside its Sentinel and Cluster classes.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Protocol

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.cluster
import redis.retry
import redis.sentinel
from redis.backoff import NoBackoff

from qdeck.address import Address

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = [
    "ABSENT",
    "SOCKET_TIMEOUT",
    "AsyncClient",
    "LocalServer",
    "SyncClient",
    "async_client",
    "sentinel",
    "sync_client",
    "sync_sentinel",
]

AsyncClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.RedisCluster"
SyncClient: TypeAlias = "redis.Redis | redis.RedisCluster"

SOCKET_TIMEOUT = 5.0
"""Seconds that connecting, and one reply, may take."""
_MAX_CONNECTIONS = 1000
ABSENT = (ConnectionRefusedError, FileNotFoundError, ConnectionResetError)
"""How a local server that does not run shows itself to who connects."""


class LocalServer(Protocol):
    """A server that this process starts: `SharedServer` or `PrivateServer`."""

    @property
    def path(self) -> str: ...
    def acquire(self, holder: object) -> str: ...
    def revive(self, holder: object) -> str: ...
    def release(self, holder: object) -> None: ...


class _AsyncLocal(redis.asyncio.UnixDomainSocketConnection):
    """A connection that joins a local server's users first, and starts the server if it is gone."""

    def __init__(self, *, server: LocalServer, holder: object, **kwargs: Any) -> None:
        self._server = server
        self._holder = holder
        super().__init__(**kwargs)

    async def _connect(self) -> None:
        self.path = await asyncio.to_thread(self._server.acquire, self._holder)
        try:
            await self._open()
        except ABSENT:
            self.path = await asyncio.to_thread(self._server.revive, self._holder)
            await self._open()

    async def _open(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            self._reader, self._writer = await asyncio.open_unix_connection(path=self.path)


class _SyncLocal(redis.UnixDomainSocketConnection):
    """The same for the blocking client."""

    def __init__(self, *, server: LocalServer, holder: object, **kwargs: Any) -> None:
        self._server = server
        self._holder = holder
        redis.UnixDomainSocketConnection.__init__(self, **kwargs)

    def _connect(self) -> Any:
        self.path = self._server.acquire(self._holder)
        try:
            return redis.UnixDomainSocketConnection._connect(self)
        except ABSENT:
            self.path = self._server.revive(self._holder)
            return redis.UnixDomainSocketConnection._connect(self)


class _AsyncCluster(redis.asyncio.RedisCluster):
    """A client whose `aclose` closes its nodes also after an error, when redis-py forgets to."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")


class _AsyncSentinel(redis.asyncio.Redis):
    """A client that closes its connections to the sentinels too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for watcher in pool.sentinel_manager.sentinels:
            await watcher.aclose()


class _SyncSentinel(redis.Redis):
    """The same for the blocking client."""

    def close(self) -> None:
        redis.Redis.close(self)
        pool: Any = self.connection_pool
        for watcher in pool.sentinel_manager.sentinels:
            watcher.close()


def async_client(
    address: Address,
    *,
    server: LocalServer | None = None,
    holder: object = None,
    timeout: float = SOCKET_TIMEOUT,
) -> AsyncClient:
    """Builds an asyncio client that is not connected yet; `timeout` is of one reply."""
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    options = _options(address, timeout) | {"retry": retry}
    if server is not None:
        pool = redis.asyncio.ConnectionPool(
            connection_class=_AsyncLocal, server=server, holder=holder, **options
        )
        return redis.asyncio.Redis.from_pool(pool)
    if address.kind == "cluster":
        nodes = [redis.asyncio.cluster.ClusterNode(host, port) for host, port in address.hosts]
        return _AsyncCluster(
            startup_nodes=nodes, ssl=address.tls, **_without(options, "db", "max_connections")
        )
    if address.kind == "sentinel":
        watch = sentinel(address)
        client: AsyncClient = watch.master_for(
            address.service, _AsyncSentinel, ssl=address.tls, **options
        )
        return client
    if address.kind == "unix":
        unix = redis.asyncio.UnixDomainSocketConnection
        pool = redis.asyncio.ConnectionPool(connection_class=unix, path=address.path, **options)
        return redis.asyncio.Redis.from_pool(pool)
    kind = redis.asyncio.SSLConnection if address.tls else redis.asyncio.Connection
    host, port = address.hosts[0]
    pool = redis.asyncio.ConnectionPool(connection_class=kind, host=host, port=port, **options)
    return redis.asyncio.Redis.from_pool(pool)


def sync_client(
    address: Address,
    *,
    server: LocalServer | None = None,
    holder: object = None,
    timeout: float = SOCKET_TIMEOUT,
) -> SyncClient:
    """Builds a thread-safe blocking client that is not connected yet.

    A cluster's client connects at once, since redis-py learns the slots in its constructor.
    """
    retry = redis.retry.Retry(NoBackoff(), 0)
    options = _options(address, timeout) | {"retry": retry}
    if server is not None:
        pool = redis.ConnectionPool(
            connection_class=_SyncLocal, server=server, holder=holder, **options
        )
        return redis.Redis.from_pool(pool)
    if address.kind == "cluster":
        nodes = [redis.cluster.ClusterNode(host, port) for host, port in address.hosts]
        return redis.RedisCluster(
            startup_nodes=nodes, ssl=address.tls, **_without(options, "db", "max_connections")
        )
    if address.kind == "sentinel":
        watch = sync_sentinel(address)
        client: SyncClient = watch.master_for(
            address.service, _SyncSentinel, ssl=address.tls, **options
        )
        return client
    if address.kind == "unix":
        unix = redis.UnixDomainSocketConnection
        pool = redis.ConnectionPool(connection_class=unix, path=address.path, **options)
        return redis.Redis.from_pool(pool)
    kind = redis.SSLConnection if address.tls else redis.Connection
    host, port = address.hosts[0]
    pool = redis.ConnectionPool(connection_class=kind, host=host, port=port, **options)
    return redis.Redis.from_pool(pool)


def sentinel(address: Address) -> redis.asyncio.sentinel.Sentinel:
    """Builds the asyncio watchers of a sentinel address."""
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    options = _sentinel_options(address) | {"retry": retry}
    return redis.asyncio.sentinel.Sentinel(list(address.hosts), sentinel_kwargs=options)


def sync_sentinel(address: Address) -> redis.sentinel.Sentinel:
    """Builds the blocking watchers of a sentinel address."""
    options = _sentinel_options(address) | {"retry": redis.retry.Retry(NoBackoff(), 0)}
    return redis.sentinel.Sentinel(list(address.hosts), sentinel_kwargs=options)


def _options(address: Address, timeout: float) -> dict[str, Any]:
    # RESP2: scripts answer the same in both, and the handshake is shorter.
    options: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "socket_timeout": timeout,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "max_connections": _MAX_CONNECTIONS,
        "driver_info": None,
        "client_name": f"qdeck-{os.getpid()}",
        "db": address.db,
        "username": address.username,
        "password": address.password,
    }
    given = dict(address.options)
    own = given.pop("socket_timeout", None)
    if isinstance(own, float):
        # A blocking client's longer timeout stays longer by as much.
        options["socket_timeout"] = timeout - SOCKET_TIMEOUT + own
    return options | given


def _sentinel_options(address: Address) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "protocol": 2,
        "ssl": address.tls,
    }
    tls = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
    return options | tls | dict(address.sentinel_options)


def _without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}
