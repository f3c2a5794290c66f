"""What tests of workers share: decks on a real server, workers beside a test, and invariants."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.servers import Server

from qdeck import Deck
from qdeck.job import Job, State
from qdeck.keys import FIXED
from qdeck.worker import Worker

__all__ = [
    "SETS",
    "check_sets",
    "eventually",
    "finished",
    "log_of",
    "new_deck",
    "serving",
    "state_of",
]

SETS = ("ready", "scheduled", "retrying", "lease", "completed", "dead", "cancelled")
PATIENCE = 60.0


@contextlib.asynccontextmanager
async def new_deck(url: str, prefix: str, **options: Any) -> AsyncIterator[Deck]:
    """Opens a deck whose retries wait no time, and closes it."""
    options = {"retry_backoff": 0, "block_timeout": 0.5, "grace": 20} | options
    async with Deck(url, prefix=prefix, **options) as deck:
        yield deck


@contextlib.asynccontextmanager
async def serving(deck: Deck, *queues: str, **options: Any) -> AsyncIterator[Worker]:
    """Runs a worker beside the test and stops it at the end."""
    worker = deck.worker(list(queues) or None, **({"concurrency": 5} | options))
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await asyncio.wait([task], timeout=0)
        if not task.done():
            await worker.stop()
        await task


async def eventually(what: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Waits until `what()` (or what it awaits) is true, and returns it."""
    end = time.monotonic() + patience
    while True:
        found = what()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"not reached within {patience:.0f} s"
        await asyncio.sleep(0.01)


async def log_of(deck: Deck, job: Job[Any]) -> list[tuple[str, str]]:
    """Returns (level, text) of a job's log."""
    found = []
    for _, flat in await deck.call("XRANGE", deck.keys(job.queue).log(job.id), "-", "+"):
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        found.append((fields[b"l"].decode(), fields[b"x"].decode()))
    return found


async def state_of(deck: Deck, job: Job[Any]) -> State:
    """Returns the state of a job now."""
    found = await deck.job(job.id, queue=job.queue)
    assert found is not None
    return found.state


async def finished(deck: Deck, job: Job[Any], patience: float = PATIENCE) -> Job[Any]:
    """Waits until a job is finished and returns it as it then stands."""

    async def ended() -> Job[Any] | None:
        found = await deck.job(job.id, queue=job.queue)
        return found if found is not None and found.state.finished else None

    done: Job[Any] = await eventually(ended, patience)
    return done


def check_sets(server: Server, prefix: str) -> dict[str, int]:
    """Checks that every job of a prefix is in exactly one set; returns how many are in each."""
    counts = dict.fromkeys((*SETS, "held"), 0)
    with server.client() as client:
        where: dict[bytes, list[str]] = {}
        records = set()
        for key in client.scan_iter(match=f"{{{prefix}:*", count=1000):
            suffix = key.decode().split("}:", 1)[1]
            kind = suffix.split(":", 1)[0]
            if kind == "j":
                records.add(suffix[2:].encode())
            elif suffix in SETS or kind == "held":
                assert suffix not in FIXED or client.type(key) == b"zset"
                members: Any = client.zrange(key, 0, -1)
                counts[kind] += len(members)
                for member in members:
                    where.setdefault(member, []).append(suffix)
    doubled = {job: sets for job, sets in where.items() if len(sets) != 1}
    assert doubled == {}
    assert records == set(where)
    return counts
