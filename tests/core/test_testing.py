"""`deck.testing()`: within it nothing leaves the process, and jobs run when they are drained."""

from __future__ import annotations

from typing import Any

import pytest

import qdeck
from qdeck import Context, Deck, State


@pytest.fixture
def deck() -> Deck:
    # Nothing listens there: a call that left the process would fail.
    return Deck("redis://127.0.0.1:1/0", prefix="box")


def test_enqueued_jobs_are_collected_and_run_on_demand(deck: Deck) -> None:
    ran = []

    @deck.task
    async def send(to: str) -> str:
        ran.append(to)
        return to.upper()

    @deck.task(priority="high")
    def other(n: int) -> None:
        ran.append(str(n))

    with deck.testing() as t:
        job = send.enqueue_sync("a")
        deck.enqueue_many_sync([send.call("b")])
        other.enqueue_sync(1)
        deck.enqueue_sync("send", {"to": "c"})
        assert [each.payload["to"] for each in t.enqueued(send)] == ["a", "b", "c"]
        assert len(t.enqueued()) == 4
        assert len(t.enqueued("other")) == 1
        assert ran == []
        done = t.drain()
        assert ran == ["1", "a", "b", "c"]
        assert {each.state for each in done} == {State.COMPLETED}
        assert deck.result_sync(job.id) == "A"
        assert t.drain() == []
        assert t.enqueued(send)[0].state is State.COMPLETED


async def test_it_works_in_async_tests_and_for_jobs_that_enqueue_jobs(deck: Deck) -> None:
    ran = []

    @deck.task
    async def child(n: int) -> None:
        ran.append(n)

    @deck.task
    async def parent(n: int) -> None:
        for number in range(n):
            await child.enqueue(number)

    with deck.testing() as t:
        job = await parent.options(delay=600).enqueue(3)
        assert job.state is State.SCHEDULED
        assert await deck.job(job.id) == job
        assert len(t.drain()) == 4
        assert await deck.result(job.id) is None
    assert ran == [0, 1, 2]


def test_failures_are_retried_without_delay_and_end_dead(deck: Deck) -> None:
    runs: list[int] = []
    failures = []

    @deck.task(max_retries=2, backoff=[1000])
    async def fail(ctx: Context) -> None:
        runs.append(ctx.attempt)
        raise ValueError(str(ctx.attempt))

    @deck.task
    async def snooze(ctx: Context) -> str:
        runs.append(ctx.attempt)
        if len(runs) < 3:
            raise qdeck.Snooze(100)
        return "awake"

    @deck.register
    class Pay(qdeck.Task, max_retries=5):
        order: int

        def handle(self, ctx: Context) -> None:
            raise qdeck.Discard("no")

        def failed(self, error: Exception) -> None:
            failures.append(str(error))

    with deck.testing() as t:
        fail.enqueue_sync()
        done = t.drain()[0]
        assert (done.state, done.attempt, runs) == (State.DEAD, 3, [1, 2, 3])
        assert done.error is not None
        assert (done.error.type, done.error.message) == ("ValueError", "3")
        with pytest.raises(qdeck.JobDead):
            deck.result_sync(done.id)
        runs.clear()
        snooze.enqueue_sync()
        assert t.drain()[0].attempt == 1
        Pay(order=1).dispatch_sync()
        done = t.drain()[0]
        assert (done.state, done.attempt, failures) == (State.DEAD, 1, ["no"])
        assert [job.task for job in t.enqueued(Pay)] == ["Pay"]


def test_jobs_can_be_cancelled_and_unique_keys_hold(deck: Deck) -> None:
    ran: list[Any] = []

    @deck.task(unique=True)
    async def one(n: int) -> None:
        ran.append(n)

    with deck.testing() as t:
        first, again, other = one.enqueue_sync(1), one.enqueue_sync(1), one.enqueue_sync(2)
        assert (again.id, again.created, other.created) == (first.id, False, True)
        assert deck.cancel_sync(other.id) == "cancelled"
        assert deck.cancel_sync(other.id) == "finished"
        with pytest.raises(qdeck.JobCancelled):
            deck.result_sync(other.id)
        with pytest.raises(qdeck.JobNotFound):
            deck.cancel_sync("0" * 26)
        assert [job.id for job in t.drain()] == [first.id]
        assert one.enqueue_sync(1).created
    assert ran == [1]


def test_arguments_are_checked_and_leaving_goes_back_to_the_server(deck: Deck) -> None:
    @deck.task
    async def note(n: int) -> None: ...

    with deck.testing() as t:
        with pytest.raises(qdeck.InvalidPayload):
            note.enqueue_sync("x")  # type: ignore[arg-type]
        with pytest.raises(qdeck.UnknownTask):
            deck.enqueue_sync("nobody")
        with deck.testing() as inner:
            note.enqueue_sync(1)
            assert len(inner.enqueued()) == 1
        assert t.enqueued() == []
    with pytest.raises(qdeck.ConnectionFailed):
        note.enqueue_sync(1)
