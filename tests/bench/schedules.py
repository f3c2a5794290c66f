"""Count what 1,000 idle schedules cost a fleet of 10 idle workers, in server commands a second.

    pip install '.[test]'
    python tests/bench/schedules.py [--seconds 30] [--schedules 1000] [--workers 10]

None of the schedules is due meanwhile. At most 20 commands a second are asked for in all; what runs
inside of scripts is counted apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.idle import watch
from tests.bench.rig import print_table
from tests.servers import Server

from qdeck import Deck
from qdeck.admin import ScheduleSpec


async def add(deck: Deck, count: int) -> float:
    """Add schedules that fire daily, none within the next hour; return the seconds it took."""
    door, started = deck.admin(), time.monotonic()
    first = datetime.now(UTC) + timedelta(hours=2)
    for number in range(count):
        at = first + timedelta(minutes=number * 20 * 60 // count)
        spec = ScheduleSpec(f"s{number}", f"{at.minute} {at.hour} * * *", "mail", queue="q")
        await door.add_schedule(spec)
    return time.monotonic() - started


async def measure(server: Server, schedules: int, workers: int, seconds: float) -> list[list[str]]:
    """Return rows of commands and how often a second they were sent."""
    async with contextlib.AsyncExitStack() as stack:
        decks = [
            await stack.enter_async_context(Deck(server.url, prefix="idle", default="q"))
            for _ in range(workers)
        ]
        taken = await add(decks[0], schedules)
        fleet = [deck.worker(["q"]) for deck in decks]
        running = [asyncio.create_task(worker.run()) for worker in fleet]
        await asyncio.sleep(12)
        calls: Counter[str]
        calls, inside = await asyncio.to_thread(watch, server.port, seconds)
        await asyncio.gather(*(worker.stop() for worker in fleet))
        await asyncio.gather(*running)
    rows = [[name, f"{count / seconds:.2f}"] for name, count in calls.most_common()]
    rows.append(
        ["all client calls (asked: less than 20 a second)", f"{calls.total() / seconds:.2f}"]
    )
    rows.append(["commands inside of scripts", f"{inside / seconds:.2f}"])
    rows.append([f"({schedules} schedules were added in {taken:.1f} s)", ""])
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=10)
    chosen = parser.parse_args()
    with Server() as server:
        rows = asyncio.run(measure(server, chosen.schedules, chosen.workers, chosen.seconds))
    print_table(["command", "a second"], rows)


if __name__ == "__main__":
    main()
