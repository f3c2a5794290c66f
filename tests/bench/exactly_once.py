"""Kill workers whose clocks are wrong for two minutes, and count the jobs of each slot.

    pip install '.[test]'
    python tests/bench/exactly_once.py [--seconds 120] [--stop 20]

Five worker processes, each with a clock that is off by up to two minutes, serve a schedule every
second and one every seven seconds; one of them is killed with SIGKILL at random and replaced, again
and again. Then the same for each misfire policy with a stop of all workers.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rig import print_table
from tests.core.crew import Crew, crew
from tests.core.serving import eventually
from tests.core.slotcount import gaps, records, slots
from tests.servers import Server

from qdeck import Deck
from qdeck.admin import ScheduleSpec

WORKERS = 5


async def kills(server: Server, seconds: float, logs: Path) -> list[list[object]]:
    """Return a row for each schedule: slots, missing, double."""
    dice = random.Random(7)
    async with Deck(server.url, prefix="kills", default="q") as deck:
        for name, every in (("seconds", "* * * * * *"), ("sevens", "*/7 * * * * *")):
            await deck.admin().add_schedule(ScheduleSpec(name, every, "mail", queue="q"))
        killed = 0
        with crew(server, "kills", logs, 5, "skewed") as workers:
            await begin(workers, deck, "seconds")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await asyncio.sleep(dice.uniform(0.3, 2))
                workers.end(dice.choice(workers.living))
                workers.start("-c", "2")
                killed += 1
            leave(workers)
        rows: list[list[object]] = []
        first, last = 0, 0
        for name in ("seconds", "sevens"):
            found = await slots(deck, name)
            if name == "seconds":
                first, last = min(found), max(found)
                wanted = set(range(first, last + 1))
            else:
                wanted = {s for s in range(first, last) if s % 60 % 7 == 0} | {min(found)}
                wanted |= {max(found)}
            missing, double, odd = gaps(found, wanted)
            rows.append([f"{name}, {killed} kills", len(found), len(missing), len(double)])
            rows[-1].append(len(odd))
        return rows


async def stop(server: Server, misfire: str, seconds: float, logs: Path) -> list[list[object]]:
    """Return a row for each schedule: its slots within a stop of all workers, and its jobs."""
    prefix = f"stop-{misfire}"
    async with Deck(server.url, prefix=prefix, default="q") as deck:
        for name, every in (("seconds", "* * * * * *"), ("sevens", "*/7 * * * * *")):
            spec = ScheduleSpec(name, every, "mail", queue="q", misfire=misfire)  # type: ignore[arg-type]  # one of the three
            await deck.admin().add_schedule(spec)
        with crew(server, prefix, logs, 5, "skewed") as workers:
            await begin(workers, deck, "seconds")
            await asyncio.sleep(8)
            leave(workers)
            stopped = server_seconds(server)
            await asyncio.sleep(seconds)
            started = server_seconds(server)
            await begin(workers, deck, "seconds", started)
            await asyncio.sleep(8)
            leave(workers)
        rows: list[list[object]] = []
        made = await records(deck)
        back = min(r.created for r in made if r.created > started * 1000) // 1000
        for name, step in (("seconds", 1), ("sevens", 7)):
            found = await slots(deck, name)
            # Until a worker was there again; what it then fired within 1 s was on time.
            missed = [s for s in range(stopped + 1, back) if s % 60 % step == 0]
            fired = sum(s in found for s in missed)
            double = sum(count > 1 for count in found.values())
            rows.append([f"{name}, stop of {seconds:g} s, {misfire}", len(missed), fired, double])
        return rows


def server_seconds(server: Server) -> int:
    """Return the server's time."""
    return int(server.ask("TIME")[0])


async def begin(workers: Crew, deck: Deck, name: str, after: int = 0) -> None:
    """Start workers and wait until they fire."""
    for _ in range(WORKERS):
        workers.start("-c", "2")

    async def fires() -> bool:
        return max(await slots(deck, name), default=0) > after

    await eventually(fires)


def leave(workers: Crew) -> None:
    """Kill all workers."""
    for child in list(workers.living):
        workers.end(child, signal.SIGKILL)


async def main() -> None:
    """Run all and print what was counted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--stop", type=float, default=20.0)
    chosen = parser.parse_args()
    with Server() as server, tempfile.TemporaryDirectory() as logs:
        rows = await kills(server, chosen.seconds, Path(logs))
        print_table(["schedule", "slots with jobs", "missing", "double", "not due"], rows)
        rows = []
        for misfire in ("skip", "latest", "all"):
            rows += await stop(server, misfire, chosen.stop, Path(logs))
        print_table(["schedule", "slots missed", "of them fired", "double"], rows)


if __name__ == "__main__":
    asyncio.run(main())
