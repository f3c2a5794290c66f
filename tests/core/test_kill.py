"""Processes that are killed, workers and servers alike: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.core.apps import steady
from tests.core.crew import crew
from tests.core.serving import check_sets, eventually, finished, new_deck
from tests.servers import Server, wait_until

from qdeck import ConnectionFailed, Deck, Job, State


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path


def effects_key(prefix: str) -> str:
    return f"{{{prefix}-effects}}"


def runs_of(server: Server, prefix: str, job: str) -> list[tuple[int, int]]:
    """Returns (process, server's ms) of each run of a job that began."""
    lines = server.ask("LRANGE", f"{effects_key(prefix)}:{job}", 0, -1)
    return [(int(pid), int(at)) for pid, at in (line.split() for line in lines)]


def server_ms(server: Server) -> int:
    seconds, micros = server.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def completed(server: Server, prefix: str) -> int:
    return int(server.ask("ZCARD", f"{{{prefix}:default}}:completed"))


async def grown(jobs: list[Job[Any]], size: int) -> None:
    await eventually(lambda: len(jobs) >= size)


async def test_killed_workers_lose_nothing_and_no_job_runs_twice_while_its_worker_lives(
    valkey: Server, prefix: str, logs: Path
) -> None:
    dice = random.Random(11)
    async with new_deck(valkey.url, prefix) as deck:
        for name in ("work", "work_in_thread"):
            deck.registry.add(steady.deck.registry.get(name))
        calls = [
            steady.work.call(dice.randint(5, 50))
            if number % 5
            else steady.work_in_thread.call(dice.randint(5, 50))
            for number in range(5000)
        ]
        jobs = await deck.enqueue_many(calls)
        killed: dict[int, int] = {}
        with crew(valkey, prefix, logs, lease=2) as workers:
            for _ in range(4):
                workers.start("-c", "3")
            deadline = time.monotonic() + 240
            while completed(valkey, prefix) < 5000:
                assert time.monotonic() < deadline, workers.log()[-5000:]
                await asyncio.sleep(1)
                victim = dice.choice(workers.living)
                at = server_ms(valkey)
                workers.end(victim)
                killed[victim.pid] = at
                workers.start("-c", "3")
        assert len(killed) >= 3
        counts = check_sets(valkey, prefix)
        assert counts == dict.fromkeys(counts, 0) | {"completed": 5000}
    effects = valkey.ask("HGETALL", effects_key(prefix))
    effect = {job.decode(): int(n) for job, n in zip(effects[::2], effects[1::2], strict=True)}
    assert set(effect) == {job.id for job in jobs}
    again = 0
    for job in jobs:
        runs = runs_of(valkey, prefix, job.id)
        assert 1 <= effect[job.id] <= len(runs)
        again += len(runs) - 1
        for before, after in itertools.pairwise(runs):
            # Only a run whose worker had been killed was followed by another.
            assert before[0] in killed
            assert after[1] >= killed[before[0]]
    assert again <= 3 * len(killed)


async def test_a_killed_server_with_a_synced_file_loses_nothing_and_workers_resume(
    prefix: str, logs: Path
) -> None:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with Server(options=options) as server:
        async with new_deck(server.url, prefix) as deck:
            deck.registry.add(steady.deck.registry.get("work"))
            acknowledged: list[Job[Any]] = []
            enough = asyncio.Event()

            async def produce() -> None:
                while not enough.is_set():
                    with contextlib.suppress(ConnectionFailed):
                        acknowledged.append(await deck.enqueue("work", {"ms": 5}))
                    await asyncio.sleep(0.002)

            with crew(server, prefix, logs, lease=2) as workers:
                for _ in range(2):
                    workers.start()
                # Only a worker that was connected has anything to resume.
                await eventually(lambda: server.ask("ZCARD", f"{{{prefix}}}:workers") == 2)
                producer = asyncio.create_task(produce())
                for goal in (200, 500):
                    await grown(acknowledged, goal)
                    await asyncio.to_thread(server.kill)
                    await asyncio.sleep(0.5)
                    await asyncio.to_thread(server.start)
                await grown(acknowledged, len(acknowledged) + 100)
                enough.set()
                await producer
                for job in acknowledged:
                    assert (await finished(deck, job)).state is State.COMPLETED
                assert len(workers.living) == 2
                assert all(child.poll() is None for child in workers.living)
        check_sets(server, prefix)
        effects = server.ask("HLEN", effects_key(prefix))
        assert effects >= len(acknowledged)


async def test_a_job_whose_worker_vanishes_three_times_is_dead_as_poison(
    deck: Deck, valkey: Server, prefix: str, logs: Path
) -> None:
    deck.registry.add(steady.deck.registry.get("leave"))
    deck.registry.add(steady.deck.registry.get("work"))
    job = await deck.enqueue("leave", {})
    other = await deck.enqueue("work", {"ms": 1})
    with crew(valkey, prefix, logs, lease=0.9) as workers:
        for run in range(3):
            child = workers.start("-c", "1")
            assert await asyncio.to_thread(child.wait, 60) == 3
            workers.living.remove(child)
            assert len(runs_of(valkey, prefix, job.id)) == run + 1
        workers.start("-c", "1")
        done = await finished(deck, job)
        assert done.state is State.DEAD
        assert done.attempt == 3
        assert done.error is not None
        assert done.error.type == "WorkerLost"
        assert "poison" in done.error.message
        assert (await finished(deck, other)).state is State.COMPLETED


async def test_a_child_does_not_outlive_its_killed_worker_and_its_job_runs_again(
    deck: Deck, valkey: Server, prefix: str, logs: Path
) -> None:
    deck.registry.add(steady.deck.registry.get("hang_in_child"))
    job = await deck.enqueue("hang_in_child", {})
    with crew(valkey, prefix, logs, lease=0.9) as workers:
        first = workers.start("-c", "1")
        wait_until(lambda: len(runs_of(valkey, prefix, job.id)) == 1)
        child = psutil.Process(runs_of(valkey, prefix, job.id)[0][0])
        assert child.ppid() == first.pid
        await asyncio.to_thread(workers.end, first)
        wait_until(lambda: not child.is_running())
        second = workers.start("-c", "1")
        wait_until(lambda: len(runs_of(valkey, prefix, job.id)) == 2)
        child = psutil.Process(runs_of(valkey, prefix, job.id)[1][0])
        await asyncio.to_thread(workers.end, second, signal.SIGKILL)
        wait_until(lambda: not child.is_running())


async def test_a_frozen_worker_loses_its_jobs_and_its_late_results_are_refused(
    deck: Deck, valkey: Server, prefix: str, logs: Path
) -> None:
    deck.registry.add(steady.deck.registry.get("work"))
    jobs = [await deck.enqueue("work", {"ms": 700}) for _ in range(3)]
    with crew(valkey, prefix, logs, lease=0.9) as workers:
        first = workers.start()
        wait_until(lambda: all(runs_of(valkey, prefix, job.id) for job in jobs))
        first.send_signal(signal.SIGSTOP)
        workers.start()
        try:
            for job in jobs:
                done = await finished(deck, job)
                assert (done.state, done.attempt) == (State.COMPLETED, 2)
        finally:
            first.send_signal(signal.SIGCONT)
        after = await deck.enqueue("work", {"ms": 1})
        assert (await finished(deck, after)).state is State.COMPLETED
        for child in list(workers.living):
            assert await asyncio.to_thread(workers.end, child, signal.SIGTERM) == 0
    for job in jobs:
        assert (await finished(deck, job)).state is State.COMPLETED


async def test_a_loop_that_stays_blocked_ends_the_process_with_70(
    deck: Deck, valkey: Server, prefix: str, logs: Path
) -> None:
    deck.registry.add(steady.deck.registry.get("block"))
    job = await deck.enqueue("block", {"seconds": 600})
    with crew(valkey, prefix, logs, lease=0.6, QUEUE_STUCK_EXIT="2") as workers:
        child = workers.start()
        assert await asyncio.to_thread(child.wait, 60) == 70
        workers.living.remove(child)
        assert "time.sleep(seconds)" in workers.log()
    found = await deck.job(job.id)
    assert found is not None
    assert not found.state.finished


async def test_a_worker_that_was_suspended_for_longer_than_that_goes_on(
    deck: Deck, valkey: Server, prefix: str, logs: Path
) -> None:
    deck.registry.add(steady.deck.registry.get("work"))
    with crew(valkey, prefix, logs, lease=0.6, QUEUE_STUCK_EXIT="2") as workers:
        child = workers.start()
        await finished(deck, await deck.enqueue("work", {"ms": 1}))
        child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.5)
        child.send_signal(signal.SIGCONT)
        await finished(deck, await deck.enqueue("work", {"ms": 1}))
        assert child.poll() is None
        assert "is blocked" not in workers.log()


@pytest.mark.parametrize("task", ["hang_in_thread", "hang_in_loop", "hang_in_child"])
async def test_a_signal_stops_a_worker_and_a_second_one_forces_it_beside_what_never_ends(
    deck: Deck, valkey: Server, prefix: str, logs: Path, task: str
) -> None:
    deck.registry.add(steady.deck.registry.get(task))
    job = await deck.enqueue(task, {})
    with crew(valkey, prefix, logs, lease=2) as workers:
        child = workers.start("--grace", "600")
        wait_until(lambda: bool(runs_of(valkey, prefix, job.id)))
        child.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert child.poll() is None
        assert await asyncio.to_thread(workers.end, child, signal.SIGTERM) == 0
        found = await deck.job(job.id)
        assert found is not None
        assert (found.state, found.attempt) == (State.PENDING, 0)
        child = workers.start("--grace", "0.2")
        wait_until(lambda: len(runs_of(valkey, prefix, job.id)) == 2)
        assert await asyncio.to_thread(workers.end, child, signal.SIGINT) == 0
        assert "Traceback" not in workers.log()
