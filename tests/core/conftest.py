"""A deck on the shared Valkey, whose jobs are each in exactly one set when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.core.serving import check_sets, new_deck
from tests.servers import Server

from qdeck import Deck


@pytest.fixture
async def deck(valkey: Server, prefix: str) -> AsyncIterator[Deck]:
    async with new_deck(valkey.url, prefix) as deck:
        yield deck
    check_sets(valkey, prefix)


@pytest.fixture
async def healthy(deck: Deck) -> Callable[[], Awaitable[None]]:
    """Checks that a worker of the deck still runs jobs."""

    @deck.task
    async def ping() -> str:
        return "pong"

    async def check() -> None:
        assert await deck.result((await ping.enqueue()).id, timeout=30) == "pong"

    return check
