"""Connections to every kind of server."""

from __future__ import annotations

import asyncio

import redis
import redis.asyncio
from tests.servers import settings_for

from qdeck.connection import Connector


async def test_every_kind_of_server_answers_all_four_ways(deck_url: str, prefix: str) -> None:
    connector = Connector(settings_for(deck_url))
    key = f"{prefix}:a"
    facts = await connector.ensure()
    assert facts.family in ("valkey", "redis")
    assert facts.policy == "noeviction"
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
    assert await lane.call_pair(("SET", key, "4"), ("GET", key)) == (b"OK", b"4")
    pair = await asyncio.to_thread(sync.call_pair, ("HSET", f"{key}:h", "f", "v"), ("WAIT", 0, 1))
    assert pair == (1, 0)
    assert await lane.call("HGETALL", f"{key}:h") == [b"f", b"v"]
    assert await asyncio.to_thread(sync.call, "HGETALL", f"{key}:h") == [b"f", b"v"]
    await connector.aclose()
    await asyncio.to_thread(connector.close)
