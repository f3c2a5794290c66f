"""An operator sees of one job, task and error group all that is kept of it."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Action, Failure, JobRef, Window


async def test_broken_records_are_rows_with_a_reason(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        keys = desk.deck.keys("q")
        broken = await desk.put(4)
        await desk.call("SET", keys.job(broken[0]), b"\xff\x00 not msgpack")
        await desk.call("DEL", keys.job(broken[1]))
        await desk.call("DEL", keys.job(broken[2]))
        await desk.call("LPUSH", keys.job(broken[2]), "a list")
        await desk.call("SET", keys.run(broken[3]), "a string")
        page = await desk.operator.jobs("q", "pending", Window())
        assert [row.task for row in page.rows] == ["?", "?", "?", "job"]
        assert [row.error for row in page.rows] == [
            "the record is not readable",
            "the record is missing",
            "the record is not readable",
            "",
        ]
        for row in page.rows:
            detail = await desk.operator.job(row.ref)
            assert detail is not None
            assert detail.row.task == row.task
            assert detail.reason == row.error
        assert (await desk.operator.jobs("q", "pending", Window(), "task:job")).total == 1


async def test_a_job_is_shown_with_all_that_is_kept_of_it(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1, metadata={"by": "ana"}, priority="high", max_retries=1)
        ref = await desk.operator.find(job_id)
        assert ref == JobRef(job_id, "q")
        await desk.fail(1, final=False, delay_ms=0, message="first")
        tend = desk.operator.run_now([ref])
        assert (await tend).changed == 1
        await desk.fail(1, message="second: <b>")
        detail = await desk.operator.job(ref)
        assert detail is not None
        assert detail.row.state == "dead"
        assert (detail.row.attempt, detail.row.max_attempts, detail.row.priority) == (2, 2, 6)
        assert detail.payload == '{"n":0}'
        assert detail.metadata == '{"by":"ana"}'
        assert detail.result is None
        assert detail.error is not None
        assert (detail.error.type, detail.error.message) == ("OSError", "second: <b>")
        assert detail.error.traceback == "Traceback …"
        assert [(a.number, a.outcome, a.worker) for a in detail.attempts] == [
            (1, "retrying", "w1"),
            (2, "dead", "w1"),
        ]
        assert detail.attempts[1].error == "OSError: second: <b>"
        assert detail.row.error == "OSError: second: <b>"
        assert detail.row.finished_at is not None
        assert detail.reason == "no use"
        assert detail.crashes == 0
        assert await desk.operator.job(JobRef("nothing", "q")) is None
        assert await desk.operator.find("nothing") is None


async def test_a_completed_job_has_no_error_but_keeps_the_attempt_that_failed(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1, max_retries=1)
        ref = JobRef(job_id, "q")
        await desk.fail(1, final=False, delay_ms=0, message="once")
        await desk.operator.run_now([ref])
        retried, failed = await desk.deck.job(job_id), await desk.operator.job(ref)
        assert retried is not None
        assert failed is not None
        assert retried.error is not None
        assert failed.error is not None
        await desk.complete(1)
        job, detail = await desk.deck.job(job_id), await desk.operator.job(ref)
        assert job is not None
        assert detail is not None
        assert (job.state, job.error, detail.error) == ("completed", None, None)
        assert [attempt.error for attempt in detail.attempts] == ["OSError: once"]


async def test_a_result_is_shown_as_it_was_stored(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        (job_id,) = await desk.complete(1)
        detail = await desk.operator.job(JobRef(job_id, "q"))
        assert detail is not None
        assert (detail.row.state, detail.result) == ("completed", '"done"')


async def test_running_jobs_of_all_queues_are_listed_by_start(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        order = []
        for n in (2, 0, 1):
            await desk.put(1, f"q{n}")
            order += [claimed.id for claimed in await desk.claim(1, f"q{n}", f"w{n}")]
            await asyncio.sleep(0.005)
        page = await desk.operator.running(Window())
        assert [row.ref.id for row in page.rows] == order
        assert page.total == 3
        assert [row.worker for row in page.rows] == ["w2", "w0", "w1"]
        turned = await desk.operator.running(Window(1, 2, True))
        assert [row.ref.id for row in turned.rows] == order[::-1][1:]


async def test_a_running_job_is_shown_beside_the_usual_time_of_its_task(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(4)
        await desk.complete(3)
        await desk.claim(1)
        (row,) = (await desk.operator.running(Window())).rows
        assert row.usual_p95_s == pytest.approx(0.012, rel=0.13)
        (task,) = await desk.operator.tasks("q")
        assert task.run_p50 == row.usual_p95_s
        assert task.wait_p95 is not None
        assert task.failure_share == 0.0
        assert (task.pending, task.running, task.later, task.dead) == (0, 1, 0, 0)


async def test_tasks_of_a_queue_come_worst_first(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2, task="good")
        await desk.complete(2, task="good")
        await desk.put(4, task="bad")
        await desk.fail(3, task="bad")
        await desk.complete(1, task="bad")
        await desk.put(3, task="new")
        await desk.operator.pause("q", "new")
        found = await desk.operator.tasks("q")
        assert [row.task for row in found] == ["bad", "new", "good"]
        assert found[0].failure_share == 0.75
        assert found[0].dead == 3
        assert found[1].failure_share is None
        assert found[1].run_p50 is None
        assert found[1].paused is not None
        assert found[1].paused.by == "ana@here"


async def test_dead_jobs_are_grouped_by_error(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(5)
        await desk.put(1, "other")
        small = await desk.fail(1, message="odd", fingerprint="f2")
        large = await desk.fail(4)
        await desk.fail(1, "other")
        found = await desk.operator.errors()
        assert [(g.queue, g.fingerprint, g.count) for g in found.groups] == [
            ("q", "f1", 4),
            ("other", "f1", 1),
            ("q", "f2", 1),
        ]
        assert found.total_dead == 6
        assert found.complete
        assert found.kept_s == desk.operator.reader.deck.settings.keep_dead == 2_592_000
        first = found.groups[0]
        assert (first.task, first.type, first.message) == ("job", "OSError", "no route to host")
        assert first.new_per_hour == 4
        assert first.sample is not None
        assert first.sample.id in large
        page = await desk.operator.group(first, Window(0, 3))
        assert page.total == 4
        assert [row.ref.id for row in page.rows] == sorted(large, reverse=True)[:3]
        assert len((await desk.operator.errors("q")).groups) == 2
        # The sample of a group is one that is still there.
        await desk.finish(
            await desk.operator.start(await desk.operator.delete([JobRef(small[0], "q")]))
        )
        assert [g.fingerprint for g in (await desk.operator.errors("q")).groups] == ["f1"]


async def test_actions_tell_what_may_be_done_and_why_not(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(3)
        await desk.fail(1)
        await desk.claim(1)
        door = desk.operator
        known = set(get_args(Action))
        for state in ("pending", "running", "dead"):
            (row,) = (await door.jobs("q", state, Window())).rows
            found = door.actions(row)
            assert set(found) <= known
            allowed = {verb for verb, permission in found.items() if permission.allowed}
            assert (
                allowed
                == {
                    "pending": {"cancel", "delete", "discard", "priority", "patch"},
                    "running": {"cancel"},
                    "dead": {"retry", "delete", "patch"},
                }[state]
            )
            assert all(
                permission.reason for verb, permission in found.items() if verb not in allowed
            )
        queues = (await door.snapshot()).queues
        assert not isinstance(queues, Failure)
        (queue,) = queues
        assert {verb: each.allowed for verb, each in door.actions(queue).items()} == {
            "pause": True,
            "resume": False,
        }
        looking = desk.deck.admin(read_only=True)
        assert looking.read_only
        assert not any(each.allowed for each in looking.actions(queue).values())
        await looking.close()
