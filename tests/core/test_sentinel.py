"""Fail-overs: a primary that is replaced on purpose, and one that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.servers import Sentinels, settings_for

from qdeck.connection import Connector, repeat, repeat_sync
from qdeck.errors import ConnectionFailed


@pytest.fixture
def three() -> Iterator[Sentinels]:
    """A primary, a replica and a sentinel of this test's own."""
    found = Sentinels()
    yield found
    found.close()


async def write_everywhere(connector: Connector, value: str) -> None:
    """Writes by every way there is, each repeated until it succeeds."""
    lane, sync = connector.lane(), connector.sync_lane()
    assert await repeat(lambda: lane.call("SET", "lane", value), limit=60) == b"OK"
    assert (
        await asyncio.to_thread(repeat_sync, lambda: sync.call("SET", "sync", value), limit=60)
        == b"OK"
    )
    client, blocking = connector.client(), connector.sync_client()

    async def by_client() -> object:
        return await client.set("client", value)

    assert await repeat(by_client, limit=60)
    assert await asyncio.to_thread(repeat_sync, lambda: blocking.set("blocking", value), limit=60)


async def test_connections_follow_a_fail_over_and_a_killed_primary(three: Sentinels) -> None:
    connector = Connector(settings_for(three.url))
    await connector.ensure()
    await write_everywhere(connector, "one")
    assert three.primary.ask("MGET", "lane", "sync", "client", "blocking") == [b"one"] * 4

    await asyncio.to_thread(three.fail_over)
    await write_everywhere(connector, "two")
    assert three.primary.ask("MGET", "lane", "sync", "client", "blocking") == [b"two"] * 4

    dead = three.primary
    dead.kill()
    await write_everywhere(connector, "three")
    assert three.primary is not dead
    assert three.primary.ask("MGET", "lane", "sync", "client", "blocking") == [b"three"] * 4
    await connector.aclose()
    await asyncio.to_thread(connector.close)


async def test_an_unknown_service_is_told(sentinels: Sentinels) -> None:
    connector = Connector(settings_for(sentinels.url.replace("/main/", "/other/")))
    for check in (connector.check, lambda: asyncio.to_thread(connector.check_sync)):
        with pytest.raises(ConnectionFailed, match="name no primary"):
            await check()
    await connector.aclose()
    await asyncio.to_thread(connector.close)
