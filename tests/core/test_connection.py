"""Connections to every kind of server: four ways to call, checks, forks, outages, lost replies."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import pytest
import redis
from redis import exceptions as errors
from tests.proxies import CuttingProxy, TlsProxy
from tests.servers import Cluster, Sentinels, Server, finish, settings_for, wait_until

from qdeck.connection import Connector, repeat, repeat_sync
from qdeck.errors import ConnectionFailed, SettingsError

SHORT = "?socket_timeout=0.4&socket_connect_timeout=0.4"


async def test_every_kind_of_server_answers_all_four_ways(deck_url: str, prefix: str) -> None:
    connector = Connector(settings_for(deck_url))
    key = f"{prefix}:a"
    facts = await connector.ensure()
    assert facts.family in ("valkey", "redis")
    assert facts.policy == "noeviction"
    assert facts.persistence == ("append-only file" if "embedded" in deck_url else "none")
    await connector.client().set(key, "1")
    lane = connector.lane()
    assert await lane.call("INCR", key) == 2
    assert await asyncio.to_thread(connector.ensure_sync) == facts
    sync = connector.sync_lane()
    assert await asyncio.to_thread(sync.call, "INCR", key) == 3
    assert await asyncio.to_thread(connector.sync_client().get, key) == b"3"
    value, error = await lane.call_many([("GET", key), ("HGET", key, "x")])
    assert value == b"3"
    assert isinstance(error, redis.ResponseError)
    value, error = await asyncio.to_thread(sync.call_many, [("GET", key), ("HGET", key, "x")])
    assert value == b"3"
    assert isinstance(error, redis.ResponseError)
    assert await lane.call_pair(("SET", key, "4"), ("GET", key)) == (b"OK", b"4")
    pair = await asyncio.to_thread(sync.call_pair, ("HSET", f"{key}:h", "f", "v"), ("WAIT", 0, 1))
    assert pair[0] == 1
    assert await lane.call("HGETALL", f"{key}:h") == [b"f", b"v"]
    assert await asyncio.to_thread(sync.call, "HGETALL", f"{key}:h") == [b"f", b"v"]
    await finish(connector)


async def test_every_kind_answers_a_blocking_read_on_a_client_of_its_own(
    deck_url: str, prefix: str
) -> None:
    connector = Connector(settings_for(deck_url))
    client = connector.blocking_client(1.0)
    blocked: asyncio.Future[Any] = asyncio.ensure_future(
        client.execute_command("BLPOP", f"{prefix}:list", 30)
    )
    await connector.lane().call("RPUSH", f"{prefix}:list", "x")
    assert (await blocked)[1] == b"x"
    await client.aclose()
    lane = connector.new_lane(1.0)
    waiting = asyncio.create_task(lane.call("BLPOP", f"{prefix}:list", 30))
    await connector.lane().call("RPUSH", f"{prefix}:list", "y")
    assert (await waiting)[1] == b"y"
    await lane.aclose()
    sync_lane = connector.new_sync_lane(1.0)
    assert await asyncio.to_thread(sync_lane.call, "BLPOP", f"{prefix}:list", 0.05) is None
    sync_lane.close()
    sync = await asyncio.to_thread(connector.blocking_sync_client, 1.0)
    assert await asyncio.to_thread(sync.blpop, [f"{prefix}:list"], 0.05) is None
    sync.close()
    await finish(connector)


async def test_a_lost_reply_is_an_error_and_no_silent_repeat(
    proxy: CuttingProxy, valkey: Server, prefix: str
) -> None:
    connector = Connector(settings_for(proxy.url))
    key = f"{prefix}:count"

    def matches(words: list[bytes]) -> bool:
        return words[0] == b"INCR"

    async def through_client() -> object:
        return await connector.client().execute_command("INCR", key)

    async def through_sync_client() -> object:
        return await asyncio.to_thread(connector.sync_client().execute_command, "INCR", key)

    async def through_lane() -> object:
        return await connector.lane().call("INCR", key)

    async def through_sync_lane() -> object:
        return await asyncio.to_thread(connector.sync_lane().call, "INCR", key)

    ways = [through_client, through_sync_client, through_lane, through_sync_lane]
    for number, way in enumerate(ways, 1):
        proxy.cut_after(matches)
        with pytest.raises((errors.ConnectionError, OSError)):
            await way()
        assert valkey.ask("GET", key) == b"%d" % number, "executed once, not repeated"
    assert proxy.cuts == len(ways)
    assert await connector.lane().call("GET", key) == b"4", "the next call has a new connection"
    await finish(connector)


async def test_a_frozen_server_is_not_asked_twice(prefix: str) -> None:
    with Server() as server:
        connector = Connector(settings_for(server.url + SHORT))
        await connector.client().ping()
        await connector.lane().call("PING")
        server.freeze()
        with pytest.raises(errors.TimeoutError):
            await connector.client().execute_command("INCR", "k")
        with pytest.raises(errors.TimeoutError):
            await connector.lane().call("INCR", "k")
        server.thaw()
        await asyncio.to_thread(wait_until, lambda: server.ask("GET", "k") == b"2")
        assert "calls=2," in server.info()["cmdstat_incr"]
        await finish(connector)


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
async def test_no_client_repeats_by_itself_in_a_cluster_or_behind_sentinels(kind: str) -> None:
    servers = Cluster() if kind == "cluster" else Sentinels(down_after=60_000)
    connector = Connector(settings_for(servers.url + SHORT))
    key = "k" if isinstance(servers, Sentinels) else f"{{x:{servers.queue_on(0, 'x')}}}"
    server = servers.primary if isinstance(servers, Sentinels) else servers.nodes[0]
    client, blocking = connector.client(), await asyncio.to_thread(connector.sync_client)
    lane, sync = connector.lane(), connector.sync_lane()
    ways: list[Callable[[], Awaitable[object]]] = [
        lambda: cast(Awaitable[object], cast(Any, client).execute_command("INCR", key)),
        lambda: asyncio.to_thread(blocking.execute_command, "INCR", key),
        lambda: lane.call("INCR", key),
        lambda: asyncio.to_thread(sync.call, "INCR", key),
    ]
    for way in ways:
        await way()
    server.freeze()
    for way in ways:
        with pytest.raises((errors.ConnectionError, errors.TimeoutError, OSError)):
            await way()
    server.thaw()
    await asyncio.to_thread(wait_until, lambda: int(server.ask("GET", key)) >= 2 * len(ways))
    assert f"calls={2 * len(ways)}," in server.info()["cmdstat_incr"]
    await finish(connector)
    servers.close()


async def test_clients_come_back_after_the_server_did(prefix: str) -> None:
    with Server(options={"appendonly": "yes", "appendfsync": "always"}) as server:
        connector = Connector(settings_for(server.url))
        lane, sync = connector.lane(), connector.sync_lane()
        await lane.call("SET", "k", "kept")
        await asyncio.to_thread(sync.call, "PING")
        server.kill()
        with pytest.raises((errors.ConnectionError, OSError)):
            await lane.call("GET", "k")
        with pytest.raises(ConnectionFailed, match="cannot reach redis://127"):
            await connector.check()
        waiting = asyncio.create_task(repeat(lambda: lane.call("GET", "k")))
        slow = asyncio.create_task(
            asyncio.to_thread(repeat_sync, lambda: sync.call("GET", "k"), limit=20.0)
        )
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        assert await waiting == b"kept"
        assert await slow == b"kept"
        assert await connector.client().get("k") == b"kept"
        assert connector.sync_client().get("k") == b"kept"
        await finish(connector)


async def test_a_tls_server_that_is_not_trusted_is_refused(tls: TlsProxy) -> None:
    for url in (f"rediss://localhost:{tls.port}/0", tls.url.replace("localhost", "127.0.0.2")):
        connector = Connector(settings_for(url))
        with pytest.raises(ConnectionFailed, match="ssl_ca_certs"):
            await connector.ensure()
        with pytest.raises(ConnectionFailed, match="ssl_ca_certs"):
            await asyncio.to_thread(connector.ensure_sync)
        await finish(connector)
    blind = Connector(settings_for(f"rediss://localhost:{tls.port}/0?ssl_cert_reqs=none"))
    assert (await blind.ensure()).version
    await finish(blind)


async def test_a_port_of_something_else_is_told(tls: TlsProxy) -> None:
    connector = Connector(settings_for(f"redis://127.0.0.1:{tls.port}/0"))
    with pytest.raises(ConnectionFailed):
        await connector.ensure()
    await finish(connector)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server with users: `boss` may do all, `viewer` may only read."""
    with Server() as server:
        server.ask("ACL", "SETUSER", "boss", "on", ">geheim", "~*", "&*", "+@all")
        server.ask("ACL", "SETUSER", "viewer", "on", ">geheim", "~*", "+@read", "+@connection")
        yield server


@pytest.mark.parametrize("login", ["boss:falsch", "nobody:falsch"])
async def test_a_refused_login_is_told_without_the_password(guarded: Server, login: str) -> None:
    untaken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: untaken.append(context))
    url = guarded.url.replace("127", f"{login}@127", 1)
    connector = Connector(settings_for(url))
    for check in (connector.ensure, lambda: asyncio.to_thread(connector.ensure_sync)):
        with pytest.raises(ConnectionFailed, match="refused the login") as caught:
            await check()
        assert "falsch" not in str(caught.value)
        assert "***" in str(caught.value)
    with pytest.raises((errors.AuthenticationError, errors.ResponseError)):
        await connector.lane().call("PING")
    gc.collect()
    assert not untaken, "an error that nobody takes is logged with its traceback"
    await finish(connector)


async def test_a_login_and_a_database_are_used(guarded: Server) -> None:
    connector = Connector(settings_for(f"redis://boss:geheim@127.0.0.1:{guarded.port}/3"))
    await connector.ensure()
    await connector.lane().call("SET", "a", "3")
    assert await asyncio.to_thread(connector.sync_lane().call, "GET", "a") == b"3"
    assert await connector.client().get("a") == b"3"
    assert guarded.ask("GET", "a") is None
    await finish(connector)


async def test_a_user_who_may_not_ask_gets_a_server_of_unknown_version(guarded: Server) -> None:
    connector = Connector(settings_for(f"redis://viewer:geheim@127.0.0.1:{guarded.port}/0"))
    facts = await connector.ensure()
    assert (facts.version, facts.policy, facts.persistence) == ((), "", "")
    assert "unknown" in str(facts)
    await finish(connector)


async def test_an_evicting_server_is_refused_unless_allowed() -> None:
    with Server(options={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}) as server:
        connector = Connector(settings_for(server.url))
        with pytest.raises(SettingsError, match=r"allkeys-lru.*allow_eviction"):
            await connector.ensure()
        with pytest.raises(SettingsError, match="allkeys-lru"):
            await asyncio.to_thread(connector.ensure_sync)
        await finish(connector)
        allowed = Connector(settings_for(server.url, allow_eviction=True))
        assert (await allowed.ensure()).policy == "allkeys-lru"
        await finish(allowed)


async def test_nothing_is_opened_before_the_first_use(tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("unused") / "data"
    connector = Connector(settings_for(f"embedded://{folder}"))
    connector.client()
    connector.lane()
    connector.sync_lane()
    assert not folder.exists()
    await finish(connector)


def test_sync_has_no_server_to_connect_to() -> None:
    with pytest.raises(SettingsError, match="sync"):
        Connector(settings_for("sync://"))


def test_each_event_loop_has_clients_of_its_own(valkey: Server) -> None:
    connector = Connector(settings_for(valkey.url))

    async def use() -> tuple[int, int]:
        assert await connector.lane().call("PING") == b"PONG"
        assert connector.lane() is connector.lane()
        assert await connector.client().ping()
        found = id(connector.lane()), id(connector.client())
        await connector.aclose()
        return found

    asyncio.run(use())
    asyncio.run(use())
    connector.close()


def _in_fork(connector: Connector, queue: multiprocessing.Queue[object]) -> None:
    queue.put(connector.sync_lane().call("ECHO", "child"))
    queue.put(connector.sync_client().ping())

    async def use() -> object:
        reply = await connector.lane().call("ECHO", "loop")
        await connector.aclose()
        return reply

    queue.put(asyncio.run(use()))
    connector.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_uses_no_connection_of_its_parent(valkey: Server) -> None:
    connector = Connector(settings_for(valkey.url))
    lane = connector.sync_lane()
    assert lane.call("ECHO", "before") == b"before"
    identity = lane.call("CLIENT", "ID")
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[object] = context.Queue()
    child = context.Process(target=_in_fork, args=(connector, queue))
    child.start()
    assert [queue.get(timeout=60) for _ in range(3)] == [b"child", True, b"loop"]
    child.join()
    queue.close()
    queue.join_thread()
    assert lane.call("ECHO", "after") == b"after"
    assert lane.call("CLIENT", "ID") == identity
    connector.close()
