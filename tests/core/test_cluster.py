"""Lanes to a cluster of three real nodes: slots, redirections, nodes that vanish."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis import exceptions as errors
from redis.crc import key_slot
from tests.servers import Cluster, Server, settings_for, wait_until

from qdeck.cluster import ClusterLane, ClusterSyncLane
from qdeck.connection import Connector, repeat, repeat_sync
from qdeck.slots import SlotMap, slot_of


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """A cluster that these tests may rearrange."""
    nodes = Cluster()
    yield nodes
    nodes.close()


def lanes(cluster: Cluster) -> tuple[ClusterLane, ClusterSyncLane]:
    """Returns fresh lanes of both kinds."""
    address = settings_for(cluster.url).address
    return ClusterLane(address), ClusterSyncLane(address)


def identity(cluster: Cluster, node: int) -> bytes:
    """Returns a node's own id."""
    return bytes(cluster.nodes[node].ask("CLUSTER", "MYID"))


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("GET", "a{b}c"), b"b"),
        ((b"GET", b"k"), b"k"),
        (("EVALSHA", "f" * 40, 1, "{x}y", "arg"), b"x"),
        (("EVAL", "return 1", "2", "k1", "k2"), b"k1"),
        (("XREAD", "COUNT", 1, "STREAMS", "s", "0"), b"s"),
        (("XINFO", "STREAM", "s"), b"s"),
        (("object", "encoding", "o"), b"o"),
    ],
)
def test_a_command_belongs_to_the_slot_of_its_key(words: tuple[str, ...], key: bytes) -> None:
    assert slot_of(words) == key_slot(key)


@pytest.mark.parametrize("words", [("PING",), ("INFO", "all"), ("EVAL", "return 1", 0), ("MULTI",)])
def test_a_command_without_a_key_has_no_slot(words: tuple[str, ...]) -> None:
    assert slot_of(words) is None


def test_a_slot_that_nobody_serves_is_told() -> None:
    reply = [[0, 99, [b"", 7000, b"id"]], [200, 16383, [b"h", 7001, b"id"]]]
    slots = SlotMap(reply, ("asked", 1))
    assert slots.owner(99) == ("asked", 7000)
    assert slots.owner(16383) == ("h", 7001)
    for orphan in (100, 199):
        with pytest.raises(errors.ClusterDownError):
            slots.owner(orphan)
    slots.move(100, ("m", 3))
    assert slots.owner(100) == ("m", 3)
    assert slots.primaries == [("asked", 7000), ("h", 7001), ("m", 3)]
    assert SlotMap([], ("a", 1)).primaries == []


async def test_queues_lie_on_the_node_they_are_pinned_to(cluster: Cluster, prefix: str) -> None:
    lane, sync = lanes(cluster)
    for node in range(3):
        queue = cluster.queue_on(node, prefix)
        await lane.call("SET", f"{{{prefix}:{queue}}}k", node)
        assert cluster.nodes[node].ask("GET", f"{{{prefix}:{queue}}}k") == b"%d" % node
        assert await asyncio.to_thread(sync.call, "GET", f"{{{prefix}:{queue}}}k") == b"%d" % node
    assert len(await lane.call_everywhere("INFO")) == 3
    assert len(await asyncio.to_thread(sync.call_everywhere, "INFO")) == 3
    await lane.aclose()
    sync.close()


async def test_many_commands_keep_their_order_over_nodes(cluster: Cluster, prefix: str) -> None:
    lane, sync = lanes(cluster)
    commands = [("SET", f"{prefix}{number}", number) for number in range(50)]
    assert await lane.call_many(commands) == [b"OK"] * 50
    asked = [("GET", f"{prefix}{number}") for number in range(50)]
    asked.insert(10, ("HGET", f"{prefix}1"))
    found = await lane.call_many(asked)
    assert isinstance(found.pop(10), errors.ResponseError)
    assert found == [b"%d" % number for number in range(50)]
    found = await asyncio.to_thread(sync.call_many, asked)
    assert isinstance(found.pop(10), errors.ResponseError)
    assert found == [b"%d" % number for number in range(50)]
    await lane.aclose()
    sync.close()


async def test_keys_of_two_slots_are_refused_by_the_server(cluster: Cluster, prefix: str) -> None:
    lane, sync = lanes(cluster)
    words = ("EVAL", "return 1", 2, f"{{{prefix}a}}", f"{{{prefix}b}}")
    with pytest.raises(errors.ResponseError, match="slot"):
        await lane.call(*words)
    await lane.aclose()
    sync.close()


async def test_a_slot_that_moved_is_followed(own: Cluster, prefix: str) -> None:
    lane, sync = lanes(own)
    queue = own.queue_on(0, prefix)
    key = f"{{{prefix}:{queue}}}k"
    slot = key_slot(key.encode())
    assert await lane.call("SET", key, 1) == b"OK"
    assert await asyncio.to_thread(sync.call, "DEL", key) == 1
    for node in (2, 0, 1):
        own.nodes[node].ask("CLUSTER", "SETSLOT", slot, "NODE", identity(own, 2))
    assert await lane.call("INCR", key) == 1
    assert await lane.call_pair(("INCR", key), ("GET", key)) == (2, b"2")
    assert await asyncio.to_thread(sync.call, "INCR", key) == 3
    assert await asyncio.to_thread(sync.call_many, [("INCR", key), ("PING",)]) == [4, b"PONG"]
    assert own.nodes[2].ask("GET", key) == b"4"
    late, late_sync = lanes(own)
    assert await late.call_many([("GET", key), ("PING",)]) == [b"4", b"PONG"]
    assert await asyncio.to_thread(late_sync.call_pair, ("GET", key), ("PING",)) == (b"4", b"PONG")
    for one in (lane, late):
        await one.aclose()
    for blocking in (sync, late_sync):
        blocking.close()


async def test_a_slot_on_the_move_is_asked_for_over_one_connection(
    own: Cluster, prefix: str
) -> None:
    lane, sync = lanes(own)
    queue = own.queue_on(1, prefix)
    key = f"{{{prefix}:{queue}}}k"
    slot = key_slot(key.encode())
    own.nodes[0].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", identity(own, 1))
    own.nodes[1].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", identity(own, 0))
    try:
        replies = await asyncio.gather(*(lane.call("INCR", key) for _ in range(40)))
        assert sorted(replies) == list(range(1, 41))
        assert await lane.call_many([("INCR", key), ("GET", key)]) == [41, b"41"]
        assert await asyncio.to_thread(sync.call, "INCR", key) == 42
        assert await asyncio.to_thread(sync.call_many, [("INCR", key)]) == [43]
        assert isinstance((await lane.call_many([("HGET", key, "f")]))[0], errors.ResponseError)
        with pytest.raises(errors.ResponseError, match="WRONGTYPE"):
            await lane.call("HGET", key, "f")
        with pytest.raises(errors.ResponseError, match="WRONGTYPE"):
            await asyncio.to_thread(sync.call, "HGET", key, "f")
    finally:
        own.nodes[0].ask("CLUSTER", "SETSLOT", slot, "STABLE")
        own.nodes[1].ask("CLUSTER", "SETSLOT", slot, "STABLE")
    await lane.aclose()
    sync.close()


async def test_a_node_that_comes_back_is_found_again(own: Cluster, prefix: str) -> None:
    lane, sync = lanes(own)
    connector = Connector(settings_for(own.url))
    keys = [f"{{{prefix}:{own.queue_on(node, prefix)}}}k" for node in range(3)]
    for key in keys:
        await lane.call("SET", key, 1)
        await asyncio.to_thread(sync.call, "GET", key)
    await connector.ensure()
    own.nodes[0].kill()
    with pytest.raises((errors.ConnectionError, OSError)):
        await lane.call("GET", keys[0])
    with pytest.raises((errors.ConnectionError, OSError)):
        await asyncio.to_thread(sync.call, "GET", keys[0])
    assert str(connector.translate(errors.ConnectionError("x"))).startswith("cannot reach redis+cl")
    waiting = asyncio.create_task(repeat(lambda: lane.call("SET", keys[0], 2), limit=60))
    await asyncio.to_thread(own.nodes[0].start)
    assert await waiting == b"OK"
    assert await asyncio.to_thread(repeat_sync, lambda: sync.call("GET", keys[0]), limit=60) == b"2"
    client = connector.client()
    assert await repeat(lambda: client.execute_command("GET", keys[0]), limit=60) == b"2"
    await lane.aclose()
    sync.close()
    await connector.aclose()
    await asyncio.to_thread(connector.close)

    def whole() -> bool:
        return all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in own.nodes)

    await asyncio.to_thread(wait_until, whole)


async def test_no_node_at_all_is_a_connection_error() -> None:
    address = settings_for("redis+cluster://127.0.0.1:1,127.0.0.1:2").address
    with pytest.raises(errors.ConnectionError, match="no node"):
        await ClusterLane(address).call("GET", "a")
    with pytest.raises(errors.ConnectionError, match="no node"):
        await asyncio.to_thread(ClusterSyncLane(address).call, "GET", "a")


async def test_a_single_server_is_no_cluster_and_says_so() -> None:
    with Server() as server:
        address = settings_for(f"redis+cluster://127.0.0.1:{server.port}").address
        lane = ClusterLane(address)
        with pytest.raises(errors.ResponseError, match="cluster support disabled"):
            await lane.call("GET", "a")
        await lane.aclose()
