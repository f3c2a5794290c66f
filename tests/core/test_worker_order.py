"""Which job comes next: strict order, weights, limits, rates, pauses, and jobs of the vanished."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.core.serving import eventually, finished, new_deck, serving, state_of
from tests.servers import Server

from qdeck import Deck, State
from qdeck import queue as verbs
from qdeck.record import read_claim


async def started_ms(deck: Deck, jobs: list[Any]) -> list[int]:
    """Returns when jobs were started, in the server's ms, sorted."""
    times = []
    for job in jobs:
        run = await deck.call("HGET", deck.keys(job.queue).run(job.id), "run")
        times.append(read_claim(run).started)
    return sorted(times)


async def test_queues_without_weights_are_served_in_strict_order(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(word: str) -> None:
        ran.append(word)

    for queue in ("bulk", "default", "critical"):
        for number in range(10):
            await note.options(queue=queue).enqueue(f"{queue[0]}{number}")
    await deck.worker(["critical", "default", "bulk"], concurrency=1, burst=True).run()
    assert ran == [f"{queue}{number}" for queue in "cdb" for number in range(10)]


async def test_a_job_of_an_earlier_queue_goes_before_those_that_wait(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(word: str) -> None:
        ran.append(word)
        await asyncio.sleep(0.02)
        if word == "b2":
            await note.options(queue="a").enqueue("a")

    for number in range(30):
        await note.options(queue="b").enqueue(f"b{number}")
    await deck.worker(["a", "b"], concurrency=1, burst=True).run()
    assert len(ran) == 31
    assert ran.index("a") < 29


async def test_weighted_queues_get_their_share_and_none_starves(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(word: str) -> None:
        ran.append(word)

    for queue in ("heavy", "light", "plain"):
        await asyncio.gather(*(note.options(queue=queue).enqueue(queue) for _ in range(300)))
    worker = deck.worker(["heavy:30", "light:1", "plain"], concurrency=1, burst=True)
    await worker.run()
    first = ran[:250]
    assert first.count("heavy") > first.count("plain") > first.count("light") > 0
    assert len(ran) == 900


async def test_a_limit_holds_over_two_workers(valkey: Server, prefix: str, deck: Deck) -> None:
    running, most = [0], [0]

    async def work() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.02)
        running[0] -= 1

    deck.task(name="work")(work)
    async with new_deck(valkey.url, prefix, limits={"default": {"limit": 3}}) as other:
        task = other.task(name="work")(work)
        async with serving(other), serving(deck):
            jobs = await deck.enqueue_many(task.call() for _ in range(60))
            for job in jobs:
                await finished(deck, job)
    assert most == [3]


async def test_a_rate_holds_over_two_workers(valkey: Server, prefix: str, deck: Deck) -> None:
    async def work() -> None: ...

    deck.task(name="work")(work)
    rate = 20
    async with new_deck(valkey.url, prefix, limits={"default": {"rate": rate}}) as other:
        task = other.task(name="work")(work)
        async with serving(other), serving(deck):
            await eventually(lambda: deck.call("HGET", deck.keys("default").meta, "rate"))
            jobs = await deck.enqueue_many(task.call() for _ in range(60))
            for job in jobs:
                await finished(deck, job)
    times = await started_ms(deck, jobs)
    for first in range(60):
        for last in range(first, 60):
            # A bucket of one second's tokens, and what is refilled meanwhile.
            allowed = rate + rate * (times[last] - times[first]) / 1000
            assert last - first + 1 <= allowed + 1
    # It is used, too: nobody waits for a token that is there.
    assert times[-1] - times[0] <= 1000 * (60 - rate) / rate + 3000


async def test_a_limit_changed_while_workers_run_counts_at_once(deck: Deck) -> None:
    running: list[int] = []
    go = asyncio.Event()

    @deck.task
    async def hold(n: int) -> None:
        running.append(n)
        await go.wait()

    keys = deck.keys("default")
    await deck.execute(verbs.limit(keys, 1, None))
    async with serving(deck, concurrency=10):
        jobs = await deck.enqueue_many(hold.call(n) for n in range(6))
        await eventually(lambda: running)
        for _ in range(50):
            await deck.call("PING")
        assert running == [0]
        await deck.execute(verbs.limit(keys, 4, None))
        await eventually(lambda: len(running) == 4)
        await deck.execute(verbs.limit(keys, None, None))
        await eventually(lambda: len(running) == 6)
        go.set()
        for job in jobs:
            await finished(deck, job)


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(deck: Deck) -> None:
    @deck.task
    async def note() -> None: ...

    keys = deck.keys("default")
    await deck.execute(verbs.pause(keys, True, "me"))
    async with serving(deck, "default", "other"):
        job = await note.enqueue()
        beside = await note.options(queue="other").enqueue()
        await finished(deck, beside)
        assert await state_of(deck, job) is State.PENDING
        await deck.execute(verbs.pause(keys, False, "me"))
        await finished(deck, job)


async def test_a_paused_task_is_held_while_others_of_its_queue_run(deck: Deck) -> None:
    ran = []

    @deck.task
    async def one(n: int) -> None:
        ran.append(("one", n))

    @deck.task
    async def two(n: int) -> None:
        ran.append(("two", n))

    keys = deck.keys("default")
    jobs = []
    for n in range(5):
        jobs += [await one.enqueue(n), await two.enqueue(n)]
    await deck.execute(verbs.pause(keys, True, "me", "one"))
    jobs.append(await one.enqueue(5))
    async with serving(deck, concurrency=1):
        await eventually(lambda: len(ran) == 5)
        assert ran == [("two", n) for n in range(5)]
        found = await deck.job(jobs[0].id)
        assert found is not None
        assert found.state is State.PENDING
        assert await deck.cancel(jobs[0].id) == "cancelled"
        await deck.execute(verbs.pause(keys, False, "me", "one"))
        await eventually(lambda: len(ran) == 10)
    assert sorted(ran[5:]) == [("one", n) for n in range(1, 6)]


async def test_a_worker_never_holds_more_jobs_than_it_has_slots(deck: Deck) -> None:
    running, most = [0], [0]

    @deck.task
    async def work() -> None:
        running[0] += 1
        most[0] = max(most[0], await deck.call("ZCARD", deck.keys("default").lease))
        await asyncio.sleep(0.002)
        running[0] -= 1

    jobs = await deck.enqueue_many(work.call() for _ in range(200))
    async with serving(deck, concurrency=7):
        for job in jobs:
            await finished(deck, job)
    assert most == [7]


async def test_jobs_of_a_vanished_worker_return_after_one_lease_to_an_idle_one(
    valkey: Server, prefix: str
) -> None:
    async with new_deck(valkey.url, prefix, lease=1.2, block_timeout=30) as deck:

        @deck.task
        async def note() -> str:
            return "done"

        job = await note.enqueue()
        async with serving(deck):
            await finished(deck, job)
            lost = await note.enqueue()
            await finished(deck, lost)
            taken = await note.options(delay=600).enqueue()
            keys = deck.keys("default")
            # What a worker leaves that is killed while it runs a job.
            await deck.execute(verbs.move(keys, "cancel", "me", [taken.id]))
            gone = await deck.enqueue("note", {}, queue="default", delay=600)
            await deck.call("ZREM", keys.scheduled, gone.id)
            now = await deck.call("TIME")
            ms = int(now[0]) * 1000 + int(now[1]) // 1000
            claim = f"1 1 {ms} 1200 {5 * 2**42 + 99} note ghost:1:aa"
            await deck.call("HSET", keys.run(gone.id), "run", claim)
            await deck.call("ZADD", keys.lease, ms + 1200, gone.id)
            await note.enqueue()
            done = await finished(deck, gone)
            assert done.started_at is not None
            waited = done.started_at.timestamp() * 1000 - ms
            assert 1200 <= waited <= 2400 + 5000
            assert done.attempt == 2


@pytest.mark.parametrize("block", [0.2, 30.0])
async def test_an_idle_worker_hears_of_a_job_at_once_whatever_its_block_timeout(
    valkey: Server, prefix: str, block: float
) -> None:
    async with new_deck(valkey.url, prefix, block_timeout=block) as deck:

        @deck.task
        async def note() -> None: ...

        async with serving(deck, "a", "b", "default"):
            for queue in ("a", "b", "default") * 5:
                await finished(deck, await note.options(queue=queue).enqueue(), patience=25)
