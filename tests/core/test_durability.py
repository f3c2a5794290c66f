"""Writes that wait for a replica or for the disk."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import pytest
from redis import exceptions as errors
from tests.servers import Cluster, Server, finish, settings_for, wait_until

from qdeck.connection import Connector


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary with an append-only file, and its replica."""
    options = {"appendonly": "yes", "appendfsync": "everysec", "repl-diskless-sync-delay": 0}
    with Server(options=options) as primary:
        follow = {"replicaof": f"127.0.0.1 {primary.port}"}
        with Server(options=follow) as replica:
            wait_until(lambda: "master_link_status:up" in replica.ask("INFO").decode())
            wait_until(lambda: primary.ask("WAIT", 1, 100) == 1)
            yield primary, replica


@pytest.mark.parametrize("durability", ["replica", "fsync"])
async def test_a_confirmed_write_is_where_it_was_asked_for(
    pair: tuple[Server, Server], prefix: str, durability: str
) -> None:
    connector = Connector(settings_for(pair[0].url, durability=durability))
    link = connector.confirming()
    assert await link.call("SET", prefix, "x") == b"OK"
    assert link.shortfall is None
    if durability == "replica":
        assert pair[1].ask("GET", prefix) == b"x"
    else:
        assert int(pair[0].info()["aof_pending_bio_fsync"]) == 0
    blocking = connector.confirming_sync()
    assert await asyncio.to_thread(blocking.call, "INCR", f"{prefix}:n") == 1
    assert blocking.shortfall is None
    await finish(connector)


async def test_concurrent_writes_share_a_wait(pair: tuple[Server, Server], prefix: str) -> None:
    connector = Connector(settings_for(pair[0].url, durability="fsync"))

    def waits() -> int:
        stats = pair[0].info().get("cmdstat_waitaof", "calls=0,")
        return int(stats.partition("calls=")[2].partition(",")[0])

    before = waits()
    links = [connector.confirming() for _ in range(100)]
    replies = await asyncio.gather(*(link.call("INCR", prefix) for link in links))
    assert sorted(replies) == list(range(1, 101))
    assert all(link.shortfall is None for link in links)
    assert waits() - before <= 5
    await finish(connector)


async def test_the_errors_of_a_shared_wait_are_each_writers_own(
    pair: tuple[Server, Server], prefix: str
) -> None:
    connector = Connector(settings_for(pair[0].url, durability="replica"))
    good, bad = connector.confirming(), connector.confirming()
    replies = await asyncio.gather(
        good.call("SET", prefix, 1), bad.call("HSET", prefix), return_exceptions=True
    )
    assert replies[0] == b"OK"
    assert isinstance(replies[1], errors.ResponseError)
    await finish(connector)


async def test_a_cancelled_writer_disturbs_nobody(pair: tuple[Server, Server], prefix: str) -> None:
    connector = Connector(settings_for(pair[0].url, durability="replica"))
    links = [connector.confirming() for _ in range(6)]
    calls = [asyncio.create_task(link.call("INCR", prefix)) for link in links]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(reply, int) for reply in replies[1::2])
    await finish(connector)


async def test_too_few_replicas_fall_short_and_the_write_exists(
    valkey: Server, prefix: str
) -> None:
    connector = Connector(settings_for(valkey.url, durability="replica"))
    link, blocking = connector.confirming(), connector.confirming_sync()
    assert await link.call("SET", prefix, "x") == b"OK"
    assert link.shortfall == "no replica confirmed within 1.5 s"
    assert await asyncio.to_thread(blocking.call, "GET", prefix) == b"x"
    assert blocking.shortfall is not None
    await finish(connector)


@pytest.mark.parametrize("kind", ["valkey"] + ["debian_redis"] * bool(shutil.which("redis-server")))
async def test_a_server_without_a_file_falls_short_of_fsync(
    request: pytest.FixtureRequest, prefix: str, kind: str
) -> None:
    server: Server = request.getfixturevalue(kind)
    connector = Connector(settings_for(server.url, durability="fsync"))
    link = connector.confirming()
    assert await link.call("SET", prefix, "x") == b"OK"
    assert link.shortfall is not None
    assert "7.2 with appendonly yes" in link.shortfall
    await finish(connector)


async def test_an_unreachable_server_is_an_error_of_the_write() -> None:
    connector = Connector(settings_for("redis://127.0.0.1:1/0", durability="replica"))
    with pytest.raises(errors.ConnectionError):
        await connector.confirming().call("SET", "a", "b")
    await finish(connector)


async def test_each_node_of_a_cluster_confirms_its_own(cluster: Cluster, prefix: str) -> None:
    connector = Connector(settings_for(cluster.url, durability="replica"))
    links = [connector.confirming() for _ in range(3)]
    keys = [f"{{{prefix}:{cluster.queue_on(node, prefix)}}}k" for node in range(3)]
    calls = [link.call("SET", key, 1) for link, key in zip(links, keys, strict=True)]
    assert await asyncio.gather(*calls) == [b"OK"] * 3
    assert all(link.shortfall == "no replica confirmed within 1.5 s" for link in links)
    blocking = connector.confirming_sync()
    assert await asyncio.to_thread(blocking.call, "GET", keys[0]) == b"1"
    await finish(connector)
