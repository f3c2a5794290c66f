"""How workers stop: within the grace, by force, when the burst, the jobs or the time are over."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.core.serving import eventually, finished, new_deck, serving, state_of
from tests.servers import Server

from qdeck import Deck, SettingsError, State
from qdeck.errors import ConnectionFailed
from qdeck.worker import Worker


async def test_a_stopping_worker_finishes_what_it_runs_and_claims_nothing_more(
    deck: Deck,
) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @deck.task
    async def work(n: int) -> int:
        began.set()
        await go.wait()
        return n

    jobs = [await work.enqueue(n) for n in range(3)]
    worker = deck.worker(concurrency=1)
    running = asyncio.create_task(worker.run())
    await began.wait()
    worker.stop_soon()
    go.set()
    await running
    states = [await state_of(deck, job) for job in jobs]
    assert states == [State.COMPLETED, State.PENDING, State.PENDING]
    assert await deck.call("ZCARD", deck.shared.workers) == 0
    assert await deck.call("EXISTS", deck.shared.control(worker.id)) == 0


async def test_what_runs_beyond_the_grace_is_given_back_uncounted(deck: Deck) -> None:
    began: list[str] = []
    let_go = threading.Event()

    @deck.task
    async def hang() -> None:
        began.append("async")
        await asyncio.Event().wait()

    @deck.task
    def hang_too() -> None:
        began.append("thread")
        let_go.wait(60)

    jobs = [await hang.enqueue(), await hang_too.enqueue()]
    worker = deck.worker(concurrency=5, grace=0.2)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: len(began) == 2)
    await worker.stop()
    await running
    let_go.set()
    for job in jobs:
        found = await deck.job(job.id)
        assert found is not None
        assert (found.state, found.attempt) == (State.PENDING, 0)


async def test_given_back_jobs_keep_their_place(deck: Deck) -> None:
    order = []

    @deck.task
    async def note(word: str) -> None:
        order.append(word)
        if len(order) == 1:
            await asyncio.Event().wait()

    for word in ("a", "b", "c"):
        await note.enqueue(word)
    worker = deck.worker(concurrency=1, grace=0)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: order)
    await worker.stop()
    await running
    async with serving(deck, concurrency=1):
        await eventually(lambda: len(order) == 4)
    assert order == ["a", "a", "b", "c"]


async def test_a_second_stop_forces(deck: Deck) -> None:
    began = asyncio.Event()

    @deck.task
    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    job = await hang.enqueue()
    worker = deck.worker(grace=600)
    running = asyncio.create_task(worker.run())
    await began.wait()
    worker.stop_soon()
    await asyncio.wait([running], timeout=0.3)
    assert not running.done()
    worker.stop_soon()
    await running
    assert await state_of(deck, job) is State.PENDING


async def test_a_worker_whose_own_task_is_cancelled_gives_back_what_it_runs(deck: Deck) -> None:
    began = asyncio.Event()

    @deck.task
    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    job = await hang.enqueue()
    running = asyncio.create_task(deck.worker().run())
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await state_of(deck, job) is State.PENDING
    assert await deck.call("ZCARD", deck.shared.workers) == 0


async def test_a_burst_ends_when_nothing_is_pending_due_or_running(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(n: int) -> None:
        ran.append(n)
        if n == 0:
            for more in (10, 11):
                await note.enqueue(more)

    for n in range(5):
        await note.enqueue(n)
    later = await note.options(delay=1000).enqueue(99)
    worker = deck.worker(concurrency=2, burst=True)
    await worker.run()
    assert sorted(ran) == [0, 1, 2, 3, 4, 10, 11]
    assert worker.done == 7
    assert await state_of(deck, later) is State.SCHEDULED
    await deck.worker(burst=True).run()


async def test_a_burst_waits_for_a_limited_queue_and_for_the_runs_of_others(
    valkey: Server, prefix: str, deck: Deck
) -> None:
    go, ran = asyncio.Event(), []

    @deck.task
    async def note(n: int) -> None:
        ran.append(n)
        await go.wait()

    async with (
        new_deck(valkey.url, prefix, limits={"default": {"limit": 1}}) as other,
        serving(deck, concurrency=1),
    ):
        jobs = [await note.enqueue(n) for n in range(3)]
        await eventually(lambda: ran)

        @other.task(name="note")
        async def note_too(n: int) -> None:
            ran.append(n)

        burst = asyncio.create_task(other.worker(burst=True).run())
        await asyncio.wait([burst], timeout=0.5)
        assert not burst.done()
        go.set()
        await burst
        for job in jobs:
            assert await state_of(deck, job) is State.COMPLETED


async def test_a_burst_ends_beside_a_paused_queue(deck: Deck) -> None:
    @deck.task
    async def note() -> None: ...

    await note.enqueue()
    await deck.call("HSET", deck.keys("default").meta, "paused", "1 me")
    await deck.worker(burst=True).run()
    await deck.call("HDEL", deck.keys("default").meta, "paused")


async def test_max_jobs_ends_a_worker_after_that_many(deck: Deck) -> None:
    ran = []

    @deck.task
    async def note(n: int) -> None:
        ran.append(n)

    for n in range(9):
        await note.enqueue(n)
    await deck.worker(concurrency=2, max_jobs=5).run()
    assert ran == [0, 1, 2, 3, 4]


async def test_max_time_ends_a_worker_when_its_jobs_are_done(deck: Deck) -> None:
    done = []

    @deck.task
    async def slow() -> None:
        await asyncio.sleep(1.3)
        done.append(1)

    await slow.enqueue()
    await deck.worker(max_time=1).run()
    assert done == [1]


async def test_a_quiet_worker_claims_nothing_until_it_is_resumed(deck: Deck) -> None:
    @deck.task
    async def note() -> None: ...

    async with serving(deck) as worker:
        control = deck.shared.control(worker.id)
        await deck.call("RPUSH", control, "quiet")
        await eventually(lambda: worker.state == "quiet")
        job = await note.enqueue()
        for _ in range(100):
            await deck.call("PING")
        assert await state_of(deck, job) is State.PENDING
        await deck.call("RPUSH", control, "nonsense", "unquiet")
        await finished(deck, job)


async def test_a_quiet_worker_puts_the_marker_back_for_others(
    deck: Deck, valkey: Server, prefix: str
) -> None:
    @deck.task
    async def note() -> None: ...

    async with new_deck(valkey.url, prefix, block_timeout=30) as other:
        other.registry.add(deck.registry.get("note"))
        async with serving(deck) as one, serving(other):
            one.quiet()
            for _ in range(20):
                await finished(deck, await note.enqueue())


async def test_what_a_worker_does_is_shown_long_before_its_next_beat(
    valkey: Server, prefix: str
) -> None:
    go = asyncio.Event()
    async with new_deck(valkey.url, prefix, lease=3000) as deck:

        @deck.task
        async def wait() -> None:
            await go.wait()

        async with serving(deck) as worker:
            key = deck.shared.worker(worker.id)

            async def shown(field: str, value: bytes) -> bool:
                return bool(await deck.call("HGET", key, field) == value)

            await eventually(lambda: shown("running", b"0"))
            job = await wait.enqueue()
            await eventually(lambda: shown("running", b"1"))
            worker.quiet()
            await eventually(lambda: shown("state", b"quiet"))
            go.set()
            await finished(deck, job)
            await eventually(lambda: shown("running", b"0"))
        assert await deck.call("ZCARD", deck.shared.workers) == 0


async def test_a_stop_command_stops_a_worker(deck: Deck) -> None:
    worker = deck.worker()
    running = asyncio.create_task(worker.run())
    await eventually(lambda: deck.call("ZCARD", deck.shared.workers))
    await deck.call("RPUSH", deck.shared.control(worker.id), "stop")
    await running


async def test_a_worker_that_was_stopped_before_it_ran_ends_at_once(deck: Deck) -> None:
    worker = deck.worker()
    await worker.stop()
    await worker.run()
    assert worker.done == 0


async def test_a_worker_that_never_reached_its_server_can_be_stopped() -> None:
    deck = Deck("redis://127.0.0.1:1/0")
    worker = deck.worker()
    with pytest.raises(ConnectionFailed):
        await worker.run()
    await asyncio.wait_for(worker.stop(), 30)
    await deck.close()


async def test_a_stop_from_another_thread_and_loop_ends_a_worker(deck: Deck) -> None:
    worker = deck.worker()
    running = asyncio.create_task(worker.run())
    await eventually(lambda: deck.call("ZCARD", deck.shared.workers))
    await asyncio.to_thread(lambda: asyncio.run(worker.stop()))
    await running


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": "5"},
        {"concurrency": 2.5},
        {"grace": -1},
        {"grace": "x"},
        {"grace": float("nan")},
        {"max_jobs": 0},
        {"max_jobs": 1.5},
        {"max_time": 0},
        {"queues": ["a b"]},
        {"queues": ["a:x"]},
        {"queues": ["a:0"]},
        {"queues": "a,,b"},
        {"queues": 5},
        {"queues": [None]},
    ],
    ids=str,
)
async def test_wrong_settings_of_a_worker_are_refused(deck: Deck, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        deck.worker(**wrong)


async def test_a_worker_publishes_itself_and_its_tasks(deck: Deck) -> None:
    @deck.task(queue="mail")
    async def send(to: str) -> None: ...

    async with serving(deck) as worker:
        assert isinstance(worker, Worker)
        raw = await eventually(lambda: deck.call("HGETALL", deck.shared.worker(worker.id)))
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        assert fields[b"state"] == b"running"
        assert fields[b"queues"] == b"mail,default"
        assert fields[b"concurrency"] == b"5"
        assert worker.queues == ["mail", "default"]
        assert b"send" in await deck.call("HKEYS", deck.shared.tasks)
        assert await deck.queues() == ["default", "mail"]
