"""Runs that do not end: timeouts that are ignored, threads that run on, loops that are blocked."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any

import pytest
from tests.core.serving import eventually, finished, new_deck, serving, state_of
from tests.servers import Server

import qdeck
from qdeck import Context, Deck, State


async def test_a_handler_that_ignores_its_cancellation_is_settled_and_keeps_its_slot(
    deck: Deck, healthy: Any
) -> None:
    let_go = asyncio.Event()

    @deck.task(timeout=0.1, max_retries=0)
    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    async with serving(deck, concurrency=2) as worker:
        done = await finished(deck, await stubborn.enqueue())
        assert done.state is State.DEAD
        assert done.error is not None
        assert "ignores its cancellation" in done.error.message
        await healthy()
        described = worker.describe()
        fields = dict(zip(described[::2], described[1::2], strict=True))
        assert fields["held"] == ""
        assert await state_of(deck, done) is State.DEAD
        let_go.set()


async def test_a_handler_that_turns_its_timeout_into_another_error_has_timed_out(
    deck: Deck,
) -> None:
    @deck.task(timeout=0.1, max_retries=0)
    async def rude() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("cleanup failed") from None

    async with serving(deck):
        done = await finished(deck, await rude.enqueue())
    assert done.error is not None
    assert done.error.type == "TimeoutError"


async def test_a_thread_past_its_timeout_fails_its_job_and_keeps_its_slot_until_it_ends(
    deck: Deck, caplog: pytest.LogCaptureFixture
) -> None:
    let_go, saw = threading.Event(), threading.Event()

    @deck.task(timeout=0.2, max_retries=0)
    def slow(ctx: Context) -> None:
        let_go.wait(60)
        if ctx.cancelled:
            saw.set()

    @deck.task
    async def quick() -> None: ...

    async with serving(deck, concurrency=1):
        done = await finished(deck, await slow.enqueue())
        assert done.state is State.DEAD
        assert done.error is not None
        assert done.error.type == "TimeoutError"
        assert "thread task slow was stopped, but its thread runs on" in caplog.text
        job = await quick.enqueue()
        for _ in range(50):
            await deck.call("PING")
        assert await state_of(deck, job) is State.PENDING
        let_go.set()
        await finished(deck, job)
    assert saw.is_set()


async def test_a_thread_that_logs_without_end_after_its_timeout_holds_nobody_up(
    deck: Deck, healthy: Any
) -> None:
    let_go = threading.Event()

    @deck.task(timeout=0.2, max_retries=0)
    def shout() -> None:
        while not let_go.is_set():
            sys.stdout.write("line\n" * 1000)

    async with serving(deck, concurrency=2):
        done = await finished(deck, await shout.enqueue())
        assert done.state is State.DEAD
        await healthy()
        let_go.set()


async def test_a_blocked_loop_keeps_its_leases_and_is_reported_as_stuck(
    valkey: Server, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = threading.Event()
    async with new_deck(valkey.url, prefix, lease=0.9) as deck:

        @deck.task(max_retries=0)
        async def block() -> int:
            let_go.wait(60)
            return 1

        job = await block.enqueue()
        found: list[Any] = []

        def watch() -> None:
            with valkey.client() as client:
                key = deck.shared.workers
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    names: Any = client.zrange(key, 0, -1)
                    states = [
                        client.hget(f"{deck.shared.tag}w:{n.decode()}", "state") for n in names
                    ]
                    if b"stuck" in states:
                        break
                    time.sleep(0.02)
                # Three leases long nobody else may take the job.
                begun = time.monotonic()
                while time.monotonic() < begun + 2.7:
                    found.append(client.zscore(deck.keys("default").lease, job.id))
                    time.sleep(0.05)
            let_go.set()

        thread = threading.Thread(target=watch)
        async with serving(deck):
            thread.start()
            done = await finished(deck, job)
        await asyncio.to_thread(thread.join)
    assert (done.state, done.attempt) == (State.COMPLETED, 1)
    assert None not in found
    assert len(set(found)) >= 5
    assert "its event loop is blocked" in caplog.text
    assert "let_go.wait(60)" in caplog.text


async def test_an_overdue_run_of_a_blocked_loop_is_settled_by_the_other_thread(
    valkey: Server, prefix: str
) -> None:
    let_go = threading.Event()
    failures = []
    async with new_deck(valkey.url, prefix, lease=0.6) as deck:

        @deck.register
        class Block(qdeck.Task, max_retries=0, timeout=0.1):
            async def handle(self, ctx: Context) -> int:
                let_go.wait(60)
                return 1

            def failed(self, error: Exception) -> None:
                failures.append(str(error))

        job = await Block().dispatch()
        states: list[State] = []

        def watch() -> None:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                found = deck.job_sync(job.id)
                if found is not None and found.state.finished:
                    states.append(found.state)
                    break
                time.sleep(0.05)
            let_go.set()

        thread = threading.Thread(target=watch)
        async with serving(deck):
            thread.start()
            await asyncio.to_thread(thread.join)
            await eventually(lambda: failures)
        done = await finished(deck, job)
    assert states == [State.DEAD]
    assert done.error is not None
    assert "blocked its worker's event loop" in done.error.message
    assert len(failures) == 1
