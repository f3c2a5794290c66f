"""Bulk operations under their rules: rate, stop rule, canary and patches, on a server."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Change, Denied, JobRef, Operation, Selection, Window
from qdeck.record import Settle

DEAD = Selection("dead")


async def states(desk: Desk, ids: list[str]) -> list[str]:
    found = [await desk.deck.job(job_id) for job_id in ids]
    return ["gone" if job is None else str(job.state) for job in found]


async def payloads(desk: Desk, ids: list[str]) -> list[Any]:
    found = [await desk.deck.job(job_id) for job_id in ids]
    return [None if job is None else job.payload for job in found]


async def publish(desk: Desk, task: str, properties: dict[str, Any]) -> None:
    """Say what a task takes, as a worker of it would."""
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    raw = json.dumps({"name": task, "schema": schema})
    await desk.call("HSET", desk.deck.shared.tasks, task, raw)


async def settle(desk: Desk, kind: str, most: int = 100, final: bool = True) -> list[str]:
    """Claim what is there and end it: completed ("p"), or failed ("f")."""
    claimed = await desk.claim(most)
    ends = [
        Settle(j.id, j.fence, "f", "job", 1.0, 60_000, 3, "no use" if final else None,
               "OSError", "no route", "", "f1")
        if kind == "f"
        else Settle(j.id, j.fence, kind, "job", 1.0, None)
        for j in claimed
    ]  # fmt: skip
    await desk.settle(ends)
    return [each.id for each in claimed]


async def step(desk: Desk, operation: Operation, times: int = 1) -> Operation:
    for _ in range(times):
        operation = await desk.operator.advance(operation.id, operation.queue)
    return operation


async def test_what_became_of_the_jobs_is_counted(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(6)
        dead = await desk.fail(6)
        draft = await desk.operator.retry(DEAD)
        other = await desk.operator.retry([JobRef(dead[5], "q")])
        await desk.finish(await desk.operator.start(other))
        operation = await desk.finish(await desk.operator.start(draft))
        assert (operation.state, operation.ok, operation.skipped) == ("done", 5, 1)
        await settle(desk, "p", 2)
        await settle(desk, "c", 1)
        await settle(desk, "f", 1)
        await settle(desk, "f", 1, final=False)
        now = await desk.operator.operation(operation.id)
        # The first that ran is of the other operation.
        assert (now.completed, now.failed_again, now.new_failures) == (2, 1, 2)
        its = await desk.operator.operation(other.id)
        assert (its.completed, its.failed_again, its.new_failures) == (1, 0, 0)
        assert now.started_by == "ana@here"
        assert now.finished_at is not None


async def test_the_rate_is_kept_on_the_server_by_any_number_of_hands(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(40)
        await desk.fail(40)
        operation = await desk.operator.start(await desk.operator.retry(DEAD), rate=40)
        await asyncio.gather(*(desk.finish(operation) for _ in range(4)))
        found = await desk.operator.operation(operation.id)
        assert (found.state, found.ok, found.rate) == ("done", 40, 40.0)
        assert found.started_at is not None
        assert found.finished_at is not None
        # One at once and a second's worth saved up at most: 40 jobs take no less than 0.975 s.
        assert found.finished_at - found.started_at >= timedelta(seconds=0.97)


async def test_no_more_jobs_fail_than_the_stop_rule_says(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(30)
        await desk.fail(30)
        operation = await desk.operator.start(await desk.operator.retry(DEAD), stop_after=10)
        seen: list[str] = []
        for _ in range(60):
            operation = await step(desk, operation)
            seen += await settle(desk, "f", 3)
            if operation.state != "running":
                break
        assert operation.state == "stopped"
        assert operation.reason == "10 new failures"
        assert (operation.new_failures, operation.failed_again) == (10, 10)
        assert len(seen) == 10
        assert (await desk.operator.jobs("q", "dead", Window())).total == 30


async def test_what_nobody_takes_does_not_hold_an_operation_up_and_goes_back_at_its_stop(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(30)
        dead = await desk.fail(30)
        draft = await desk.operator.retry(DEAD)
        operation = await desk.operator.start(draft, stop_after=2, rate=20)
        while operation.done < 2:
            operation = await step(desk, operation)
        keys, name = desk.deck.keys("q"), operation.id.split(" ")[0]
        for job_id in await desk.call("ZRANGE", keys.operation_out(name), 0, -1):
            # As if they had waited for long.
            await desk.call("ZADD", keys.operation_out(name), "XX", 1, job_id)
        while operation.done < 4:
            operation = await step(desk, operation)
        await settle(desk, "f", 2)
        while operation.state in ("running", "undoing"):
            operation = await step(desk, operation)
        assert (operation.state, operation.new_failures) == ("stopped", 2)
        assert await states(desk, dead) == ["dead"] * 30


async def test_jobs_that_complete_make_room_for_others(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(12)
        await desk.fail(12)
        operation = await desk.operator.start(await desk.operator.retry(DEAD), stop_after=2)
        most = 0
        for _ in range(60):
            operation = await step(desk, operation)
            ran = await settle(desk, "p", 5)
            most = max(most, len(ran))
            if operation.state != "running":
                break
        assert (operation.state, operation.ok, most) == ("done", 12, 2)
        now = await desk.operator.operation(operation.id)
        assert (now.completed, now.new_failures) == (12, 0)


async def test_a_job_that_somebody_else_takes_away_does_not_hold_the_stop_rule_up(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(3)
        await desk.fail(3)
        operation = await desk.operator.start(await desk.operator.retry(DEAD), stop_after=1)
        operation = await step(desk, operation, 3)
        assert operation.done == 1
        (page,) = (await desk.operator.jobs("q", "pending", Window())).rows
        await desk.operator.cancel([page.ref])
        operation = await step(desk, operation, 4)
        assert operation.done == 2


async def test_a_good_canary_lets_the_rest_go(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(5)
        dead = await desk.fail(5)
        (before,) = await desk.put(1, priority="critical")
        await desk.operator.pause("q", "job")
        draft = await desk.operator.retry(DEAD)
        operation = await desk.operator.start(draft, canary=True, resume=True)
        operation = await step(desk, operation, 3)
        assert (operation.canary, operation.done) == ("waiting", 1)
        # Past the pause of its task, and before all others.
        assert await settle(desk, "p") == [dead[0]]
        assert await states(desk, [before]) == ["pending"]
        operation = await desk.finish(operation)
        assert (operation.canary, operation.state, operation.ok) == ("ok", "done", 5)
        snapshot = await desk.operator.tasks("q")
        assert [row.paused for row in snapshot] == [None]


async def test_a_failing_canary_stops_the_rest(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(5)
        dead = await desk.fail(5)
        operation = await desk.operator.start(await desk.operator.retry(DEAD), canary=True)
        operation = await step(desk, operation, 2)
        assert await settle(desk, "f") == [dead[0]]
        operation = await desk.finish(operation)
        assert (operation.state, operation.canary) == ("stopped", "failed")
        assert operation.reason == "the canary failed"
        assert await states(desk, dead) == ["dead"] * 5
        assert operation.new_failures == 1


async def test_a_canary_is_for_jobs_that_run(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.fail(1)
        with pytest.raises(Denied, match="runs no job"):
            await desk.operator.start(await desk.operator.delete(DEAD), canary=True)
        for wrong in ({"rate": 0.0}, {"stop_after": 0}, {"rate": float("inf")}):
            with pytest.raises(Denied, match="not usable"):
                await desk.operator.start(await desk.operator.retry(DEAD), **wrong)


async def test_the_same_does_not_run_twice_unknowingly(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(4)
        await desk.fail(4)
        max_door = desk.deck.admin(actor="max@there")
        mine, its = await desk.operator.retry(DEAD), await max_door.retry(DEAD)
        assert its.warning == ""
        await desk.operator.start(mine, rate=0.001)
        with pytest.raises(Denied, match=r"over the same jobs, started by ana@here: \d of 4"):
            await max_door.start(its)
        with pytest.raises(Denied, match="started by ana@here"):
            await max_door.start(mine)
        again = await max_door.retry(DEAD)
        assert "ana@here runs retry over the same jobs already" in again.warning
        assert (await max_door.start(again, anyway=True)).state == "running"
        await max_door.close()


async def test_an_aborted_operation_goes_no_further(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(4)
        await desk.fail(4)
        operation = await desk.operator.start(await desk.operator.retry(DEAD), rate=0.01)
        operation = await step(desk, operation)
        assert operation.done == 1
        assert (await desk.operator.abort(operation.id, dry_run=True)).changed == 3
        outcome = await desk.operator.abort(operation.id)
        assert outcome.text == "aborted retry after 1 of 4 jobs"
        operation = await desk.finish(await desk.operator.operation(operation.id))
        assert (operation.state, operation.done) == ("aborted", 1)
        assert (operation.ended_by, operation.reason) == ("ana@here", "aborted by ana@here")
        with pytest.raises(Denied, match="nothing to abort"):
            await desk.operator.abort(operation.id)
        assert (await desk.operator.jobs("q", "dead", Window())).total == 3


async def test_a_patch_is_checked_shown_and_made(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await publish(desk, "job", {"n": {"type": "integer"}, "currency": {"enum": ["EUR"]}})
        await desk.put(3)
        dead = await desk.fail(3)
        door = desk.operator
        draft = await door.patch(DEAD, [Change.parse("args.currency = GBP")], retry=True)
        assert (draft.changed, draft.unchanged, draft.invalid) == (0, 0, 3)
        assert "argument 'currency'" in draft.diffs[0].problem
        draft = await door.patch(DEAD, [Change.parse("args.currency = EUR")], retry=True)
        assert (draft.changed, draft.unchanged, draft.invalid) == (3, 0, 0)
        assert draft.diffs[0].before == '{"n":0}'
        assert draft.diffs[0].after == '{"n":0,"currency":"EUR"}'
        assert await payloads(desk, dead[:1]) == [{"n": 0}]
        operation = await desk.finish(await door.start(draft))
        assert (operation.verb, operation.ok) == ("retry", 3)
        assert [change.line for change in operation.changes] == ['currency = "EUR"']
        assert await payloads(desk, dead) == [{"n": n, "currency": "EUR"} for n in range(3)]
        assert await states(desk, dead) == ["pending"] * 3
        assert await desk.call("HGET", desk.deck.keys("q").run(dead[1]), "was") == b'{"n":1}'
        await door.undo_operation(operation.id)
        assert await payloads(desk, dead) == [{"n": n} for n in range(3)]
        assert await states(desk, dead) == ["dead"] * 3


async def test_a_patch_goes_into_every_state_but_running(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await desk.put(5)
        (running,) = await desk.claim(1)
        await desk.complete(1)
        await desk.fail(1)
        await desk.fail(1, final=False)
        ids += await desk.put(1, delay=60)
        refs = [JobRef(each, "q") for each in ids]
        draft = await desk.operator.patch(refs, [Change.parse("args.x = 1")])
        assert draft.total == 5
        operation = await desk.finish(await desk.operator.start(draft))
        assert operation.ok == 5
        found = await payloads(desk, ids)
        assert [each.get("x") for each in found] == [None, 1, 1, 1, 1, 1]
        assert (await states(desk, [running.id]))[0] == "running"
        with pytest.raises(Denied, match="running jobs cannot be patched"):
            await desk.operator.patch(Selection("running"), [Change.parse("args.x = 1")])


async def test_a_patch_of_pending_jobs_tries_one_past_the_pause(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await desk.put(3)
        await desk.operator.pause("q", "job")
        draft = await desk.operator.patch(Selection("pending"), [Change.parse("args.x = 1")])
        operation = await desk.operator.start(draft, canary=True)
        operation = await step(desk, operation, 2)
        assert await settle(desk, "p") == ids[:1]
        operation = await desk.finish(operation)
        assert (operation.state, operation.ok) == ("done", 3)
        assert [each["x"] for each in await payloads(desk, ids[1:])] == [1, 1]


async def test_a_record_that_was_edited_meanwhile_is_patched_as_it_is_then(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        dead = await desk.fail(2)
        draft = await desk.operator.patch(DEAD, [Change.parse("args.x = 1")])
        await desk.operator.edit_payload(JobRef(dead[0], "q"), '{"n": 99}')
        await desk.finish(await desk.operator.start(draft))
        assert await payloads(desk, dead) == [{"n": 99, "x": 1}, {"n": 1, "x": 1}]


async def test_start_and_end_are_on_record(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        await desk.fail(2)
        operation = await desk.finish(await desk.operator.start(await desk.operator.retry(DEAD)))
        rows = [row for row in await desk.operator.audit() if row.verb == "retry"]
        assert [(row.actor, row.target, row.count, row.outcome) for row in rows] == [
            ("ana@here", "2 jobs", 2, "2 changed, 0 skipped"),
            ("ana@here", "2 jobs", 2, "started"),
        ]
        assert rows[0].undoable
        assert (await desk.operator.undo(rows[0].id)).changed == 2
        assert (await desk.operator.operation(operation.id)).state == "undone"
