"""How many jobs each slot of a schedule has, read from the records of a queue."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from qdeck import Deck
from qdeck.record import Record, decode_map, read_record

__all__ = ["gaps", "records", "slots", "whole"]


async def records(deck: Deck, queue: str = "q") -> list[Record]:
    """Return the records of all jobs of a queue."""
    found, cursor = [], b"0"
    pattern = deck.keys(queue).job("*").replace("{", "[{]")
    while True:
        cursor, names = await deck.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        for name in set(names):
            record = read_record(await deck.call("GET", name))
            if record is not None:
                found.append(record)
        if cursor == b"0":
            return found


async def slots(deck: Deck, name: str = "seconds", queue: str = "q") -> Counter[int]:
    """Return how many jobs each slot of a schedule has, by slot in seconds since the epoch."""
    said = [decode_map(record.body.metadata) for record in await records(deck, queue)]
    return Counter(
        int(datetime.fromisoformat(each["slot"]).timestamp())
        for each in said
        if each.get("schedule") == name and "slot" in each
    )


def gaps(found: Counter[int], wanted: set[int]) -> tuple[list[int], list[int], list[int]]:
    """Return the slots without a job, those with several, and those that should have none."""
    double = sorted(slot for slot, count in found.items() if count != 1)
    return sorted(wanted - set(found)), double, sorted(set(found) - wanted)


def whole(found: Counter[int]) -> bool:
    """Whether each second between the first and the last slot has one job."""
    return gaps(found, set(range(min(found), max(found) + 1))) == ([], [], [])
