"""Lanes: replies to their callers, errors to all who wait, a new connection after each error."""

from __future__ import annotations

import asyncio
import threading

import pytest
from redis import exceptions as errors
from tests.proxies import CuttingProxy
from tests.servers import Server, finish, settings_for

from qdeck.connection import Connector, repeat, repeat_sync
from qdeck.errors import QdeckError

SHORT = "?socket_timeout=0.4&socket_connect_timeout=0.4"


async def test_concurrent_callers_get_their_own_replies(deck_url: str, prefix: str) -> None:
    connector = Connector(settings_for(deck_url))
    lane = connector.lane()

    async def ask(number: int) -> bool:
        key = f"{prefix}:{number}"
        await lane.call("SET", key, number)
        return bool(await lane.call("GET", key) == b"%d" % number)

    assert all(await asyncio.gather(*(ask(number) for number in range(300))))
    await finish(connector)


async def test_threads_share_a_blocking_lane(deck_url: str, prefix: str) -> None:
    connector = Connector(settings_for(deck_url))
    lane = connector.sync_lane()
    wrong: list[int] = []

    def ask(number: int) -> None:
        for turn in range(50):
            lane.call("SET", f"{prefix}:{number}", turn)
            if lane.call("GET", f"{prefix}:{number}") != b"%d" % turn:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert wrong == []
    await finish(connector)


async def test_a_cancelled_caller_does_not_shift_the_replies_of_others(
    valkey: Server, prefix: str
) -> None:
    connector = Connector(settings_for(valkey.url))
    lane = connector.lane()
    await lane.call("PING")
    calls = [asyncio.create_task(lane.call("ECHO", number)) for number in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert replies[1::2] == [b"%d" % number for number in range(1, 20, 2)]
    assert await lane.call("ECHO", "after") == b"after"
    await finish(connector)


async def test_all_that_wait_on_a_cut_lane_are_told(proxy: CuttingProxy, prefix: str) -> None:
    connector = Connector(settings_for(proxy.url))
    lane = connector.lane()
    await lane.call("PING")
    proxy.black_hole()
    calls = [asyncio.create_task(lane.call("ECHO", number)) for number in range(5)]
    await asyncio.sleep(0.05)
    await asyncio.to_thread(proxy.cut)
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(reply, errors.ConnectionError) for reply in replies)
    proxy.heal()
    assert await repeat(lambda: lane.call("PING")) == b"PONG"
    await finish(connector)


async def test_a_silent_server_is_a_timeout_and_then_a_new_connection(
    proxy: CuttingProxy,
) -> None:
    connector = Connector(settings_for(proxy.url + SHORT))
    lane, sync = connector.lane(), connector.sync_lane()
    assert await lane.call("PING") == b"PONG"
    assert await asyncio.to_thread(sync.call, "PING") == b"PONG"
    proxy.black_hole()
    with pytest.raises(errors.TimeoutError):
        await lane.call("PING")
    with pytest.raises(errors.TimeoutError):
        await asyncio.to_thread(sync.call, "PING")
    with pytest.raises(errors.TimeoutError):
        await connector.client().ping()
    proxy.heal()
    assert await repeat(lambda: lane.call("PING")) == b"PONG"
    assert await asyncio.to_thread(repeat_sync, lambda: sync.call("PING")) == b"PONG"
    assert await connector.client().ping()
    await finish(connector)


async def test_a_wrong_reply_is_in_qdecks_words(valkey: Server, prefix: str) -> None:
    connector = Connector(settings_for(valkey.url))
    await connector.lane().call("SET", f"{prefix}:s", "x")
    with pytest.raises(errors.ResponseError) as caught:
        await connector.lane().call("HGET", f"{prefix}:s", "f")
    told = connector.translate(caught.value)
    assert type(told) is QdeckError
    assert "WRONGTYPE" in str(told)
    with pytest.raises(errors.NoScriptError):
        await connector.lane().call("EVALSHA", "0" * 40, 0)
    with pytest.raises(errors.NoScriptError):
        await asyncio.to_thread(connector.sync_lane().call, "EVALSHA", "0" * 40, 0)
    await finish(connector)


async def test_many_commands_of_one_call_share_its_fate(proxy: CuttingProxy, prefix: str) -> None:
    connector = Connector(settings_for(proxy.url))
    lane, sync = connector.lane(), connector.sync_lane()
    commands = [("SET", prefix, 1), ("INCR", prefix), ("GET", prefix)]
    assert await lane.call_many(commands) == [b"OK", 2, b"2"]
    proxy.cut_after(lambda words: words[0] == b"INCR", times=2)
    with pytest.raises(errors.ConnectionError):
        await lane.call_many(commands)
    with pytest.raises(errors.ConnectionError):
        await asyncio.to_thread(sync.call_many, commands)
    assert await lane.call_many(commands) == [b"OK", 2, b"2"]
    assert await asyncio.to_thread(sync.call_many, commands) == [b"OK", 2, b"2"]
    with pytest.raises(errors.ResponseError):
        await lane.call_pair(("HGET", prefix, "f"), ("PING",))
    with pytest.raises(errors.ResponseError):
        await asyncio.to_thread(sync.call_pair, ("HGET", prefix, "f"), ("PING",))
    one, two = await lane.call_pair(("PING",), ("HGET", prefix, "f"))
    assert one == b"PONG"
    assert isinstance(two, errors.ResponseError)
    await finish(connector)


async def test_a_silent_server_ends_many_commands_too(proxy: CuttingProxy) -> None:
    connector = Connector(settings_for(proxy.url + SHORT))
    lane, sync = connector.lane(), connector.sync_lane()
    await lane.call("PING")
    await asyncio.to_thread(sync.call, "PING")
    proxy.black_hole()
    with pytest.raises(errors.TimeoutError):
        await lane.call_many([("PING",), ("PING",)])
    with pytest.raises(errors.TimeoutError):
        await asyncio.to_thread(sync.call_many, [("PING",)])
    with pytest.raises(errors.TimeoutError):
        await asyncio.to_thread(connector.new_sync_lane().call, "PING")
    proxy.heal()
    await finish(connector)


async def test_a_cancelled_call_of_many_leaves_no_error_behind(
    proxy: CuttingProxy,
) -> None:
    connector = Connector(settings_for(proxy.url))
    lane = connector.lane()
    await lane.call("PING")
    proxy.black_hole()
    call = asyncio.create_task(lane.call_many([("PING",), ("PING",)]))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    proxy.heal()
    assert await lane.call("ECHO", "own") == b"own"
    await finish(connector)


async def test_a_demoted_primary_is_left_for_a_new_connection(prefix: str) -> None:
    with Server() as server:
        connector = Connector(settings_for(server.url))
        lane, sync = connector.lane(), connector.sync_lane()
        first = await lane.call("CLIENT", "ID")
        first_sync = await asyncio.to_thread(sync.call, "CLIENT", "ID")
        server.ask("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(errors.ReadOnlyError):
            await lane.call("SET", "k", 1)
        with pytest.raises(errors.ReadOnlyError):
            await asyncio.to_thread(sync.call, "SET", "k", 1)
        server.ask("REPLICAOF", "NO", "ONE")
        assert await lane.call("CLIENT", "ID") > first
        assert await asyncio.to_thread(sync.call, "CLIENT", "ID") > first_sync
        await finish(connector)


async def test_a_closed_lane_opens_again(valkey: Server) -> None:
    connector = Connector(settings_for(valkey.url))
    lane = connector.new_lane()
    assert await lane.call("PING") == b"PONG"
    await lane.aclose()
    await lane.aclose()
    assert await lane.call("PING") == b"PONG"
    await lane.aclose()
    await finish(connector)


async def test_a_server_of_another_protocol_is_told() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connector = Connector(settings_for(f"redis://127.0.0.1:{port}/0"))
    with pytest.raises(errors.InvalidResponse):
        await connector.lane().call("PING")
    with pytest.raises((errors.InvalidResponse, errors.ConnectionError)):
        await asyncio.to_thread(connector.sync_lane().call, "PING")
    server.close()
    await server.wait_closed()
    await finish(connector)
