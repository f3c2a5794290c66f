"""Exactly once: workers with wrong clocks, killed at random, and each slot has one job.

The run of two minutes is `tests/bench/exactly_once.py`; this is the same in 16 seconds.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

from tests.core.crew import crew
from tests.core.serving import eventually, new_deck
from tests.core.slotcount import gaps, slots
from tests.servers import Server

from qdeck.admin import ScheduleSpec

SECONDS = 16


async def test_each_slot_fires_once_though_workers_with_wrong_clocks_are_killed(
    valkey: Server, prefix: str, tmp_path: Path
) -> None:
    dice = random.Random(5)
    async with new_deck(valkey.url, prefix, default="q") as deck:
        door = deck.admin()
        await door.add_schedule(ScheduleSpec("seconds", "* * * * * *", "mail", queue="q"))
        # Every seventh second, also over the minute: 7 does not divide 60, so each minute begins.
        await door.add_schedule(ScheduleSpec("sevens", "*/7 * * * * *", "mail", queue="q"))
        with crew(valkey, prefix, tmp_path, 2, "skewed") as workers:
            for _ in range(5):
                workers.start("-c", "2")

            async def fired() -> bool:
                return len(await slots(deck)) > 0

            await eventually(fired)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                await asyncio.sleep(dice.uniform(0.5, 2))
                workers.end(dice.choice(workers.living))
                workers.start("-c", "2")
            last = max(await slots(deck)) + 1

            async def beyond() -> bool:
                return max(await slots(deck)) > last

            await eventually(beyond)
            for child in list(workers.living):
                workers.end(child, signal.SIGTERM)
        found = await slots(deck)
        assert gaps(found, set(range(min(found), max(found) + 1))) == ([], [], [])
        sevens = await slots(deck, "sevens")
        wanted = {s for s in range(min(found), max(found) + 1) if s % 60 % 7 == 0}
        assert len(wanted) >= 2
        # Its first slot may lie before the first of the other schedule.
        assert gaps(sevens, wanted | {min(sevens)}) == ([], [], [])
