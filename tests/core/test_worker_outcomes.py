"""How runs end: control by exception, the hooks of the class form, middleware, lifespan."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.core.apps import crunch
from tests.core.serving import eventually, finished, new_deck, serving, state_of
from tests.servers import Server

import qdeck
from qdeck import Context, Deck, State


async def test_retry_discard_and_snooze_say_how_a_run_ends(deck: Deck) -> None:
    seen: dict[str, list[int]] = {"retry": [], "discard": [], "snooze": []}

    @deck.task(max_retries=1, backoff=[1000])
    async def retry(ctx: Context) -> str:
        seen["retry"].append(ctx.attempt)
        if len(seen["retry"]) == 1:
            raise qdeck.Retry(after=0)
        return "again"

    @deck.task(max_retries=5)
    def discard(ctx: Context) -> None:
        seen["discard"].append(ctx.attempt)
        raise qdeck.Discard("not wanted")

    @deck.task(max_retries=0)
    async def snooze(ctx: Context) -> str:
        seen["snooze"].append(ctx.attempt)
        if len(seen["snooze"]) < 4:
            raise qdeck.Snooze(0)
        return "awake"

    async with serving(deck):
        jobs = [await task.enqueue() for task in (retry, discard, snooze)]
        done = [await finished(deck, job) for job in jobs]
    assert [job.state for job in done] == [State.COMPLETED, State.DEAD, State.COMPLETED]
    assert seen == {"retry": [1, 2], "discard": [1], "snooze": [1, 1, 1, 1]}
    assert (done[0].result, done[0].attempt) == ("again", 2)
    assert (done[2].result, done[2].attempt) == ("awake", 1)
    assert await deck.call("HGET", deck.keys("default").run(done[1].id), "reason") == b"not wanted"


async def test_control_with_nonsense_in_it_fails_the_run_or_is_ignored(deck: Deck) -> None:
    raised: list[Exception] = [
        qdeck.Snooze(float("nan")),
        qdeck.Snooze("soon"),  # type: ignore[arg-type]
        qdeck.Retry(after=float("nan")),
        qdeck.Retry(after="x"),  # type: ignore[arg-type]
        qdeck.Discard(object()),  # type: ignore[arg-type]
        qdeck.Discard("bad \udcff name"),
        qdeck.Discard(""),
    ]

    @deck.task(max_retries=0)
    async def control(n: int) -> None:
        raise raised[n]

    async with serving(deck):
        jobs = await deck.enqueue_many(control.call(n) for n in range(len(raised)))
        for job in jobs:
            assert (await finished(deck, job)).state is State.DEAD
        far = control.options(max_retries=1)
        raised.append(qdeck.Retry(after=float("inf")))
        job = await far.enqueue(len(raised) - 1)

        async def retrying() -> bool:
            return await state_of(deck, job) is State.RETRYING

        await eventually(retrying)


async def test_the_class_form_runs_with_its_hooks(deck: Deck) -> None:
    calls: list[Any] = []

    @deck.register
    class Pay(qdeck.Task, queue="payments", max_retries=5, timeout=60):
        order: int

        async def handle(self, ctx: Context) -> int:
            calls.append(("handle", self.order, ctx.attempt))
            if self.order < 0:
                raise KeyError(self.order)
            return self.order * 2

        def retry_delay(self, attempt: int) -> float:
            calls.append(("delay", attempt))
            return 0.0

        def should_retry(self, error: Exception) -> bool:
            calls.append(("should", type(error)))
            return len([call for call in calls if call[0] == "handle"]) < 2

        async def failed(self, error: Exception) -> None:
            found = await deck.job(job.id)
            assert found is not None
            calls.append(("failed", type(error), found.state))

    async with serving(deck, "payments"):
        good = await Pay(order=4).dispatch()
        assert await deck.result(good.id, timeout=30) == 8
        calls.clear()
        job = await Pay(order=-1).dispatch()
        await finished(deck, job)
        await eventually(lambda: calls[-1][0] == "failed")
    assert calls[0] == ("handle", -1, 1)
    assert ("should", KeyError) in calls
    assert ("delay", 1) in calls
    assert [call for call in calls if call[0] == "handle"] == [("handle", -1, 1), ("handle", -1, 2)]
    assert [call for call in calls if call[0] == "failed"] == [("failed", KeyError, State.DEAD)]


async def test_should_retry_is_asked_about_the_error_of_a_child(deck: Deck) -> None:
    deck.registry.add(crunch.deck.registry.get("Charge"))
    async with serving(deck, "default"):
        given_up = await finished(deck, await deck.enqueue("Charge", {"order": 0}))
        assert (given_up.state, given_up.attempt) == (State.DEAD, 1)
        again = await finished(deck, await deck.enqueue("Charge", {"order": 7}))
        assert (again.state, again.attempt) == (State.DEAD, 2)


async def test_a_class_task_is_delayed_and_sent_elsewhere_by_its_chain(deck: Deck) -> None:
    @deck.register
    class Note(qdeck.Task):
        word: str

        def handle(self, ctx: Context) -> str:
            return f"{self.word} on {ctx.queue}"

    job = await Note(word="hi").delay(0.1).on_queue("other").dispatch()
    assert (job.state, job.queue) == (State.SCHEDULED, "other")
    async with serving(deck, "other"):
        assert await deck.result(job.id, timeout=30) == "hi on other"


async def test_failed_runs_at_most_once_and_not_for_a_failure_that_is_retried(deck: Deck) -> None:
    failures = []

    @deck.register
    class Flaky(qdeck.Task, max_retries=2):
        good: bool

        def handle(self, ctx: Context) -> None:
            if ctx.attempt < 3 or not self.good:
                raise RuntimeError(str(ctx.attempt))

        def failed(self, error: Exception) -> None:
            failures.append(str(error))

    async with serving(deck):
        for good in (True, False):
            await finished(deck, await Flaky(good=good).dispatch())
        await eventually(lambda: failures)
    assert failures == ["3"]


@pytest.mark.parametrize("wrong", [ZeroDivisionError, SystemExit])
async def test_hooks_that_fail_cost_nothing(deck: Deck, wrong: type[BaseException]) -> None:
    failures = []

    @deck.register
    class Broken(qdeck.Task, max_retries=1):
        def handle(self, ctx: Context) -> None:
            raise RuntimeError

        def retry_delay(self, attempt: int) -> float:
            raise wrong

        def should_retry(self, error: Exception) -> bool:
            raise wrong

        async def failed(self, error: Exception) -> None:
            failures.append(error)
            raise wrong

    async with serving(deck):
        for _ in range(2):
            done = await finished(deck, await Broken().dispatch())
            assert (done.state, done.attempt) == (State.DEAD, 2)
        await eventually(lambda: len(failures) == 2)


async def test_middleware_wraps_runs_in_order_and_sees_failures(
    valkey: Server, prefix: str
) -> None:
    calls: list[Any] = []

    def layer(name: str) -> Any:
        async def wrap(ctx: Context, call_next: Any) -> Any:
            calls.append((name, "before", ctx.attempt))
            try:
                value = await (call_next(ctx) if name == "b" else call_next())
            except Exception as error:
                calls.append((name, "failure", type(error)))
                raise
            calls.append((name, "after", value))
            return value

        return wrap

    async with new_deck(valkey.url, prefix, middleware=[layer("a"), layer("b")]) as deck:
        deck.registry.add(crunch.deck.registry.get("double"))

        @deck.task(max_retries=0)
        async def half(n: int) -> float:
            return 1 / n

        @deck.task(max_retries=0)
        def third(n: int) -> float:
            return 1 / n

        async with serving(deck, concurrency=1):
            await finished(deck, await half.enqueue(2))
            before, after = ("before", 1), ("after", 0.5)
            assert calls == [("a", *before), ("b", *before), ("b", *after), ("a", *after)]
            for task in (half, third):
                calls.clear()
                await finished(deck, await task.enqueue(0))
                bad = ("failure", ZeroDivisionError)
                assert calls == [("a", *before), ("b", *before), ("b", *bad), ("a", *bad)]
            calls.clear()
            done = await finished(deck, await deck.enqueue("double", {"n": 4}))
            assert done.result == 8
            assert [call[:2] for call in calls[:2]] == [("a", "before"), ("b", "before")]


async def test_handlers_find_what_the_lifespan_made(valkey: Server, prefix: str) -> None:
    life = []

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, int]]:
        life.append("open")
        yield {"pool": 7}
        life.append("closed")

    async with new_deck(valkey.url, prefix, lifespan=lifespan) as deck:

        @deck.task
        async def use(ctx: Context) -> int:
            return int(ctx.state["pool"])

        @deck.task
        def use_too(ctx: Context) -> int:
            return int(ctx.state["pool"])

        async with serving(deck):
            for task in (use, use_too):
                job = await task.enqueue()
                assert await deck.result(job.id, timeout=30) == 7
            assert life == ["open"]
    assert life == ["open", "closed"]


async def test_a_lifespan_that_fails_ends_the_worker_with_its_error(
    valkey: Server, prefix: str
) -> None:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise ZeroDivisionError
        yield

    async with new_deck(valkey.url, prefix, lifespan=lifespan) as deck:
        with pytest.raises(ZeroDivisionError):
            await deck.worker().run()
