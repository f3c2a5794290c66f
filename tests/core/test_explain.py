"""Why jobs do not run: one sentence a cause, on real servers with real workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import get_args

import pytest
from tests.core.desk import Desk
from tests.core.serving import eventually, serving
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.admin import Cause, CauseWord, Denied, Explanation, InsightDoor, JobRef, Window
from qdeck.causes import RANK


@contextlib.asynccontextmanager
async def shop(server: Server, prefix: str, **settings: object) -> AsyncIterator[Desk]:
    """Opens a desk whose deck knows a few tasks; those that wait end with the desk."""
    options = {"retry_backoff": 0, "block_timeout": 0.5, "grace": 0.5} | settings
    async with Desk(server.url, prefix, **options) as desk:
        gate = asyncio.Event()

        @desk.deck.task(queue="q")
        async def job(n: int) -> None: ...

        @desk.deck.task(queue="q")
        async def nap(n: int = 0) -> None:
            await gate.wait()

        @desk.deck.task(queue="q")
        async def sleepy(n: int) -> None:
            if n == 0:
                await gate.wait()

        @desk.deck.task(queue="q", max_retries=0)
        async def boom(n: int) -> None:
            raise KeyError("currency")

        @desk.deck.task(queue="q", max_retries=3, backoff=[600])
        async def again(n: int) -> None:
            raise OSError("no route")

        try:
            yield desk
        finally:
            gate.set()


async def why(desk: Desk, target: str | JobRef = "q") -> Explanation:
    door: InsightDoor = desk.operator
    return await door.explain(target)


async def until(desk: Desk, word: CauseWord, target: str | JobRef = "q") -> Cause:
    """Waits until a cause is told, and returns it."""
    found: Cause = await eventually(lambda: _find(desk, word, target))
    return found


async def _find(desk: Desk, word: CauseWord, target: str | JobRef) -> Cause | None:
    explained = await why(desk, target)
    return next((cause for cause in explained.causes if cause.word == word), None)


async def test_a_paused_queue_names_who_paused_it(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q"):
        await desk.put(1, "q", "nap")
        await desk.operator.pause("q")
        ids = await desk.put(3)
        found = await why(desk)
        assert found.word == "paused"
        assert found.text.startswith("q is paused by ana@here since ")
        assert found.next_step == "qdeck resume q"
        assert found.causes[0].since is not None
        assert (await why(desk, JobRef(ids[0], "q"))).word == "paused"


async def test_a_held_job_names_its_paused_task(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q"):
        await desk.put(1)
        await until(desk, "empty")
        await desk.operator.pause("q", "job")
        ids = await desk.put(3)
        found = await why(desk)
        assert (found.word, found.text) == ("held", "3 jobs of q are held because job is paused")
        assert found.next_step == "qdeck resume q --task job"
        one = await why(desk, JobRef(ids[1], "q"))
        assert (one.word, one.text) == (
            "held",
            "it is held because the task job is paused in q",
        )


async def test_a_limit_that_is_reached_is_told_with_its_number(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q", concurrency=5):
        await desk.deck.execute(verbs.limit(desk.deck.keys("q"), 2, None))
        ids = await desk.put(4, "q", "nap")
        cause = await until(desk, "limit")
        assert cause.text == "q runs 2 of at most 2 at once (its limit)"
        assert (await why(desk, JobRef(ids[3], "q"))).word == "limit"


async def test_a_rate_that_is_used_up_says_when_the_next_starts(
    valkey: Server, prefix: str
) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q"):
        await desk.deck.execute(verbs.limit(desk.deck.keys("q"), None, 0.02))
        await desk.put(3)
        cause = await until(desk, "rate")
        assert cause.text.startswith("q starts at most 0.02 a second (its rate); the next in ")


async def test_a_job_that_is_not_due_says_when(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q"):
        (later,) = await desk.put(1, delay=3600)
        found = await why(desk, JobRef(later, "q"))
        assert found.word == "not due"
        assert found.text.startswith("it is scheduled and due in 59m, at 20")
        assert found.next_step == "run it now, or wait"
        (retrying,) = await desk.put(1, "q", "again")
        await eventually(lambda: _state(desk, retrying, "retrying"))
        found = await why(desk, JobRef(retrying, "q"))
        assert found.word == "not due"
        assert "it is retrying after run 1 of 4 and due in " in found.text
        assert found.text.endswith("; its last error: OSError: no route")
        found = await why(desk)
        assert (found.word, found.text) == (
            "not due",
            "nothing is due in q: 1 scheduled and 1 retrying for later",
        )


async def _state(desk: Desk, job_id: str, state: str) -> bool:
    found = await desk.operator.job(JobRef(job_id, "q"))
    return found is not None and found.row.state == state


async def test_no_worker_at_all_is_told(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk:
        ids = await desk.put(3)
        found = await why(desk)
        assert (found.word, found.text) == ("no worker", "no worker runs; 3 jobs pending in q")
        assert found.next_step == "start one: qdeck worker APP -q q"
        assert [cause.word for cause in (await why(desk, JobRef(ids[2], "q"))).causes] == [
            "no worker",
            "ahead",
        ]


async def test_a_queue_that_no_worker_serves_is_told_with_those_that_are(
    valkey: Server, prefix: str
) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "mail", "bulk"):
        await desk.put(1)
        cause = await until(desk, "no worker")
        assert cause.text == "no worker serves q; those that run serve bulk, mail"


async def test_runs_lost_with_their_worker_are_told_where_nobody_serves(
    valkey: Server, prefix: str
) -> None:
    async with shop(valkey, prefix) as desk:
        await desk.put(2)
        await desk.claim(2)
        found = await why(desk)
        assert (found.word, found.text) == (
            "no worker",
            "2 jobs of q ran on workers that were lost, and no worker serves q to run them again",
        )


async def test_workers_that_are_all_quiet_are_told(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q") as worker:
        await eventually(lambda: _states(desk, ["running"]))
        await desk.operator.quiet(worker.id)
        await eventually(lambda: _states(desk, ["quiet"]))
        await desk.put(1)
        cause = await until(desk, "no worker")
        assert cause.text.startswith("no worker that serves q claims: ")
        assert cause.text.endswith(" is quiet")


async def _states(desk: Desk, states: list[str]) -> bool:
    return [row.state for row in await desk.operator.workers()] == states


async def test_a_task_that_no_worker_knows_is_named(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q"):
        (job_id,) = await desk.put(1, "q", "send_fax")
        await eventually(lambda: _state(desk, job_id, "retrying"))
        found = await why(desk, JobRef(job_id, "q"))
        assert found.word == "unknown task"
        assert found.text == "no worker that serves q knows the task send_fax"
        await desk.operator.pause("q")
        await desk.put(1, "q", "send_fax")
        assert [cause.word for cause in (await why(desk)).causes] == ["paused", "unknown task"]


async def test_workers_of_another_queue_that_know_the_task_are_named(
    valkey: Server, prefix: str
) -> None:
    async with shop(valkey, prefix) as desk, Desk(valkey.url, prefix) as other:

        @other.deck.task(queue="fax")
        async def send_fax(n: int) -> None: ...

        async with serving(desk.deck, "q"), serving(other.deck, "fax"):
            (job_id,) = await desk.put(1, "q", "send_fax", delay=60)
            cause = await until(desk, "unknown task", JobRef(job_id, "q"))
            assert cause.text.endswith("; workers of fax know it")


async def test_busy_slots_name_what_they_run(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q", concurrency=2):
        await desk.put(5, "q", "nap")
        cause = await until(desk, "busy")
        assert cause.text == "all 2 slots of 1 worker that serves q are busy, 2 with nap"


async def test_a_task_that_fails_is_named_with_its_share(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q", concurrency=1):
        await desk.put(12, "q", "boom", priority="high")
        await desk.put(3, "q", "nap")
        cause = await until(desk, "failing")
        assert cause.text.startswith("100% of boom in q fail since ")
        assert "qdeck dead groups -q q" in cause.next_step


async def test_a_task_slower_than_usual_is_named_with_both_times(
    valkey: Server, prefix: str
) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q", concurrency=1):
        for n in (1, 2, 3, 0):
            await desk.deck.enqueue("sleepy", {"n": n}, queue="q")
        (waiting,) = await desk.put(1)
        cause = await until(desk, "slow")
        assert cause.text.startswith("sleepy is slow: it has been running for ")
        assert "(its usual p95 is " in cause.text
        assert cause.text.endswith(") and takes 1 of 1 slots")
        assert (await why(desk, JobRef(waiting, "q"))).word == "slow"
        rows = (await desk.operator.jobs("q", "running", Window())).rows
        one = await why(desk, rows[0].ref)
        assert [each.word for each in one.causes] == ["slow", "running"]
        await desk.operator.cancel([rows[0].ref])


async def test_a_full_server_is_told(prefix: str) -> None:
    with Server() as server:
        async with shop(server, prefix) as desk:
            await desk.put(3)
            server.ask("CONFIG", "SET", "maxmemory", "1mb")
            found = await why(desk)
            assert found.word == "server"
            assert found.text.startswith("the server's memory is full (")
            assert [cause.word for cause in found.causes] == ["server", "no worker"]


async def test_a_disk_that_takes_no_snapshot_is_told(prefix: str) -> None:
    with Server() as server:
        async with shop(server, prefix) as desk:
            await desk.put(1)
            (server.folder / "dump.rdb").mkdir()
            server.ask("BGSAVE")
            cause = await until(desk, "server")
            assert cause.text == "the last snapshot to disk failed: the server may refuse writes"
            assert cause.next_step == "look at the server's disk and its log"


async def test_a_server_in_a_failover_is_told(prefix: str) -> None:
    with Server() as server:
        async with shop(server, prefix) as desk:
            await desk.put(1)
            server.ask("REPLICAOF", "127.0.0.1", "1")
            found = await why(desk)
            assert found.word == "server"
            assert "this server is a replica that has lost its primary 127.0.0.1:1" in found.text


async def test_a_job_that_runs_or_has_ended_says_so(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q", concurrency=1):
        (dead,) = await desk.put(1, "q", "boom")
        (done,) = await desk.put(1)
        (running,) = await desk.put(1, "q", "nap")
        await eventually(lambda: _state(desk, running, "running"))
        (waiting,) = await desk.put(1, delay=60)
        await desk.operator.cancel([JobRef(waiting, "q")])
        found = await why(desk, JobRef(dead, "q"))
        assert found.word == "finished"
        assert found.text.startswith("it is dead at ")
        assert found.text.endswith(" UTC: no runs left (KeyError: 'currency')")
        assert (await why(desk, JobRef(done, "q"))).text.startswith("it is completed at ")
        assert (await why(desk, JobRef(waiting, "q"))).text.startswith("it is cancelled at ")
        found = await why(desk, JobRef(running, "q"))
        assert found.word == "running"
        assert found.text.startswith("it has been running on ")


async def test_a_lost_worker_of_a_running_job_is_told(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk:
        (job_id,) = await desk.put(1)
        await desk.claim(1)
        found = await why(desk, JobRef(job_id, "q"))
        assert [cause.word for cause in found.causes] == ["no worker", "running"]
        assert found.text.startswith("its worker w1 was lost; it runs again once its lease has")
        assert found.text.endswith(", but no worker serves q")


async def test_an_idle_queue_and_one_that_moves_say_so(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk, serving(desk.deck, "q", concurrency=5):
        await desk.put(1)
        await eventually(lambda: _find(desk, "empty", "q"))
        assert (await why(desk)).text == "nothing is waiting in q"
        assert (await why(desk)).next_step == ""


async def test_an_unknown_queue_or_job_is_refused(valkey: Server, prefix: str) -> None:
    async with shop(valkey, prefix) as desk:
        with pytest.raises(Denied, match="there is no queue 'q' here"):
            await why(desk)
        with pytest.raises(Denied, match="there is no record of job x in q"):
            await why(desk, JobRef("x", "q"))


def test_every_cause_has_a_rank() -> None:
    assert set(RANK) == set(get_args(CauseWord))
