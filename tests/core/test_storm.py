"""Chains, keys, schedules, bulk operations and pauses at once, while workers are killed."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.core.apps import tied
from tests.core.crew import Crew, crew
from tests.core.serving import check_sets, eventually, new_deck
from tests.core.test_keys import forget, name
from tests.servers import Server

from qdeck import Deck
from qdeck.admin import ScheduleSpec, Selection

CHAINS, BILLS, CUSTOMERS, FRAGILE = 40, 240, 4, 60


class Storm:
    """Kills a worker every half second until it is told to stop."""

    def __init__(self, server: Server, prefix: str, workers: Crew) -> None:
        self._server, self._prefix, self._workers = server, prefix, workers
        self._dice = random.Random(17)
        self.kills = 0

    async def rage(self, most: int) -> None:
        """Kill so many workers."""
        while self.kills < most:
            await asyncio.sleep(0.5)
            victim = self._dice.choice(self._workers.living)
            self._workers.end(victim)
            forget(self._server, self._prefix, CUSTOMERS, victim.pid)
            self._workers.start("-c", "5")
            self.kills += 1


def pairs(server: Server, key: str) -> dict[str, int]:
    """Return a hash of counts."""
    raw = server.ask("HGETALL", key)
    return {raw[i].decode(): int(raw[i + 1]) for i in range(0, len(raw), 2)}


async def enqueue_all(deck: Deck) -> list[str]:
    """Enqueue chains, groups after fragile jobs, and jobs with keys; return the ids of the first
    jobs of those that fail.
    """
    fragile = []
    for chain in range(CHAINS):
        steps = [tied.step.call(chain, number) for number in range(3)]
        await deck.send_flow(steps[0].then(*steps[1:], tied.last.call(chain)))
    for chain in range(100, 100 + FRAGILE):
        jobs = await deck.send_flow(tied.fragile.call(chain).then(tied.last.call(chain)))
        fragile.append(jobs[0].id)
    calls: list[Any] = [tied.bill.call(n % CUSTOMERS, 20) for n in range(BILLS)]
    await deck.enqueue_many(calls)
    return fragile


async def test_nothing_is_lost_doubled_or_stuck_whatever_is_going_on(
    valkey: Server, prefix: str, tmp_path: Path
) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        for task in tied.deck.registry:
            deck.registry.add(task)
        admin = deck.admin("eve@here")
        first, second = deck.keys("first"), deck.keys("second")
        fragile = await enqueue_all(deck)
        seconds = ScheduleSpec("seconds", "* * * * * *", "slot", queue="second", misfire="all")
        await admin.add_schedule(seconds)
        with crew(valkey, prefix, tmp_path, lease=1.5, app="tied") as workers:
            for _ in range(4):
                workers.start("-c", "5")
            storm = Storm(valkey, prefix, workers)
            raging = asyncio.create_task(storm.rage(24))
            await eventually(lambda: int(valkey.ask("ZCARD", first.dead)) == FRAGILE)
            await admin.pause("first", task="bill")
            valkey.ask("SET", name(prefix, "mended"), 1)
            draft = await admin.retry(Selection("dead", "first"))
            operation = await admin.start(draft, rate=40)
            assert operation.total == FRAGILE
            await asyncio.sleep(1)
            await admin.resume("first", task="bill")
            await raging
            deadline = time.monotonic() + 120
            wanted = 3 * CHAINS + FRAGILE + BILLS
            while int(valkey.ask("ZCARD", first.completed)) < wanted:
                assert time.monotonic() < deadline, workers.log()[-5000:]
                await asyncio.sleep(0.1)
            await eventually(lambda: waiting(deck))
            await admin.disable_schedule("seconds")
            done = await admin.operation(operation.id)
            assert (done.state, done.ok, done.skipped) == ("done", FRAGILE, 0)
            await eventually(lambda: at_rest(valkey, deck))
        check_everything(valkey, prefix, deck, fragile)
        slots = pairs(valkey, name(prefix, "slots"))
        times = sorted(datetime.fromisoformat(slot).timestamp() for slot in slots)
        assert len(times) >= 10
        assert [b - a for a, b in itertools.pairwise(times)] == [1.0] * (len(times) - 1)
        counts = check_sets(valkey, prefix)
        finished = wanted + CHAINS + FRAGILE + len(times)
        assert counts == dict.fromkeys(counts, 0) | {"completed": finished}
        assert int(valkey.ask("ZCARD", second.completed)) == finished - wanted


async def waiting(deck: Deck) -> bool:
    """Return whether no job of a chain waits any more."""
    ended = await deck.call("HGET", deck.keys("second").tasks, "completed:last")
    return int(ended or 0) == CHAINS + FRAGILE


def at_rest(server: Server, deck: Deck) -> bool:
    """Return whether nothing is pending, due or running in the second queue."""
    keys = deck.keys("second")
    sets = (keys.ready, keys.lease, keys.scheduled, keys.retrying)
    return not any(int(server.ask("ZCARD", each)) for each in sets)


def check_everything(server: Server, prefix: str, deck: Deck, fragile: list[str]) -> None:
    """Check the effects of chains and keys."""
    ran = Counter(pairs(server, name(prefix, "steps")))
    for chain in range(CHAINS):
        for number in range(3):
            assert ran.pop(f"{chain} {number} True") >= 1
        assert ran.pop(f"{chain} end 2") >= 1
    for chain in range(100, 100 + FRAGILE):
        assert ran.pop(f"{chain} end {chain}") >= 1
    assert ran == Counter(), "a step ran before what it follows had completed"
    most = server.ask("ZRANGE", name(prefix, "most"), 0, -1, "WITHSCORES")
    assert {int(score) for score in most[1::2]} == {2}
    for queue in ("first", "second"):
        assert server.ask("EXISTS", deck.keys(queue).outbox) == 0
    assert len(fragile) == FRAGILE
