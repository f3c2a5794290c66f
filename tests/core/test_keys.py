"""Limits per key on a real server: never more at once than allowed, in order, and nothing stuck."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.core.apps import tied
from tests.core.crew import crew
from tests.core.serving import check_sets, eventually, finished, new_deck, serving
from tests.servers import Server

from qdeck import Deck, Job, QueueFull, State
from qdeck import queue as verbs
from qdeck.admin import Failure, Window
from qdeck.courier import reclaim_all


class Bills:
    """A task with a key that notes which of its jobs run, in which order and how many at once."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self.order: list[str] = []
        self.running: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()

        @deck.task(limit_key="c:{customer}", max_retries=0)
        async def bill(customer: str, word: str = "", fail: bool = False) -> None:
            self.order.append(customer + word)
            self.running[customer] = now = self.running.get(customer, 0) + 1
            self.most[customer] = max(now, self.most.get(customer, 0))
            try:
                await asyncio.sleep(0.005)
                await self.gate.wait()
                if fail:
                    raise ValueError(customer)
            finally:
                self.running[customer] -= 1

        @deck.task
        async def other(n: int) -> int:
            self.order.append(f"other{n}")
            return n

        self.bill, self.other = bill, other


@pytest.fixture
async def bills(deck: Deck) -> Bills:
    """A task with a key and one without."""
    return Bills(deck)


async def act(deck: Deck, verb: str, job: Job[Any]) -> None:
    """Do an operator's verb to one job."""
    await deck.execute(verbs.move(deck.keys(job.queue), verb, "eve", [job.id]))


async def all_done(deck: Deck, jobs: list[Job[Any]]) -> list[Job[Any]]:
    """Wait until all jobs are finished."""
    return [await finished(deck, job) for job in jobs]


async def held(deck: Deck, task: str = "bill") -> int:
    """Return how many jobs of a task are held."""
    return int(await deck.call("ZCARD", deck.keys("default").held(task)))


async def test_jobs_of_one_key_run_one_after_another_in_their_order(bills: Bills) -> None:
    calls = [bills.bill.call("ann", str(n)) for n in range(12)]
    jobs = await bills.deck.enqueue_many(calls)
    urgent = await bills.bill.options(priority="high").enqueue("ann", "!")
    async with serving(bills.deck, concurrency=10):
        await all_done(bills.deck, [*jobs, urgent])
    assert bills.order == ["ann!", *(f"ann{n}" for n in range(12))]
    assert bills.most == {"ann": 1}


async def test_each_key_has_its_own_limit(bills: Bills) -> None:
    two = bills.bill.options(key_limit=2)
    three = bills.bill.options(key_limit=3)
    pairs = ((two, "b"), (three, "c"))
    calls = [task.call(word, str(n)) for n in range(20) for task, word in pairs]
    free = [bills.bill.options(limit_key="").call("d") for _ in range(5)]
    jobs = await bills.deck.enqueue_many([*calls, *free])
    async with serving(bills.deck, concurrency=20):
        await all_done(bills.deck, jobs)
    assert bills.most["b"] == 2
    assert bills.most["c"] == 3
    assert bills.most["d"] > 1


async def test_jobs_behind_a_full_key_are_not_held_up(bills: Bills) -> None:
    bills.gate.clear()
    deck = bills.deck
    jobs = await deck.enqueue_many(bills.bill.call("ann", str(n)) for n in range(1200))
    others = await deck.enqueue_many(bills.other.call(n) for n in range(50))
    async with serving(deck, concurrency=4, grace=0.1):
        await all_done(deck, others)
        assert bills.order[0] == "ann0"
        assert len(bills.order) == 51
        rows = (await deck.admin("eve").snapshot()).queues
        assert not isinstance(rows, Failure)
        (row,) = rows
        assert (row.pending, row.held, row.running) == (1199, 1199, 1)
        page = await deck.admin("eve").jobs("default", "pending", Window(0, 5))
        assert page.total == 1199
        assert [each.ref.id for each in page.rows] == [job.id for job in jobs[1:6]]
        assert not any(each.held for each in page.rows)


async def test_many_jobs_of_a_paused_task_do_not_stop_those_behind_them(
    deck: Deck, valkey: Server
) -> None:
    @deck.task
    async def held_up(n: int) -> None: ...

    @deck.task
    async def goes_on(n: int) -> int:
        return n

    await deck.enqueue_many(held_up.call(n) for n in range(20_000))
    behind = await deck.enqueue_many(goes_on.call(n) for n in range(500))
    await deck.admin("eve").pause("default", task="held_up")
    valkey.ask("CONFIG", "RESETSTAT")
    async with serving(deck, concurrency=10):
        await all_done(deck, behind)
        assert await held(deck, "held_up") == 20_000
        stats = {line.split(b":")[0]: line for line in valkey.ask("INFO", "commandstats").split()}
        turns = int(stats[b"cmdstat_evalsha"].split(b"calls=")[1].split(b",")[0])
        # Some 200 are held a call, not one a call: a million take some thousand calls.
        assert turns < 20_000 / 200 + 500
    await deck.admin("eve").resume("default", task="held_up")
    assert await deck.call("ZCARD", deck.keys("default").completed) == 500


async def test_a_failed_given_back_or_cancelled_job_gives_its_place_to_the_next(
    bills: Bills,
) -> None:
    deck = bills.deck
    first = await bills.bill.enqueue("ann", "0", fail=True)
    rest = await deck.enqueue_many(bills.bill.call("ann", str(n)) for n in range(1, 6))
    async with serving(deck):
        assert (await finished(deck, first)).state is State.DEAD
        await all_done(deck, rest)
    bills.gate.clear()
    jobs = await deck.enqueue_many(bills.bill.call("bob", str(n)) for n in range(4))
    async with serving(deck, grace=0.1):
        await eventually(lambda: "bob0" in bills.order)
        await eventually(lambda: awaited(held(deck), 3))
        await act(deck, "cancel", jobs[1])
        await act(deck, "delete", jobs[2])
    bills.gate.set()
    async with serving(deck):
        await all_done(deck, [jobs[0], jobs[3]])
    assert bills.order[6:] == ["bob0", "bob0", "bob3"]
    assert await held(deck) == 0


async def awaited(what: Any, value: Any) -> bool:
    """Return whether something to await comes out as a value."""
    return bool(await what == value)


async def test_a_place_that_nobody_took_goes_to_the_next(bills: Bills) -> None:
    """One came out of hold and was cancelled before it started: upkeep finds the rest."""
    deck, admin = bills.deck, bills.deck.admin("eve")
    bills.gate.clear()
    jobs = await deck.enqueue_many(bills.bill.call("ann", str(n)) for n in range(4))
    async with serving(deck, concurrency=2):
        await eventually(lambda: awaited(held(deck), 3))
        await admin.pause("default")
        bills.gate.set()
        await finished(deck, jobs[0])
        await eventually(lambda: awaited(held(deck), 2))
        await act(deck, "cancel", jobs[1])
        await admin.resume("default")
    assert await held(deck) == 2
    assert await reclaim_all(deck, "default") == 1
    assert await reclaim_all(deck, "default") == 0
    async with serving(deck):
        await all_done(deck, jobs)
    assert bills.order == ["ann0", "ann2", "ann3"]
    await reclaim_all(deck, "default")
    keys = deck.keys("default")
    assert await deck.call("EXISTS", keys.keyed("bill"), keys.wait("c:ann")) == 0
    assert await deck.call("HGET", keys.meta, "keyed") == b""


async def test_a_paused_task_and_a_full_key_hold_together(bills: Bills) -> None:
    deck, admin = bills.deck, bills.deck.admin("eve")
    bills.gate.clear()
    jobs = await deck.enqueue_many(bills.bill.call("ann", str(n)) for n in range(5))
    async with serving(deck, concurrency=2):
        await eventually(lambda: awaited(held(deck), 4))
        await admin.pause("default", task="bill")
        bills.gate.set()
        await finished(deck, jobs[0])
        await eventually(lambda: awaited(held(deck), 4))
        assert bills.order == ["ann0"]
        await admin.resume("default", task="bill")
        await all_done(deck, jobs)
    assert bills.order == [f"ann{n}" for n in range(5)]
    assert bills.most == {"ann": 1}


async def test_jobs_held_for_a_key_are_cleared_and_restored_with_the_others(bills: Bills) -> None:
    deck, admin = bills.deck, bills.deck.admin("eve")
    bills.gate.clear()
    jobs = await deck.enqueue_many(bills.bill.call("ann", str(n)) for n in range(6))
    async with serving(deck, concurrency=2):
        await eventually(lambda: awaited(held(deck), 5))
        await admin.clear("default")
        assert await held(deck) == 0
        assert await deck.call("HGET", deck.keys("default").meta, "held") == b"0"
        (copy,) = await admin.cleared("default")
        await admin.restore(copy.id)
        bills.gate.set()
        await all_done(deck, jobs)
    assert bills.order == [f"ann{n}" for n in range(6)]
    assert bills.most == {"ann": 1}


async def test_a_burst_worker_ends_only_when_held_jobs_of_keys_have_run(bills: Bills) -> None:
    jobs = await bills.deck.enqueue_many(bills.bill.call("ann", str(n)) for n in range(20))
    await asyncio.wait_for(bills.deck.worker(burst=True, concurrency=5).run(), 60)
    assert len(bills.order) == len(jobs)


async def test_max_size_counts_jobs_that_wait_for_a_key(valkey: Server, prefix: str) -> None:
    async with new_deck(valkey.url, prefix, max_size=5) as deck:
        bills = Bills(deck)
        bills.gate.clear()
        await deck.enqueue_many(bills.bill.call("ann") for _ in range(5))
        async with serving(deck, grace=0.1):
            await eventually(lambda: awaited(held(deck), 4))
            with pytest.raises(QueueFull):
                await bills.other.enqueue(1)


async def test_a_job_by_name_takes_the_key_that_workers_published(
    bills: Bills, valkey: Server, prefix: str
) -> None:
    async with serving(bills.deck), new_deck(valkey.url, prefix) as stranger:
        await eventually(lambda: bills.deck.call("HEXISTS", bills.deck.shared.tasks, "bill"))
        job = await stranger.enqueue("bill", {"customer": "zoe"})
        found = await bills.deck.find(job.id)
        assert found is not None
        assert found.record is not None
        assert found.record.body.links is not None
        assert (found.record.body.links.key, found.record.body.links.most) == ("c:zoe", 1)
        await finished(bills.deck, job)


async def test_no_key_has_more_at_once_under_four_workers_that_are_killed(
    valkey: Server, prefix: str, tmp_path: Path
) -> None:
    dice = random.Random(7)
    async with new_deck(valkey.url, prefix) as deck:
        for task in tied.deck.registry:
            deck.registry.add(task)
        customers = 8
        calls: list[Any] = [tied.bill.call(n % customers, dice.randint(5, 60)) for n in range(600)]
        calls += [tied.free.call(n) for n in range(100)]
        dice.shuffle(calls)
        jobs = await deck.enqueue_many(calls)
        done = deck.keys("first").completed
        with crew(valkey, prefix, tmp_path, lease=1.5, app="tied") as workers:
            for _ in range(4):
                workers.start("-c", "6")
            deadline = time.monotonic() + 150
            kills = 0
            while int(valkey.ask("ZCARD", done)) < len(jobs):
                assert time.monotonic() < deadline, workers.log()[-5000:]
                await asyncio.sleep(0.4)
                if kills < 8:
                    victim = dice.choice(workers.living)
                    workers.end(victim)
                    forget(valkey, prefix, customers, victim.pid)
                    workers.start("-c", "6")
                    kills += 1
        most = valkey.ask("ZRANGE", name(prefix, "most"), 0, -1, "WITHSCORES")
        assert {int(most[i]): int(most[i + 1]) for i in range(0, len(most), 2)} == dict.fromkeys(
            range(customers), 2
        )
        assert check_sets(valkey, prefix)["completed"] == len(jobs)
        assert await deck.call("HGET", deck.keys("first").meta, "held") == b"0"


def name(prefix: str, word: str) -> str:
    """Return a key that the app writes."""
    return f"{{{prefix}-effects}}:{word}"


def forget(server: Server, prefix: str, customers: int, pid: int) -> None:
    """Strike the runs of a killed process off the lists of those that run."""
    for customer in range(customers):
        active = name(prefix, f"active:{customer}")
        raw = server.ask("HGETALL", active)
        for i in range(0, len(raw), 2):
            if int(raw[i + 1]) == pid:
                server.ask("HDEL", active, raw[i])
