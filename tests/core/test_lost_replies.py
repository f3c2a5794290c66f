"""Replies that get lost after the server has executed: every call is repeated with one outcome."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
from tests.core.serving import check_sets, eventually, finished, new_deck, serving
from tests.proxies import CuttingProxy
from tests.servers import Server

import qdeck
from qdeck import Context, Deck, State
from qdeck.scripts import script

Words = list[bytes]
SHORT = "?socket_timeout=0.5&socket_connect_timeout=0.5"


@pytest.fixture
async def far(proxy: CuttingProxy, valkey: Server, prefix: str) -> AsyncIterator[Deck]:
    """A deck whose every call goes through the proxy."""
    async with new_deck(proxy.url + SHORT, prefix, lease=1.5) as far:
        yield far
        proxy.heal()
        proxy.cut_after(lambda words: False, 0)
    check_sets(valkey, prefix)


def calls(name: str, also: Callable[[Words], bool] = lambda words: True) -> Callable[[Words], bool]:
    """Matches calls of one script."""
    known = script(name)
    marks = {known.sha.encode(), known.text.encode()}
    return lambda words: len(words) > 2 and words[1] in marks and also(words)


def claims(words: Words) -> bool:
    """Whether a call of work.lua claims."""
    return words[3 + int(words[2]) + 3] != b"0"


def settles(words: Words) -> bool:
    """Whether a call of work.lua settles."""
    return words[3 + int(words[2]) + 5] != b""


async def test_an_enqueue_whose_reply_is_lost_is_repeated_and_creates_one_job(
    far: Deck, deck: Deck, proxy: CuttingProxy
) -> None:
    @far.task
    async def note(n: int) -> None: ...

    await note.enqueue(0)
    keys = far.keys("default")
    proxy.cut_after(calls("enqueue"), 2)
    job = await note.enqueue(1)
    assert job.created
    assert proxy.cuts == 2
    assert await deck.call("ZCARD", keys.ready) == 2
    proxy.cut_after(calls("enqueue"), 1)
    many = await far.enqueue_many(note.call(n) for n in range(1200))
    assert all(job.created for job in many)
    assert await deck.call("ZCARD", keys.ready) == 1202
    proxy.cut_after(calls("enqueue"), 1)
    job = await asyncio.to_thread(note.enqueue_sync, 2)
    assert job.created
    assert await deck.call("ZCARD", keys.ready) == 1203
    assert await deck.call("HGET", keys.tasks, "pending:note") == b"1203"
    proxy.cut_after(lambda words: words[0] == b"SADD", 1)
    assert (await note.options(queue="other").enqueue(3)).created
    assert proxy.cuts == 5


async def test_a_unique_enqueue_whose_reply_is_lost_holds_its_own_key(
    far: Deck, proxy: CuttingProxy
) -> None:
    @far.task(unique=True)
    async def one() -> None: ...

    proxy.cut_after(calls("enqueue"), 2)
    job = await one.enqueue()
    assert job.created
    assert not (await one.enqueue()).created


async def test_an_enqueue_without_any_reply_says_that_the_outcome_is_unknown(
    proxy: CuttingProxy, prefix: str
) -> None:
    async with new_deck(proxy.url + SHORT, prefix) as far:

        @far.task
        async def note(n: int) -> None: ...

        await note.enqueue(0)
        far.patience = 0.3
        proxy.refuse()
        with pytest.raises(qdeck.ConnectionFailed, match="outcome unknown") as caught:
            await note.enqueue(1)
        assert caught.value.job_id is not None
        assert len(caught.value.job_id) == 26
        assert f"127.0.0.1:{proxy.port}" in str(caught.value)
        with pytest.raises(qdeck.ConnectionFailed, match="2 jobs not enqueued in default: cannot"):
            await far.enqueue_many([note.call(2), note.call(3)])
        with pytest.raises(qdeck.ConnectionFailed, match="not enqueued in default: ") as caught:
            await asyncio.to_thread(note.enqueue_sync, 4)
        assert caught.value.job_id is None, "its outcome is known"


@pytest.mark.parametrize(
    "match",
    [
        calls("work", claims),
        calls("work", settles),
        calls("work"),
        calls("tend"),
        calls("log"),
        calls("progress"),
        lambda words: words[0] == b"BZPOPMIN",
    ],
    ids=["claim", "settle", "work", "tend", "log", "progress", "wait"],
)
async def test_jobs_run_once_whichever_reply_of_a_worker_is_lost(
    far: Deck, deck: Deck, proxy: CuttingProxy, match: Callable[[Words], bool]
) -> None:
    runs: list[int] = []

    @far.task(max_retries=1)
    async def note(ctx: Context, n: int) -> int:
        ctx.log.info("n %d", n)
        ctx.progress(n)
        runs.append(n)
        await asyncio.sleep(0.001)
        if n % 10 == 3 and ctx.attempt == 1:
            raise qdeck.Retry(after=0.05)
        return n

    async with serving(far):
        await finished(deck, await note.enqueue(100))
        runs.clear()
        proxy.cut_after(match, 3)
        jobs = await deck.enqueue_many(note.call(n) for n in range(40))
        done = [await finished(deck, job) for job in jobs]
        later = await note.options(delay=0.05).enqueue(200)
        await finished(deck, later)
        await eventually(lambda: proxy.cuts >= 3)
    expected = sorted([*range(40), *range(3, 40, 10), 200])
    assert sorted(runs) == expected
    assert {job.state for job in done} == {State.COMPLETED}
    assert [job.attempt for job in done] == [2 if n % 10 == 3 else 1 for n in range(40)]
    totals = await deck.call("HGETALL", deck.keys("default").totals)
    fields = dict(zip(totals[::2], map(int, totals[1::2]), strict=True))
    assert fields[b"completed"] == 42
    assert fields[b"failed"] == 4
    assert b"stale" not in fields
    assert b"crashed" not in fields


async def test_a_beat_whose_reply_is_lost_is_repeated_and_the_lease_lives(
    far: Deck, deck: Deck, proxy: CuttingProxy
) -> None:
    runs = []

    @far.task
    async def slow() -> None:
        runs.append(1)
        await eventually(lambda: proxy.cuts >= 4)

    job = await slow.enqueue()
    async with serving(far):
        beats = calls("beat")
        await eventually(lambda: sum(map(beats, proxy.requests)) >= 3)
        async with serving(deck, "default"):
            proxy.cut_after(beats, 4)
            done = await finished(deck, job)
    assert (done.state, done.attempt, runs) == (State.COMPLETED, 1, [1])


async def test_a_cancel_whose_reply_is_lost_is_repeated(
    far: Deck, deck: Deck, proxy: CuttingProxy
) -> None:
    @far.task
    async def note() -> None: ...

    job = await note.options(delay=600).enqueue()
    proxy.cut_after(calls("move"), 1)
    assert await far.cancel(job.id) in ("cancelled", "finished")
    found = await deck.job(job.id)
    assert found is not None
    assert found.state is State.CANCELLED
    proxy.cut_after(lambda words: words[0] in (b"EXEC", b"ZSCORE", b"HGETALL"), 1)
    assert (await far.job(job.id)) is not None


async def test_a_connection_that_breaks_all_the_time_loses_and_doubles_nothing(
    far: Deck, deck: Deck, proxy: CuttingProxy
) -> None:
    runs: list[int] = []
    dice = random.Random(7)

    @far.task
    async def note(n: int) -> None:
        runs.append(n)

    @far.task
    async def nap(n: int) -> None:
        await asyncio.sleep(dice.random() / 50)
        runs.append(n)

    async with serving(far, concurrency=20):
        proxy.cut_after(lambda words: words[0] == b"EVALSHA" and dice.random() < 0.2, 60)
        jobs = [await (note if n % 2 else nap).enqueue(n) for n in range(200)]
        done = [await finished(deck, job) for job in jobs]
    assert sorted(runs) == list(range(200))
    assert {(job.state, job.attempt) for job in done} == {(State.COMPLETED, 1)}
    assert proxy.cuts > 10


@pytest.mark.parametrize("outage", ["refuse", "black hole"])
async def test_a_worker_consumes_again_after_an_outage(
    far: Deck, deck: Deck, proxy: CuttingProxy, outage: str
) -> None:
    runs: list[int] = []

    @far.task
    async def note(n: int) -> int:
        runs.append(n)
        return n

    async with serving(far):
        await finished(deck, await note.enqueue(0))
        for n in (1, 2):
            if outage == "refuse":
                proxy.refuse()
            else:
                proxy.black_hole()
            job = await deck.enqueue_many([note.call(10 * n), note.call(10 * n + 1)])
            await asyncio.sleep(2.5)
            if outage == "refuse":
                proxy.listen()
            else:
                proxy.heal()
            for one in job:
                assert (await finished(deck, one)).state is State.COMPLETED
        await finished(deck, await note.enqueue(3))
    assert sorted(runs) == [0, 3, 10, 11, 20, 21]


async def test_a_run_that_loses_its_lease_in_an_outage_is_stopped_and_counts_once(
    far: Deck, deck: Deck, proxy: CuttingProxy, caplog: pytest.LogCaptureFixture
) -> None:
    began: list[str] = []
    ended: list[str] = []
    go = asyncio.Event()

    def define(on: Deck, who: str) -> None:
        @on.task(name="work")
        async def work() -> str:
            began.append(who)
            try:
                await go.wait()
            except asyncio.CancelledError:
                ended.append(who)
                raise
            return who

    define(far, "far")
    define(deck, "near")
    job = await deck.enqueue("work", {})
    async with serving(far):
        await eventually(lambda: began == ["far"])
        proxy.refuse()
        async with new_deck(deck.settings.url or "", deck.settings.prefix, lease=1.5) as near:
            define(near, "near")
            async with serving(near):
                await eventually(lambda: began == ["far", "near"])
                proxy.listen()
                await eventually(lambda: ended == ["far"])
                go.set()
                done = await finished(deck, job)
    assert (done.state, done.result, done.attempt) == (State.COMPLETED, "near", 2)
    assert "its lease was lost" in caplog.text


async def test_a_worker_stops_within_its_grace_while_the_server_is_away(
    proxy: CuttingProxy, prefix: str, valkey: Server
) -> None:
    async with new_deck(proxy.url + SHORT, prefix, lease=1.5) as far:

        @far.task
        async def hang() -> None:
            await asyncio.Event().wait()

        job = await hang.enqueue()
        worker = far.worker(grace=0.5)
        running = asyncio.create_task(worker.run())

        async def runs() -> bool:
            found = await far.job(job.id)
            return found is not None and found.state is State.RUNNING

        await eventually(runs)
        proxy.refuse()
        await worker.stop()
        await running
        proxy.listen()
        # What could not be given back comes back when its lease has ended.
        async with new_deck(valkey.url, prefix, lease=1.5) as near:

            @near.task(name="hang")
            async def done() -> str:
                return "done"

            async with serving(near):
                assert await near.result(job.id, timeout=60) == "done"
