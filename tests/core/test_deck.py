"""Enqueueing in all its forms, looking jobs up, awaiting results, on every kind of server."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.core.serving import eventually, new_deck, serving
from tests.proxies import CuttingProxy
from tests.servers import Server

import qdeck
from qdeck import Deck, Job, State
from qdeck.admin import JobRef, Window
from qdeck.task import Call


async def test_a_job_runs_on_every_kind_of_server(deck_url: str, prefix: str) -> None:
    async with new_deck(deck_url, prefix) as deck:

        @deck.task(queue="a")
        async def add(a: int, b: int) -> int:
            return a + b

        @deck.task(queue="b")
        def word(text: str) -> str:
            return text[::-1]

        async with serving(deck):
            calls: list[Call[Any]] = [add.call(1, 2), word.call("abc"), add.call(3, 4)]
            jobs = await deck.enqueue_many(calls)
            assert [await deck.result(job.id, timeout=30) for job in jobs] == [3, "cba", 7]
            job = await asyncio.to_thread(word.enqueue_sync, "xy")
            assert await asyncio.to_thread(deck.result_sync, job.id, timeout=30) == "yx"
            late = await add.options(delay=600).enqueue(0, 0)
            assert await asyncio.to_thread(deck.cancel_sync, late.id) == "cancelled"
            found = await asyncio.to_thread(deck.job_sync, late.id)
            assert found is not None
            assert found.state is State.CANCELLED
        assert await deck.queues() == ["a", "b", "default"]


async def test_an_enqueued_job_says_what_was_asked_for(deck: Deck) -> None:
    @deck.task(queue="mail", max_retries=5, priority="high")
    async def send(to: str, subject: str = "hi") -> None: ...

    before = datetime.now(UTC) - timedelta(seconds=1)
    job = await send.enqueue("x")
    assert (job.task, job.queue, job.state, job.priority) == ("send", "mail", State.PENDING, 6)
    assert (job.attempt, job.max_attempts, job.created) == (0, 6, True)
    assert job.payload == {"to": "x", "subject": "hi"}
    assert job.created_at is not None
    assert before < job.created_at <= datetime.now(UTC) + timedelta(seconds=1)
    assert len(job.id) == 26
    found = await deck.job(job.id)
    assert found == job
    assert await deck.job(job.id, queue="mail") == job
    assert await deck.job(job.id, queue="other") is None
    assert await deck.job("0" * 26) is None
    chosen = send.options(
        delay=60, queue="bulk", priority=9, metadata={"a": [1]}, max_retries=0, timeout=5
    )
    job = await chosen.enqueue("y")
    found = await deck.job(job.id)
    assert found == job
    assert found is not None
    assert (found.state, found.queue, found.priority) == (State.SCHEDULED, "bulk", 9)
    assert (found.metadata, found.max_attempts) == ({"a": [1]}, 1)
    assert found.available_at is not None
    assert found.created_at is not None
    assert found.available_at - found.created_at == timedelta(seconds=60)


async def test_many_keep_their_order_over_chunks_and_queues_in_few_calls(
    proxy: CuttingProxy, prefix: str
) -> None:
    deck = Deck(proxy.url, prefix=prefix)

    @deck.task(queue="a")
    async def one(n: int) -> None: ...

    @deck.task(queue="b", priority=9)
    async def two(n: int) -> None: ...

    await deck.enqueue_many([one.call(-1), two.call(-1)])
    before = len(proxy.requests)
    jobs: list[Job[Any]] = await deck.enqueue_many(
        (one if n % 2 else two).call(n) for n in range(2400)
    )
    assert len(proxy.requests) - before == 6
    assert [job.payload["n"] for job in jobs] == list(range(2400))
    for queue, rest in (("a", 1), ("b", 0)):
        ids = await deck.call("ZRANGE", deck.keys(queue).ready, 1, -1)
        expected = [job.id for job in jobs if job.payload["n"] % 2 == rest]
        assert [raw.decode() for raw in ids] == expected
    assert await deck.enqueue_many([]) == []
    again = await asyncio.to_thread(deck.enqueue_many_sync, [one.call(1), two.call(2)])
    assert [job.queue for job in again] == ["a", "b"]
    await deck.close()


async def test_a_chunk_is_enqueued_whole_or_not_at_all(valkey: Server, prefix: str) -> None:
    async with new_deck(valkey.url, prefix, max_size=700) as deck:

        @deck.task
        async def note(n: int) -> None: ...

        with pytest.raises(qdeck.QueueFull):
            await deck.enqueue_many(note.call(n) for n in range(1000))
        had = await deck.call("ZCARD", deck.keys("default").ready)
        assert had in (500, 600, 700)
        with pytest.raises(qdeck.QueueFull, match="max_size"):
            await deck.enqueue_many(note.call(n) for n in range(701 - had))
        assert await deck.call("ZCARD", deck.keys("default").ready) == had


async def test_a_wrong_argument_among_many_enqueues_none(deck: Deck) -> None:
    @deck.task
    async def note(n: int) -> None: ...

    with pytest.raises(qdeck.InvalidPayload):
        await deck.enqueue_many([note.call(1), note.call("x")])  # type: ignore[arg-type]
    for wrong in (5, "note", None, note.enqueue):
        with pytest.raises(qdeck.InvalidTask, match=r"give a call as in send_email\.call"):
            await deck.enqueue_many([note.call(1), wrong])  # type: ignore[list-item]
        with pytest.raises(qdeck.InvalidTask, match="nor enqueued"):
            deck.enqueue_many_sync([wrong])  # type: ignore[arg-type]
    assert await deck.call("ZCARD", deck.keys("default").ready) == 0


async def test_many_may_be_instances_of_a_task_class(deck: Deck) -> None:
    @deck.register
    class Pay(qdeck.Task, queue="payments"):
        order: int

        async def handle(self) -> None: ...

    jobs = await deck.enqueue_many(Pay(order=n) for n in (1, 2))
    jobs += await deck.enqueue_many(Pay(order=n).delay(60) for n in (3,))
    assert [job.payload for job in jobs] == [{"order": 1}, {"order": 2}, {"order": 3}]
    assert [job.state for job in jobs] == ["pending", "pending", "scheduled"]


async def test_duplicates_of_a_unique_job_within_one_call_make_one(deck: Deck) -> None:
    @deck.task(unique="user-{user}")
    async def sync(user: int, full: bool = False) -> None: ...

    jobs = await deck.enqueue_many([sync.call(1), sync.call(2), sync.call(1, full=True)])
    assert [job.created for job in jobs] == [True, True, False]
    assert jobs[2].id == jobs[0].id
    assert jobs[2].payload == {"user": 1, "full": False}


def test_a_plain_program_enqueues_from_several_threads_without_a_loop(
    valkey: Server, prefix: str
) -> None:
    deck = Deck(valkey.url, prefix=prefix)

    @deck.task
    def note(n: int) -> None: ...

    jobs: list[Job[Any]] = []

    def produce(first: int) -> None:
        jobs.extend(note.enqueue_sync(first + n) for n in range(50))
        jobs.extend(deck.enqueue_many_sync(note.call(first + n) for n in range(50, 100)))
        jobs.append(deck.enqueue_sync("note", {"n": first}, priority="low"))

    threads = [threading.Thread(target=produce, args=(1000 * k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job in jobs}) == 606
    assert valkey.ask("ZCARD", deck.keys("default").ready) == 606
    found = deck.job_sync(jobs[0].id)
    assert found is not None
    with pytest.raises(qdeck.Timeout, match="pending"):
        deck.result_sync(jobs[0].id, timeout=0.01)
    with pytest.raises(qdeck.JobNotFound):
        deck.result_sync("0" * 26)
    with pytest.raises(qdeck.JobNotFound):
        deck.cancel_sync("0" * 26)
    deck.close_sync()
    assert note.enqueue_sync(1).created
    deck.close_sync()


def test_a_producer_needs_no_code_of_the_task(valkey: Server, prefix: str) -> None:
    deck = Deck(valkey.url, prefix=prefix)
    try:
        job = deck.enqueue_sync("some.task:v2", {"n": 1}, queue="q1", delay=5)
        assert (job.task, job.queue, job.state) == ("some.task:v2", "q1", State.SCHEDULED)
        for name in ("", "a b", "x" * 101, "ä"):
            with pytest.raises(qdeck.SettingsError):
                deck.enqueue_sync(name, {})
        for payload in ([1], "x", {1: 2}, {"a": object()}, {"a": {1j}}):
            with pytest.raises(qdeck.InvalidPayload):
                deck.enqueue_sync("t", payload)  # type: ignore[arg-type]
        for options in (
            {"delay": -1},
            {"delay": "soon"},
            {"priority": 10},
            {"priority": "urgent"},
            {"at": datetime.now()},
            {"max_retries": -1},
            {"timeout": 0},
            {"unique": ""},
            {"metadata": {1: 2}},
            {"metadata": {"a": "x" * 70_000}},
            {"delay": 1, "at": datetime.now(UTC)},
        ):
            with pytest.raises(qdeck.QdeckError):
                deck.enqueue_sync("t", {}, **options)
        with pytest.raises(TypeError):
            deck.enqueue_sync("t", {}, nonsense=1)
    finally:
        deck.close_sync()


async def test_a_result_is_awaited_as_long_as_asked_for(deck: Deck) -> None:
    go = asyncio.Event()

    @deck.task
    async def slow() -> dict[str, list[int]]:
        await go.wait()
        return {"a": [1, 2]}

    async with serving(deck):
        job = await slow.enqueue()
        with pytest.raises(qdeck.Timeout) as caught:
            await deck.result(job.id, timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        waiting = asyncio.create_task(deck.result(job.id))
        go.set()
        assert await waiting == {"a": [1, 2]}
    with pytest.raises(qdeck.JobNotFound):
        await deck.result("0" * 26, timeout=1)


async def test_a_deck_opens_nothing_before_its_first_use_and_again_after_it_was_closed(
    valkey: Server, prefix: str
) -> None:
    deck = Deck(valkey.url, prefix=prefix)

    @deck.task
    async def note() -> None: ...

    await deck.close()
    for _ in range(2):
        assert (await note.enqueue()).created
        await deck.close()


async def test_a_server_that_is_not_there_is_named_without_its_password(prefix: str) -> None:
    deck = Deck("redis://user:secret@127.0.0.1:1/0", prefix=prefix)

    @deck.task
    async def note() -> None: ...

    with pytest.raises(qdeck.ConnectionFailed) as caught:
        await note.enqueue()
    assert "127.0.0.1:1" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(qdeck.ConnectionFailed):
        await deck.worker().run()
    await deck.close()


async def test_two_loops_in_two_threads_share_a_deck(deck: Deck) -> None:
    @deck.task
    async def note(n: int) -> int:
        return n

    async def produce(n: int) -> str:
        try:
            return (await note.enqueue(n)).id
        finally:
            await deck.connector.aclose()

    async with serving(deck):
        ids = await asyncio.gather(*(asyncio.to_thread(asyncio.run, produce(n)) for n in range(4)))
        assert [await deck.result(job, timeout=30) for job in ids] == [0, 1, 2, 3]


async def test_a_write_that_no_replica_has_confirmed_exists_and_says_so(
    valkey: Server, prefix: str
) -> None:
    async with new_deck(valkey.url, prefix, durability="replica") as deck:

        @deck.task
        async def note(n: int) -> int:
            return n

        calls = [note.call(1), note.call(2)]
        answers = await asyncio.gather(
            note.enqueue(0),
            deck.enqueue_many(calls),
            asyncio.to_thread(note.enqueue_sync, 3),
            return_exceptions=True,
        )
        jobs: list[Any] = []
        for answer in answers:
            assert isinstance(answer, qdeck.NotDurable)
            assert "no replica" in str(answer)
            jobs += answer.job if isinstance(answer.job, list) else [answer.job]
        assert len(jobs) == 4
        async with serving(deck):
            for job in jobs:
                assert await deck.result(job.id, timeout=30) == job.payload["n"]


async def test_a_confirmed_write_to_a_server_that_is_gone_has_an_unknown_outcome(
    proxy: CuttingProxy, prefix: str
) -> None:
    async with new_deck(proxy.url, prefix, durability="replica") as deck:

        @deck.task
        async def note() -> None: ...

        with pytest.raises(qdeck.NotDurable):
            await note.enqueue()
        deck.patience = 0.2
        proxy.refuse()
        with pytest.raises(qdeck.ConnectionFailed, match="outcome unknown"):
            await note.enqueue()
        with pytest.raises(qdeck.ConnectionFailed, match="outcome unknown"):
            await asyncio.to_thread(note.enqueue_sync)


async def test_what_a_worker_published_decides_where_a_job_by_name_goes(
    deck: Deck, valkey: Server, prefix: str
) -> None:
    @deck.task(queue="mail", priority="high", max_retries=7, unique=True)
    async def send(to: str) -> None: ...

    async with new_deck(valkey.url, prefix) as producer:
        assert (await producer.enqueue("send", {"to": "x"})).queue == "default"
        async with serving(deck, "mail"):
            await eventually(lambda: deck.call("HLEN", deck.shared.tasks))
        first = await producer.enqueue("send", {"to": "y"})
        again = await asyncio.to_thread(producer.enqueue_sync, "send", {"to": "y"})
        assert (first.queue, first.priority, first.max_attempts) == ("mail", 6, 8)
        assert (again.id, again.created) == (first.id, False)
        await deck.call("HSET", deck.shared.tasks, "odd", b"\xff not json")
        assert (await producer.enqueue("odd", {})).queue == "default"


async def test_a_job_by_name_that_came_before_its_task_has_that_tasks_attempts_once_it_is_known(
    deck: Deck, valkey: Server, prefix: str
) -> None:
    early = await deck.enqueue("once", queue="mail")
    before = await deck.job(early.id)
    assert before is not None
    assert before.max_attempts == deck.settings.max_retries + 1
    async with new_deck(valkey.url, prefix) as other:

        @other.task(queue="elsewhere", max_retries=0)
        async def once() -> None: ...

        async with serving(other, "elsewhere"):
            await eventually(lambda: deck.call("HEXISTS", deck.shared.tasks, "once"))
    after = await deck.job(early.id)
    blocking = await asyncio.to_thread(deck.job_sync, early.id)
    door = deck.admin()
    detail = await door.job(JobRef(early.id, "mail"))
    page = await door.jobs("mail", "pending", Window())
    await door.close()
    assert after is not None
    assert blocking is not None
    assert detail is not None
    assert (after.max_attempts, blocking.max_attempts) == (1, 1)
    assert (detail.row.max_attempts, page.rows[0].max_attempts) == (1, 1)
