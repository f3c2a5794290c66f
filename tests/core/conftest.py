"""A deck on the shared Valkey, whose jobs are each in exactly one set when the test is over, and
the program on the same server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands import APP, Program
from tests.core.plant import Plant
from tests.core.serving import check_sets, new_deck
from tests.servers import Server

from qdeck import Deck


@pytest.fixture(scope="module")
def client(unix_valkey: Server) -> Iterator[Any]:
    """A client of a Valkey on a Unix socket, for scripts that are sent as they are."""
    connection = unix_valkey.client()
    yield connection
    connection.close()


@pytest.fixture
def plant(client: Any, prefix: str) -> Plant:
    """A fresh schedule."""
    return Plant(client, prefix)


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


@pytest.fixture
def qdeck(tmp_path: Path, valkey: Server, prefix: str) -> Program:
    """The program in a folder with an app of a user."""
    (tmp_path / "app.py").write_text(APP)
    return Program(tmp_path, {"REDIS_URL": valkey.url, "QUEUE_PREFIX": prefix})
