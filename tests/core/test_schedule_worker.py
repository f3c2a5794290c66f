"""Workers fire the slots of schedules, each once, without a leader and whatever their clocks say."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
from tests.core.serving import eventually, new_deck, serving
from tests.servers import Server

from qdeck import Deck
from qdeck.admin import ScheduleSpec
from qdeck.record import Record, read_record


def task(deck: Deck) -> None:
    """Give a deck the task of these tests."""

    @deck.task(queue="q")
    async def mail() -> None:
        """Do nothing."""


def every_second(**terms: Any) -> ScheduleSpec:
    """Return a schedule that fires each second."""
    return ScheduleSpec("seconds", "* * * * * *", "mail", queue="q", **terms)


async def records(deck: Deck, queue: str = "q") -> list[Record]:
    """Return the records of all jobs of a queue."""
    found, cursor = [], b"0"
    while True:
        cursor, names = await deck.call(
            "SCAN", cursor, "MATCH", deck.keys(queue).job("*").replace("{", "[{]"), "COUNT", 1000
        )
        for name in names:
            record = read_record(await deck.call("GET", name))
            if record is not None:
                found.append(record)
        if cursor == b"0":
            return found


async def slots(deck: Deck, queue: str = "q") -> Counter[int]:
    """Return how many jobs each slot has, in seconds since the epoch."""
    said = [msgspec.json.decode(record.body.metadata) for record in await records(deck, queue)]
    return Counter(
        int(datetime.fromisoformat(each["slot"]).timestamp()) for each in said if "slot" in each
    )


def whole(found: Counter[int], step: int = 1) -> bool:
    """Whether slots have one job each and none is missing between the first and the last."""
    return set(found.values()) == {1} and sorted(found) == list(
        range(min(found), max(found) + 1, step)
    )


async def test_three_workers_fire_every_second_once(valkey: Server, prefix: str) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        task(deck)
        async with serving(deck), serving(deck), serving(deck):
            await deck.admin().add_schedule(every_second())

            async def enough() -> bool:
                return len(await slots(deck)) >= 4

            await eventually(enough)
        found = await slots(deck)
        assert whole(found)
        row = await deck.admin().schedule("seconds")
        assert row is not None
        assert all(past.late_s is not None for past in row.history)
        assert row.history[-1].outcome == "completed"


async def test_a_schedule_is_fired_though_an_idle_worker_knew_of_nothing_due(
    valkey: Server, prefix: str
) -> None:
    async with new_deck(valkey.url, prefix, block_timeout=60) as deck:
        task(deck)
        async with serving(deck):
            await asyncio.sleep(0.3)
            await deck.admin().add_schedule(every_second())

            async def fired() -> bool:
                return bool(await slots(deck))

            await eventually(fired, 20)
