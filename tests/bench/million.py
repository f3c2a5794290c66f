"""Measure the server time of every bounded step with 1,000,000 jobs in a state.

    pip install '.[test]'
    python tests/bench/million.py [--jobs 1000000] [--repeats 20]

Times are the server's own, from its slow log with a threshold of 0: the slowest single command or
script of an operation. Each is asked to stay within 10 ms. The slow log counts time on the clock,
so on a busy machine the median and the minimum say more than the maximum. Needs about 1.5 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import qdeck
from qdeck import ledger, steps
from qdeck import queue as verbs
from qdeck.admin import JobRef, StateName, Window
from qdeck.record import Settle

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rig import middle, print_heading, print_table
from tests.bench.rows import PAD
from tests.servers import Server

_WORKER = "bench:1:0000"
Operation = Callable[[int], Awaitable[Any]]


class Million:
    """A queue with very many jobs, and the operations on it."""

    def __init__(self, server: Server, jobs: int, repeats: int) -> None:
        self.server = server
        self.jobs = jobs
        self.repeats = repeats
        self.deck = qdeck.Deck(server.url, prefix="bench")
        self.keys = self.deck.keys("default")
        self.admin = self.deck.admin(actor="bench")
        self.turn = 0
        self.keep = False
        self.lines: list[list[object]] = []
        self.claimed: list[verbs.Claimed] = []

        @self.deck.task
        async def noop(i: int, pad: str) -> None:
            return None

        @self.deck.task
        async def other() -> None:
            return None

        self.task, self.other = noop, other

    async def fill(self, delay: float | None = None) -> None:
        """Enqueue the jobs."""
        task = self.task.options(delay=delay)
        for at in range(0, self.jobs, 5000):
            await self.deck.enqueue_many(
                task.call(i, PAD) for i in range(at, min(at + 5000, self.jobs))
            )

    async def time(self, state: str, what: str, operation: Operation) -> None:
        """Note the slowest command of an operation, several times."""
        slowest = []
        with self.server.client() as client:
            # Connections, scripts and caches are warm from here on.
            await operation(0)
            client.config_set("slowlog-max-len", 10_000)
            for number in range(1, self.repeats + 1):
                client.config_set("slowlog-log-slower-than", 0)
                client.execute_command("SLOWLOG", "RESET")
                await operation(number)
                client.config_set("slowlog-log-slower-than", -1)
                slowest.append(self._slowest(client.execute_command("SLOWLOG", "GET", "-1")))
        shown = [f"{value / 1000:.2f}" for value in (middle(slowest), min(slowest), max(slowest))]
        self.lines.append([state, what, *shown])

    @staticmethod
    def _slowest(entries: list[Any]) -> float:
        """Return the µs of the slowest command that is not the measurement's own."""
        times = [0.0]
        for entry in entries:
            took, words = (
                (entry["duration"], entry["command"].split())
                if isinstance(entry, dict)
                else (entry[2], entry[3])
            )
            if words[0].upper() not in (b"CONFIG", b"SLOWLOG"):
                times.append(float(took))
        return max(times)

    def window(self, state: StateName, offset: int) -> Operation:
        """Return the read of a page of 100 jobs."""

        async def read(_: int) -> None:
            page = await self.admin.jobs("default", state, Window(offset, 100))
            assert len(page.rows) == 100

        return read

    async def look(self, _: int) -> None:
        """Read the counts of everything."""
        await self.admin.snapshot()

    async def middle_ids(self, key: str, number: int, size: int = 100) -> list[str]:
        """Return ids from the middle of a set."""
        at = self.jobs // 2 + 1000 * number
        found = await self.deck.call("ZRANGE", key, at, at + size - 1)
        return [raw.decode() for raw in found]

    def change(self, verb: str, key: str, size: int = 100) -> Operation:
        """Return an operator's verb on jobs in the middle."""

        async def act(number: int) -> None:
            ids = await self.middle_ids(key, number, size)
            answer = await self.deck.execute(verbs.move(self.keys, verb, "bench", ids))
            assert len(verbs.read_moved(answer)) == size

        return act

    def freeze(self, key: str, verb: str) -> Operation:
        """Return one step of a bulk operation's draft, from the middle of a set."""

        async def act(number: int) -> None:
            command = steps.freeze(
                self.keys, key, f"bench{number}", verb, "bench", self.jobs // 2, 60
            )
            await self.deck.execute(command)

        return act

    async def enqueue(self, number: int) -> None:
        """Enqueue as many as one script takes."""
        await self.deck.enqueue_many(self.task.call(i, PAD) for i in range(verbs.CHUNK))

    async def work(self, want: int) -> None:
        """Settle what was claimed and claim as many."""
        settles = [Settle(job.id, job.fence, "c", "noop", 1.0) for job in self.claimed]
        self.turn += 1
        command = verbs.work(self.keys, _WORKER, self.turn, want, 600.0, settles)
        self.claimed = verbs.read_turn(await self.deck.execute(command)).claimed

    async def work_wide(self, _: int) -> None:
        """Do a worker's largest turn."""
        await self.work(verbs.BATCH)

    async def tend(self, _: int) -> None:
        """Promote what is due."""
        await self.deck.execute(verbs.tend(self.keys, 15.0, 3))

    async def trim(self, _: int) -> None:
        """Delete a step of finished jobs beyond the retention."""
        deleted = await self.deck.execute(verbs.trim(self.keys, self.deck.settings))
        assert deleted[0] > 0

    async def pending(self) -> None:
        """Measure with all jobs pending."""
        await self.fill()
        state, ready = "pending", self.keys.ready
        await self.time(state, "counts of all states (snapshot)", self.look)
        await self.time(
            state, "page of 100 from the middle", self.window("pending", self.jobs // 2)
        )
        await self.time(state, "page of 100 from the end", self.window("pending", self.jobs - 150))
        await self.time(
            state,
            "cancel 100 in the middle (a call's most)",
            self.change("cancel", ready, verbs.BATCH),
        )
        await self.time(
            state, "delete 25 in the middle (a step)", self.change("delete", ready, steps.STEP)
        )
        await self.time(state, "freeze 500 in the middle for a bulk", self.freeze(ready, "delete"))
        await self.time(state, "enqueue 500", self.enqueue)
        await self.time(state, "settle 100 and claim 100 (a turn's most)", self.work_wide)
        await self.time(state, "tend, nothing due", self.tend)
        await self.time(state, "edit one payload in the middle", self.edit)
        await self.time(state, "move one to another queue", self.depart)
        await self.time(state, "clear all, restore all", self.clear)
        await self.time(state, "restore a step before 1,000 newer", self.restore_step)
        self.keep = True
        await self.time("cleared", "note 1,000 for an undo of a restore", self.restore_step)
        await self.time("cleared", "sweep a step", self.sweep)

    async def edit(self, number: int) -> None:
        """Replace the payload of one job."""
        (job_id,) = await self.middle_ids(self.keys.ready, number, 1)
        payload = f'{{"i":{number},"pad":"edited"}}'
        await self.admin.edit_payload(JobRef(job_id, "default"), payload)

    async def depart(self, number: int) -> None:
        """Move one job to another queue."""
        (job_id,) = await self.middle_ids(self.keys.ready, number, 1)
        await self.admin.move_queue([JobRef(job_id, "default")], "elsewhere")

    async def clear(self, _: int) -> None:
        """Take all jobs out and bring them back."""
        outcome = await self.admin.clear("default")
        await self.admin.undo(outcome.entry)

    async def restore_step(self, number: int) -> None:
        """Bring the first jobs of a copy back, where more stand in their way than one call merges.

        The first call makes it so.
        """
        if number == 0 and not self.keep:
            await self.admin.clear("default")
            for _ in range(2):
                await self.enqueue(0)
        (copy,) = await self.admin.cleared()
        act = ledger.Act("bench", "jobs")
        await self.deck.execute(
            ledger.restore(self.keys, self.keys.ready, copy.id, act, keep=self.keep)
        )

    async def sweep(self, number: int) -> None:
        """Delete the first jobs of a copy whose time is over."""
        if number == 0:
            (copy,) = await self.admin.cleared()
            await self.deck.call("ZADD", self.keys.cleared, 1, copy.id)
        await self.deck.execute(ledger.sweep(self.keys))

    async def paused(self) -> None:
        """Measure the steps that hold jobs of a paused task, which stand in front of so many others
        that they do not change places with them at once.
        """
        await self.deck.call("FLUSHALL", "SYNC")
        await self.fill()
        await self.deck.enqueue_many(self.other.call() for _ in range(1000))
        await self.deck.execute(verbs.pause(self.keys, True, "bench", "noop"))

        async def claim(_: int) -> None:
            self.turn += 1
            command = verbs.work(self.keys, _WORKER, self.turn, 10, 600.0, [])
            assert verbs.read_turn(await self.deck.execute(command)).crowded

        async def park(_: int) -> None:
            assert await self.deck.execute(verbs.park(self.keys)) == [0, verbs.PARKED]

        state = "pending, task paused"
        await self.time(state, "claim past 200 (a turn's most)", claim)
        await self.time(state, "hold 500 (a step)", park)

    async def completed(self) -> None:
        """Complete all jobs, and measure."""
        self.claimed = []
        await self.deck.call("FLUSHALL", "SYNC")
        await self.fill()
        while self.claimed or await self.deck.call("ZCARD", self.keys.ready):
            await self.work(verbs.BATCH)
        state, key = "completed", self.keys.completed
        await self.time(state, "counts of all states (snapshot)", self.look)
        await self.time(
            state, "page of 100 from the middle", self.window("completed", self.jobs // 2)
        )
        await self.time(
            state, "delete 25 in the middle (a step)", self.change("delete", key, steps.STEP)
        )
        await self.time(state, "enqueue 500", self.enqueue)
        await self.time(state, "settle 100 and claim 100 (a turn's most)", self.work_wide)
        # A record is kept for 30 s at least, so that a repeated enqueue finds it.
        await asyncio.sleep(32)
        await self.time(state, "trim a step", self.trim)

    async def scheduled(self) -> None:
        """Measure with all jobs due later, and with all of them due at once."""
        await self.deck.call("FLUSHALL", "SYNC")
        await self.fill(delay=3600)
        state, key = "scheduled", self.keys.scheduled
        await self.time(state, "counts of all states (snapshot)", self.look)
        await self.time(
            state, "page of 100 from the middle", self.window("scheduled", self.jobs // 2)
        )
        await self.time(
            state, "delete 25 in the middle (a step)", self.change("delete", key, steps.STEP)
        )
        await self.time(state, "make 100 in the middle pending", self.change("run_now", key))
        await self.deck.call("FLUSHALL", "SYNC")
        await self.fill(delay=1)
        await asyncio.sleep(2)
        await self.time("scheduled, all due", "tend a step (promotes 100)", self.tend)

    async def one(self) -> None:
        """Look a job up by its id, which is the same at any size."""
        ids = await self.middle_ids(self.keys.completed, 0)

        async def read(_: int) -> None:
            assert await self.admin.job(JobRef(ids[0], "default")) is not None

        await self.time("completed", "one job's detail", read)


async def measure(jobs: int, repeats: int) -> None:
    """Go through the states and print the table."""
    with Server() as server:
        bench = Million(server, jobs, repeats)
        await bench.pending()
        await bench.completed()
        await bench.one()
        await bench.scheduled()
        await bench.paused()
        await bench.deck.close()
        print_heading(f"{jobs:,} jobs in one state, ms of server time", server.info)
    print_table(["state", "operation", "median", "least", "most"], bench.lines)


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.jobs, chosen.repeats))


if __name__ == "__main__":
    main()
