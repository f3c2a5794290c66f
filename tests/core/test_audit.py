"""Every write is on record, by whom, and can be taken back until something changed it since."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.core.desk import Desk
from tests.servers import Cluster, Server

from qdeck.admin import AuditRow, Denied, JobRef, Outcome, QueueRow, Selection, Window
from qdeck.operator import Operator


async def told(desk: Desk, **window: Any) -> list[tuple[str, str, int | None, str]]:
    """Return verb, target, count and outcome of the acts on record, newest first."""
    rows = await desk.operator.audit(Window(**window))
    return [(row.verb, row.target, row.count, row.outcome) for row in rows]


async def row_of(desk: Desk, queue: str = "q") -> QueueRow:
    """Return a queue as the snapshot has it."""
    snapshot = await desk.operator.snapshot()
    assert isinstance(snapshot.queues, tuple)
    return next(row for row in snapshot.queues if row.name == queue)


async def newest(desk: Desk) -> AuditRow:
    """Return the newest act on record."""
    (row,) = await desk.operator.audit(Window(0, 1))
    return row


async def test_acts_name_actor_verb_target_count_and_outcome(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        await desk.put(3)
        door = desk.operator
        await door.pause("q")
        await door.pause("q", "job")
        await door.resume("q")
        await door.set_limits("q", 5, 2.5)
        await door.clear("q")
        (copy,) = await door.cleared()
        await door.restore(copy.id)
        rows = await door.audit()
        assert [(row.verb, row.target, row.count, row.outcome) for row in rows] == [
            ("restore", "pending jobs of queue q", 3, "restored"),
            ("clear", "pending jobs of queue q", 3, "cleared"),
            ("limits", "queue q", 1, "limit 5, rate 2.5"),
            ("resume", "queue q", 1, "resumed"),
            ("pause", "task job in q", 1, "paused"),
            ("pause", "queue q", 1, "paused"),
        ]
        assert {(row.actor, row.queue) for row in rows} == {("ana@here", "q")}
        assert [row.at for row in rows] == sorted((row.at for row in rows), reverse=True)
        assert await told(desk, offset=2, limit=1) == [
            ("limits", "queue q", 1, "limit 5, rate 2.5")
        ]


async def test_what_changed_nothing_is_not_on_record(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        assert (await desk.operator.resume("q")).entry == ""
        assert (await desk.operator.set_limits("q", None, None)).changed == 0
        assert (await desk.operator.clear("q", "dead")).changed == 0
        for write in (
            desk.operator.pause("q", dry_run=True),
            desk.operator.set_limits("q", 1, None, dry_run=True),
            desk.operator.clear("q", dry_run=True),
        ):
            assert (await write).changed == 1
        assert await desk.operator.audit() == ()
        assert (await row_of(desk)).paused is None


async def test_the_record_is_in_order_over_queues_and_nodes(cluster: Cluster, prefix: str) -> None:
    queues = [cluster.queue_on(node, prefix) for node in range(3)]
    async with Desk(cluster.url, prefix) as desk:
        for queue in queues:
            await desk.put(1, queue)
            await desk.operator.pause(queue)
            await asyncio.sleep(0.01)
        for queue in queues:
            await desk.operator.resume(queue)
            await asyncio.sleep(0.01)
        rows = await desk.operator.audit(Window(1, 4))
        assert [(row.verb, row.queue) for row in rows] == [
            ("resume", queues[1]),
            ("resume", queues[0]),
            ("pause", queues[2]),
            ("pause", queues[1]),
        ]
        only = await desk.operator.audit(queue=queues[0])
        assert [row.verb for row in only] == ["resume", "pause"]


async def test_the_record_is_capped(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        key = desk.deck.keys("q").audit
        for start in range(0, 12_000, 1000):
            lane = desk.deck.connector.lane()
            entry = ("XADD", key, "*", "actor", "old", "verb", "pause", "target", str(start))
            await lane.call_many([entry] * 1000)
        await desk.operator.pause("q")
        assert 10_000 <= await desk.call("XLEN", key) <= 10_200
        assert (await newest(desk)).actor == "ana@here"


Act = Callable[[Operator], Awaitable[Outcome]]
ACTS: dict[str, Act] = {
    "pause": lambda door: door.pause("q"),
    "pause a task": lambda door: door.pause("q", "job"),
    "limits": lambda door: door.set_limits("q", 3, 1.5),
    "clear": lambda door: door.clear("q"),
}


@pytest.mark.parametrize("name", ACTS)
async def test_an_act_is_taken_back_once(valkey: Server, prefix: str, name: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        before = await row_of(desk)
        outcome = await ACTS[name](desk.operator)
        assert await row_of(desk) != before or name == "pause a task"
        row = await desk.operator.last_undoable()
        assert row is not None
        assert row.id == outcome.entry
        assert row.undo_until is not None
        assert row.undo_until - row.at == timedelta(hours=24)
        assert (await desk.operator.undo(row.id, dry_run=True)).changed
        assert await desk.operator.last_undoable() == row
        undone = await desk.operator.undo()
        after = await row_of(desk)
        assert (after.paused, after.limit, after.rate, after.pending) == (None, None, None, 2)
        assert [task.paused for task in await desk.operator.tasks("q")] == [None]
        rows = await desk.operator.audit()
        assert (rows[0].id, rows[0].of) == (undone.entry, row.id)
        assert rows[1].undone_by == "ana@here"
        assert await desk.operator.last_undoable() is None
        with pytest.raises(Denied, match="nothing that can be taken back"):
            await desk.operator.undo()
        with pytest.raises(Denied, match="taken back by ana@here already"):
            await desk.operator.undo(row.id)


async def test_a_resume_is_taken_back(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.pause("q")
        resumed = await desk.operator.resume("q")
        await desk.operator.undo(resumed.entry)
        assert (await row_of(desk)).paused is not None


async def test_limits_are_as_they_were_before(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.set_limits("q", 7, None)
        changed = await desk.operator.set_limits("q", None, 0.5)
        await desk.operator.undo(changed.entry)
        row = await row_of(desk)
        assert (row.limit, row.rate) == (7, None)
        for wrong in ((0, None), (None, 0.0), (-1, None), (None, float("nan"))):
            with pytest.raises(Denied, match="not usable"):
                await desk.operator.set_limits("q", *wrong)


async def test_what_changed_since_is_not_taken_back(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        bob = desk.deck.admin(actor="bob@there")
        paused = await desk.operator.pause("q")
        await bob.resume("q")
        await bob.pause("q")
        with pytest.raises(Denied, match="changed it since"):
            await desk.operator.undo(paused.entry)
        assert (await row_of(desk)).paused is not None
        limited = await desk.operator.set_limits("q", 3, None)
        await bob.set_limits("q", 4, None)
        with pytest.raises(Denied, match="changed it since"):
            await desk.operator.undo(limited.entry)
        assert (await row_of(desk)).limit == 4
        await desk.operator.clear("q")
        (copy,) = await bob.cleared()
        row = await desk.operator.last_undoable()
        assert row is not None
        await bob.restore(copy.id)
        with pytest.raises(Denied, match="changed it since"):
            await desk.operator.undo(row.id)
        await bob.close()


async def test_the_act_of_somebody_else_is_taken_back_only_when_that_is_said(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        bob = desk.deck.admin(actor="bob@there")
        paused = await bob.pause("q")
        assert await desk.operator.last_undoable() is None
        assert await desk.operator.last_undoable("bob@there") is not None
        with pytest.raises(Denied, match="somebody else"):
            await desk.operator.undo(paused.entry)
        await desk.operator.undo(paused.entry, others=True)
        rows = await desk.operator.audit()
        assert (rows[0].actor, rows[1].undone_by) == ("ana@here", "ana@here")
        await bob.close()


async def test_an_undo_can_be_taken_back_by_name(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        paused = await desk.operator.pause("q")
        undone = await desk.operator.undo(paused.entry)
        await desk.operator.undo(undone.entry)
        assert (await row_of(desk)).paused is not None


async def test_what_was_taken_back_another_way_does_not_hide_what_was_done_before(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        await desk.fail(2)
        await desk.operator.set_limits("q", 3, None)
        draft = await desk.operator.retry(Selection("dead"))
        operation = await desk.finish(await desk.operator.start(draft))
        await desk.operator.undo_operation(operation.id)
        row = await desk.operator.last_undoable()
        assert row is not None
        assert row.verb == "limits"
        await desk.operator.undo()
        assert (await row_of(desk)).limit is None


async def test_the_time_to_take_something_back_ends(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        key = desk.deck.keys("q").audit
        words = ("actor", "ana@here", "verb", "pause", "target", "queue q", "until", 5, "undo",
                 '{"do": "pause", "on": 0, "task": "", "mark": "1 ana"}')  # fmt: skip
        made = await desk.call("XADD", key, "*", *words)
        assert await desk.operator.last_undoable() is None
        with pytest.raises(Denied, match="is over"):
            await desk.operator.undo(f"{made.decode()}@q")


async def test_acts_that_are_not_known_are_refused(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.pause("q")
        key = desk.deck.keys("q").audit
        odd = await desk.call("XADD", key, "*", "actor", "ana@here", "undo", "[", "count", "x")
        for name in ("x", "1-1@q", "1-1", f"{odd.decode()}@q", "5-x@q"):
            with pytest.raises(Denied):
                await desk.operator.undo(name)
        row = await newest(desk)
        assert (row.verb, row.count, row.undo_until) == ("?", None, None)


async def test_a_read_only_door_reads_the_record_and_writes_nothing(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        paused = await desk.operator.pause("q")
        door = desk.deck.admin(actor="ana@here", read_only=True)
        assert len(await door.audit()) == 1
        assert await door.last_undoable() is not None
        assert await door.cleared() == ()
        for write in (
            door.undo(paused.entry),
            door.set_limits("q", 1, None),
            door.edit_payload(JobRef("x", "q"), "{}"),
            door.move_queue([JobRef("x", "q")], "other"),
            door.enqueue_new("job", "{}"),
            door.enqueue_again(JobRef("x", "q")),
            door.slots("w", 1),
            door.stack("w"),
            door.recover("w"),
        ):
            with pytest.raises(Denied, match="read-only"):
                await write
        await door.close()


async def test_an_outcome_tells_its_entry_and_until_when_it_can_be_taken_back(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        (one, two) = await desk.put(2)
        (later,) = await desk.put(1, delay=3600)
        for act in (
            door.pause("q"),
            door.resume("q"),
            door.set_limits("q", 3, None),
            door.edit_payload(JobRef(one, "q"), '{"n": 9}'),
            door.enqueue_again(JobRef(one, "q")),
            door.cancel([JobRef(one, "q"), JobRef(two, "q")]),
            door.run_now([JobRef(later, "q")]),
            door.move_queue([JobRef(later, "q")], "other"),
            door.clear("q"),
        ):
            outcome = await act
            row = await newest(desk)
            assert (outcome.entry, outcome.undo_until) == (row.id, row.undo_until)
            assert outcome.undo_until is not None
            assert outcome.undo_until - row.at == timedelta(hours=24)
        nothing = await door.cancel([JobRef(one, "q")])
        assert (nothing.changed, nothing.entry, nothing.undo_until) == (0, "", None)


async def test_what_has_no_way_back_says_why(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door, keys = desk.operator, desk.deck.keys("q")
        await desk.put(2)
        draft = await door.delete(Selection("pending"))
        await desk.finish(await door.start(draft, keep_copy=False))
        deleted, begun, *_ = await door.audit()
        for row, why in (
            (begun, "it only began; abort it, or take back the act of its end"),
            (deleted, "no copy of what it changed was kept"),
        ):
            with pytest.raises(Denied, match=f"cannot be taken back: {why}"):
                await door.undo(row.id)
        for verb, why in (
            ("recover", "may have been started again by another worker"),
            ("stop", "start another one"),
            ("trigger schedule", "it changed nothing"),
            ("restore", "clear the queue again"),
        ):
            words = ("actor", "ana@here", "verb", verb, "target", "job x", "outcome", "done")
            entry = (await desk.call("XADD", keys.audit, "*", *words, "count", "0")).decode()
            with pytest.raises(Denied, match=why):
                await door.undo(f"{entry}@q")
        assert await door.last_undoable() is None
