"""Limits of a queue and pauses of a task over four worker processes, some of which are killed."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

from tests.core.apps import tied
from tests.core.crew import Crew, crew
from tests.core.serving import check_sets, eventually, new_deck
from tests.core.test_keys import forget, name
from tests.servers import Server

from qdeck import Deck
from qdeck import queue as verbs


async def drained(server: Server, deck: Deck, size: int, workers: Crew, kills: int) -> None:
    """Kill a worker now and then until all jobs have completed."""
    dice = random.Random(3)
    deadline = time.monotonic() + 150
    done = deck.keys("first").completed
    while int(server.ask("ZCARD", done)) < size:
        assert time.monotonic() < deadline, workers.log()[-5000:]
        await asyncio.sleep(0.4)
        if kills:
            victim = dice.choice(workers.living)
            workers.end(victim)
            forget(server, deck.settings.prefix, 1, victim.pid)
            workers.start("-c", "6")
            kills -= 1


async def test_a_limit_of_a_queue_holds_exactly_under_four_workers_that_are_killed(
    valkey: Server, prefix: str, tmp_path: Path
) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        for task in tied.deck.registry:
            deck.registry.add(task)
        await deck.execute(verbs.limit(deck.keys("first"), 5, None))
        bill = tied.bill.options(limit_key="")
        await deck.enqueue_many(bill.call(0, n % 40) for n in range(400))
        with crew(valkey, prefix, tmp_path, lease=1.5, app="tied") as workers:
            for _ in range(4):
                workers.start("-c", "6")
            await drained(valkey, deck, 400, workers, 6)
        assert int(valkey.ask("ZSCORE", name(prefix, "most"), 0)) == 5
        assert check_sets(valkey, prefix)["completed"] == 400


async def test_a_rate_holds_over_four_workers(valkey: Server, prefix: str, tmp_path: Path) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        for task in tied.deck.registry:
            deck.registry.add(task)
        await deck.execute(verbs.limit(deck.keys("first"), None, 20))
        await deck.enqueue_many(tied.free.call(n) for n in range(80))
        with crew(valkey, prefix, tmp_path, lease=5, app="tied") as workers:
            for _ in range(4):
                workers.start("-c", "6")
            await drained(valkey, deck, 80, workers, 0)
        found = valkey.ask("ZRANGE", deck.keys("first").completed, 0, -1, "WITHSCORES")
        ended = sorted(float(score) for score in found[1::2])
        # A second's worth may start at once; then 20 a second start, whoever claims them.
        for at in range(len(ended) - 50):
            assert ended[at + 50] - ended[at] > 1000


async def test_a_pause_of_a_task_holds_exactly_under_four_workers_that_are_killed(
    valkey: Server, prefix: str, tmp_path: Path
) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        for task in tied.deck.registry:
            deck.registry.add(task)
        admin, keys = deck.admin("eve"), deck.keys("first")
        bill = tied.bill.options(limit_key="")
        calls: list[Any] = [bill.call(0, 20) for _ in range(500)]
        await deck.enqueue_many(calls)
        with crew(valkey, prefix, tmp_path, lease=1.5, app="tied") as workers:
            for _ in range(4):
                workers.start("-c", "6")
            await eventually(lambda: int(valkey.ask("ZCARD", keys.completed)) > 60)
            await admin.pause("first", task="bill")
            begun = await settled(valkey, prefix, keys.lease)
            await deck.enqueue_many([*(bill.call(0, 20) for _ in range(50)), *free(150)])
            await drained_of(valkey, deck, workers)
            assert int(valkey.ask("LLEN", name(prefix, "order:0"))) == begun
            await admin.resume("first", task="bill")
            await drained(valkey, deck, 700, workers, 3)
        counts = check_sets(valkey, prefix)
        assert counts == dict.fromkeys(counts, 0) | {"completed": 700}


def free(count: int) -> list[Any]:
    """Return calls of a task that is not paused."""
    return [tied.free.call(n) for n in range(count)]


async def settled(server: Server, prefix: str, lease: str) -> int:
    """Wait until nothing runs; return how many runs have begun."""
    await eventually(lambda: int(server.ask("ZCARD", lease)) == 0)
    return int(server.ask("LLEN", name(prefix, "order:0")))


async def drained_of(server: Server, deck: Deck, workers: Crew) -> None:
    """Kill workers while the task that is not paused runs to its end."""
    dice = random.Random(4)
    for _ in range(3):
        workers.end(dice.choice(workers.living))
        workers.start("-c", "6")
        await asyncio.sleep(0.4)
    count = name(deck.settings.prefix, "free")
    await eventually(lambda: int(server.ask("SCARD", count)) == 150)
