"""What bulk operations and verbs about jobs did is taken back, on a server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.admin import (
    STATES,
    Change,
    Denied,
    JobRef,
    Operation,
    QueueRow,
    Selection,
    Window,
)
from qdeck.job import Job, State
from qdeck.operation import advance_all

DEAD = Selection("dead")


async def states(desk: Desk, ids: list[str]) -> list[str]:
    found = [await desk.deck.job(job_id) for job_id in ids]
    return ["gone" if job is None else str(job.state) for job in found]


async def run(desk: Desk, draft: Any, **how: Any) -> Operation:
    """Start a draft and finish it."""
    return await desk.finish(await desk.operator.start(draft, **how))


async def in_every_state(desk: Desk) -> list[str]:
    """Put a job in each state that can be deleted; return their ids."""
    ids = await desk.put(3)
    await desk.complete(1)
    await desk.fail(1)
    await desk.fail(1, final=False)
    ids += await desk.put(2)
    await desk.operator.cancel([JobRef(ids[3], "q")])
    return ids + await desk.put(1, delay=3600)


async def whole(desk: Desk, ids: list[str]) -> list[Any]:
    """Return all that is known of some jobs, and of their queue."""
    jobs = [await desk.deck.job(job_id) for job_id in ids]
    details = [await desk.operator.job(JobRef(each, "q")) for each in ids]
    (row,) = cast(tuple[QueueRow, ...], (await desk.operator.snapshot()).queues)
    counts = [getattr(row, state) for state in STATES]
    return [jobs, details, counts, (await desk.operator.errors()).groups]


@pytest.fixture
def unix() -> Any:
    """A server of its own, whose memory can be used up."""
    with Server(unix=True, options={"maxmemory-policy": "noeviction"}) as own:
        yield own


async def test_an_undo_takes_back_what_nothing_has_touched(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(5)
        dead = await desk.fail(5)
        groups = (await desk.operator.errors()).groups
        before = [row.finished_at for row in (await desk.operator.jobs("q", "dead", Window())).rows]
        operation = await desk.finish(await desk.operator.start(await desk.operator.retry(DEAD)))
        assert operation.undo_until is not None
        assert (await desk.operator.errors()).groups == ()
        (ran,) = await desk.complete(1)
        outcome = await desk.operator.undo_operation(operation.id, dry_run=True)
        assert outcome.text == "would take back retry of 5 jobs"
        outcome = await desk.operator.undo_operation(operation.id)
        assert outcome.text == "took back retry of 5 jobs: 4 jobs, 1 left alone: something " \
            "touched them since"  # fmt: skip
        assert await states(desk, dead) == ["completed" if each == ran else "dead" for each in dead]
        after = [row.finished_at for row in (await desk.operator.jobs("q", "dead", Window())).rows]
        assert after == before[1:]
        (group,) = (await desk.operator.errors()).groups
        assert (group.fingerprint, group.count) == (groups[0].fingerprint, 4)
        assert (group.type, group.message) == (groups[0].type, groups[0].message)
        found = await desk.operator.operation(operation.id)
        assert (found.state, found.undone, found.undo_until) == ("undone", 4, None)
        with pytest.raises(Denied, match="cannot be taken back"):
            await desk.operator.undo_operation(operation.id)
        assert (await desk.operator.jobs("q", "pending", Window())).total == 0


async def test_every_reversible_verb_can_be_taken_back(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        later = await desk.put(2, delay=3600)
        await desk.put(3)
        pending = [row.ref for row in (await door.jobs("q", "pending", Window())).rows]

        async def shape() -> Any:
            rows = [
                row
                for state in ("scheduled", "pending", "cancelled", "dead")
                for row in (await door.jobs("q", state, Window())).rows
            ]
            return [(row.ref.id, row.state, row.priority, row.due_at, row.args) for row in rows]

        before = await shape()
        for draft in (
            await door.cancel(Selection("pending")),
            await door.delete(Selection("pending")),
            await door.delete(Selection("scheduled")),
            await door.run_now(Selection("scheduled")),
            await door.discard(Selection("pending")),
            await door.discard(Selection("scheduled")),
            await door.move_in_time(Selection("scheduled"), by=timedelta(hours=2)),
            await door.priority(Selection("pending"), "high"),
            await door.priority(Selection("scheduled"), 9),
            await door.patch(Selection("pending"), [Change.parse("args.n = 7")]),
        ):
            operation = await desk.finish(await door.start(draft))
            assert operation.ok == draft.total > 0, operation
            assert await shape() != before
            await door.undo_operation(operation.id)
            assert await shape() == before, operation.verb
        await door.cancel(pending)
        assert (await door.jobs("q", "pending", Window())).total == 0
        undoable = await door.last_undoable()
        assert undoable is not None
        assert undoable.verb == "cancel"
        await door.undo(undoable.id)
        assert await shape() == before
        assert await states(desk, later) == ["scheduled"] * 2
        await door.run_now([JobRef(each, "q") for each in later])
        assert await states(desk, later) == ["pending"] * 2
        undoable = await door.last_undoable()
        assert undoable is not None
        await door.undo(undoable.id)
        assert await shape() == before


async def test_deleted_jobs_come_back_as_they_were(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await in_every_state(desk)
        await desk.put(1)
        before = await whole(desk, ids)
        draft = await desk.operator.delete([JobRef(each, "q") for each in ids])
        operation = await run(desk, draft)
        assert (operation.ok, operation.skipped) == (6, 0)
        assert operation.undo_until is not None
        assert await states(desk, ids) == ["gone"] * 6
        assert (await desk.operator.errors()).groups == ()
        undoable = await desk.operator.last_undoable()
        assert undoable is not None
        assert (undoable.verb, undoable.undo_until) == ("delete", operation.undo_until)
        outcome = await desk.operator.undo()
        assert outcome.text == "took back delete of 6 jobs: 6 jobs"
        assert await whole(desk, ids) == before
        # Nothing of them goes with time.
        for each in ids:
            assert await desk.call("PTTL", desk.deck.keys("q").job(each)) == -1
        assert [each.id for each in await desk.claim(1)] == [ids[4]]


async def test_a_deleted_job_that_was_held_comes_back_to_where_its_task_is(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await desk.put(2)
        await desk.operator.pause("q", "job")
        operation = await run(desk, await desk.operator.delete(Selection("pending")))
        assert operation.ok == 2
        assert (await desk.operator.undo_operation(operation.id)).changed == 2
        assert await desk.call("ZCARD", desk.deck.keys("q").held("job")) == 2
        assert await desk.claim(2) == []
        await desk.operator.resume("q", "job")
        await desk.tend()
        assert [each.id for each in await desk.claim(2)] == ids


async def test_a_deleted_job_stays_away_where_its_unique_key_or_its_id_is_anothers(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:

        async def unique(key: str) -> Job[Any]:
            return await desk.deck.enqueue("job", {"n": 1}, queue="q", unique=key)

        taken, free = await unique("taken"), await unique("free")
        (same,) = await desk.put(1)
        record = await desk.call("GET", desk.deck.keys("q").job(same))
        operation = await run(desk, await desk.operator.delete(Selection("pending")))
        other = await unique("taken")
        assert other.created
        await desk.call("SET", desk.deck.keys("q").job(same), record)
        outcome = await desk.operator.undo_operation(operation.id)
        assert (outcome.changed, outcome.text.split(": ", 1)[1]) == (
            1,
            "1 job, 2 left alone: something touched them since",
        )
        assert await desk.deck.job(taken.id) is None
        assert not (await unique("free")).created
        assert [each.id for each in await desk.claim(5)] == [free.id, other.id]


async def test_what_is_kept_of_deleted_jobs_goes_with_time(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await in_every_state(desk)
        keys = desk.deck.keys("q")
        operation = await run(desk, await desk.operator.delete([JobRef(i, "q") for i in ids]))
        name = operation.id.split(" ")[0]
        with valkey.client() as client:
            kept = list(client.scan_iter(match=f"*op:{name}:*"))
            # A record each, the runs of four, a result, two errors and their attempts, the copy.
            assert len(kept) >= 12
            assert all(0 < client.ttl(key) <= 90_000 for key in kept)
        assert 0 < await desk.call("TTL", keys.operation_copy(name)) <= 86_400
        again = await desk.put(2)
        await run(desk, await desk.operator.delete(Selection("pending")), keep_copy=False)
        assert await states(desk, again) == ["gone"] * 2
        with valkey.client() as client:
            assert len(list(client.scan_iter(match=f"*{again[0]}*"))) == 0


async def test_deleting_frees_memory_at_once_where_there_is_none_left(unix: Server) -> None:
    async with Desk(unix.url, "full") as desk:
        ids = await desk.put(3)
        dead = await desk.fail(3)
        await desk.call("CONFIG", "SET", "maxmemory", 1)
        operation = await run(desk, await desk.operator.delete(DEAD))
        assert (operation.ok, operation.undo_until) == (3, None)
        assert await states(desk, ids) == ["gone"] * 3
        with unix.client() as client:
            assert not list(client.scan_iter(match=f"*{dead[0]}*"))
        await desk.call("CONFIG", "SET", "maxmemory", 0)


async def test_a_bulk_move_takes_jobs_to_another_queue_and_back(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        door = desk.operator
        ids = await desk.put(60)
        (later,) = await desk.put(1, delay=3600)
        due = (await desk.deck.job(later)).available_at  # type: ignore[union-attr]
        draft = await door.move_queue(Selection("pending", "q"), "other")
        assert (draft.verb, draft.total) == ("move_queue", 60)
        (busy,) = await desk.claim(1)
        operation = await run(desk, draft)
        assert (operation.state, operation.ok, operation.skipped) == ("done", 59, 1)
        assert {job.queue for job in [await desk.deck.job(i) for i in ids] if job} == {"q", "other"}
        found = await desk.deck.job(busy.id)
        assert found is not None
        assert (found.queue, found.state) == ("q", State.RUNNING)
        # Over all queues: what is there already stays.
        operation_2 = await run(desk, await door.move_queue(Selection("scheduled"), "other"))
        assert operation_2.ok == 1
        assert [job.id for job in await desk.claim(1, "other")] == [ids[1]]
        outcome = await door.undo_operation(operation.id)
        assert outcome.changed == 58
        assert outcome.text.endswith("58 jobs, 1 left alone: something touched them since")
        assert (await door.undo_operation(operation_2.id)).changed == 1
        moved = await desk.deck.job(later)
        assert moved is not None
        assert (moved.queue, moved.state, moved.available_at) == ("q", State.SCHEDULED, due)
        assert [job.id for job in await desk.claim(100)] == ids[2:]


async def test_jobs_that_an_undo_fetches_back_take_their_old_places(
    deck_url: str, prefix: str
) -> None:
    async with Desk(deck_url, prefix) as desk:
        door = desk.operator
        ids = await desk.put(4)
        urgent = await desk.put(2, priority="high")
        places = await desk.call("ZRANGE", desk.deck.keys("q").ready, 0, -1, "WITHSCORES")
        await run(desk, await door.move_queue(Selection("pending", "q"), "other"))
        ids += await desk.put(2)
        undoable = await door.last_undoable()
        assert undoable is not None
        assert undoable.verb == "move_queue"
        assert (await door.undo()).changed == 6
        now = await desk.call("ZRANGE", desk.deck.keys("q").ready, 0, 5, "WITHSCORES")
        assert now == places
        # One that is named, and comes back to where its task is held by now.
        await door.move_queue([JobRef(ids[0], "q")], "other")
        await door.pause("q", "job")
        await desk.tend()
        assert await desk.claim(1) == []
        moved = next(row for row in await door.audit() if row.verb == "move" and row.undoable)
        await door.undo(moved.id)
        await door.resume("q", "job")
        await desk.tend()
        assert [job.id for job in await desk.claim(9)] == [*urgent, *ids]
        # Another priority since has no place of old.
        await door.move_queue([JobRef(each, "q") for each in await desk.put(1)], "other")
        (ref,) = [row.ref for row in (await door.jobs("other", "pending", Window())).rows]
        await desk.put(1)
        await run(desk, await door.priority([ref], "low"))
        moved = next(row for row in await door.audit() if row.verb == "move" and row.undoable)
        await door.undo(moved.id)
        assert [job.id for job in await desk.claim(9)][-1] == ref.id


async def test_a_job_may_go_to_and_fro_as_often_as_it_takes(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1)
        for _ in range(3):
            for source, target in (("q", "other"), ("other", "q")):
                outcome = await desk.operator.move_queue([JobRef(job_id, source)], target)
                assert outcome.changed == 1
                assert await desk.operator.find(job_id) == JobRef(job_id, target)
        await desk.operator.move_queue([JobRef(job_id, "q")], "other")
        undoable = await desk.operator.last_undoable()
        assert undoable is not None
        assert undoable.verb == "move"
        assert (await desk.operator.undo()).changed == 1
        assert [job.id for job in await desk.claim(5)] == [job_id]
        assert await desk.claim(5, "other") == []


async def test_workers_carry_on_a_bulk_move_and_its_undo(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await desk.put(40)
        draft = await desk.operator.move_queue(Selection("pending", "q"), "other")
        operation = await desk.operator.start(draft)
        while await advance_all(desk.deck, "q") is not None:
            pass
        assert (await desk.operator.operation(operation.id)).ok == 40
        keys = desk.deck.keys("q")
        await desk.call(
            "HSET", keys.operation(operation.id.split(" ")[0]), "state", "undoing", "ender", "ana"
        )
        while await advance_all(desk.deck, "q") is not None:
            pass
        assert (await desk.operator.operation(operation.id)).undone == 40
        assert sorted(each.id for each in await desk.claim(verbs.BATCH)) == sorted(ids)


async def test_a_bulk_move_needs_another_queue(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        with pytest.raises(Denied, match="in q already"):
            await desk.operator.move_queue(Selection("pending", "q"), "q")
        with pytest.raises(Denied, match="dead jobs cannot be moved"):
            await desk.operator.move_queue(DEAD, "other")
        with pytest.raises(Denied, match="name"):
            await desk.operator.move_queue(Selection("pending"), "no such name!")


async def test_a_start_can_be_tried(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        dead = await desk.fail(2)
        draft = await desk.operator.retry(DEAD)
        tried = await desk.operator.start(draft, rate=0.001, dry_run=True)
        assert (tried.state, tried.total, tried.done) == ("draft", 2, 0)
        assert await states(desk, dead) == ["dead"] * 2
        with pytest.raises(Denied, match="not usable"):
            await desk.operator.start(draft, rate=0.0, dry_run=True)
        await desk.operator.start(draft, rate=0.001)
        again = await desk.operator.retry(DEAD)
        with pytest.raises(Denied, match="running already over the same jobs"):
            await desk.operator.start(again, dry_run=True)
        assert (await desk.operator.start(again, anyway=True, dry_run=True)).state == "draft"
