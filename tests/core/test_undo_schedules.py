"""What an operator did to a schedule can be taken back until somebody changed it since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Denied, Outcome, ScheduleRow, ScheduleSpec
from qdeck.operator import Operator
from qdeck.schedule import Past, decode_stored

NIGHTLY = ScheduleSpec("nightly", "0 2 * * mon-fri", "report", queue="q", zone="Europe/Berlin")


async def row_of(desk: Desk) -> ScheduleRow:
    """Return the schedule."""
    found = await desk.operator.schedule("nightly")
    assert found is not None
    return found


async def edit(door: Operator) -> Outcome:
    """Change the time."""
    row = await door.schedule("nightly")
    assert row is not None
    assert row.revision is not None
    return await door.edit_schedule(replace(NIGHTLY, expression="30 3 * * *"), row.revision)


Act = Callable[[Operator], Awaitable[Outcome]]
ACTS: dict[str, Act] = {
    "edit": edit,
    "disable": lambda door: door.disable_schedule("nightly"),
    "remove": lambda door: door.remove_schedule("nightly"),
}


@pytest.mark.parametrize("name", ACTS)
async def test_an_act_on_a_schedule_is_taken_back(valkey: Server, prefix: str, name: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.add_schedule(NIGHTLY)
        before = await row_of(desk)
        await ACTS[name](desk.operator)
        act = await desk.operator.last_undoable()
        assert act is not None
        assert act.verb == f"{name} schedule"
        assert (await desk.operator.undo(act.id, dry_run=True)).changed == 1
        await desk.operator.undo(act.id)
        after = await row_of(desk)
        assert (after.expression, after.enabled) == (before.expression, True)
        assert after.next_slot == before.next_slot
        (newest, *_) = await desk.operator.audit()
        assert (newest.verb, newest.of) == ("undo", act.id)
        with pytest.raises(Denied, match="already"):
            await desk.operator.undo(act.id)


async def test_a_move_to_another_queue_is_taken_back(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.add_schedule(NIGHTLY)
        before = await row_of(desk)
        await desk.operator.move_schedule("nightly", "other")
        assert (await row_of(desk)).queue == "other"
        act = await desk.operator.last_undoable()
        assert act is not None
        assert (act.verb, act.outcome) == ("move schedule", "from q to other")
        assert (await desk.operator.undo(act.id, dry_run=True)).changed == 1
        await desk.operator.undo(act.id)
        after = await row_of(desk)
        assert (after.queue, after.next_slot, after.enabled) == ("q", before.next_slot, True)
        with pytest.raises(Denied, match="was taken back by ana@here already"):
            await desk.operator.undo(act.id)
        assert await desk.operator.last_undoable() is None
        await desk.operator.move_schedule("nightly", "other")
        await desk.operator.disable_schedule("nightly")
        (_, moved, *_) = await desk.operator.audit(queue="other")
        with pytest.raises(Denied, match="changed schedule nightly since"):
            await desk.operator.undo(moved.id)


async def test_a_removed_schedule_comes_back_with_its_history(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.add_schedule(NIGHTLY)
        key = desk.deck.keys("q").cron
        stored = decode_stored(await desk.call("HGET", key, "nightly"))
        assert stored is not None
        past = [Past(3_600_000, "", 1500, "missed", 2), Past(7_200_000, "", 9, "completed", 1)]
        raw = msgspec.msgpack.encode(msgspec.structs.replace(stored, history=past, last=7_200_000))
        await desk.call("HSET", key, "nightly", raw)
        before = await row_of(desk)
        await desk.operator.remove_schedule("nightly")
        await desk.operator.undo()
        after = await row_of(desk)
        assert (after.history, after.last_slot) == (before.history, before.last_slot)


async def test_an_added_schedule_is_removed_again(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.add_schedule(NIGHTLY)
        act = await desk.operator.last_undoable()
        assert act is not None
        await desk.operator.undo(act.id)
        assert await desk.operator.schedules() == ()
        await desk.operator.add_schedule(NIGHTLY)
        assert (await row_of(desk)).enabled


async def test_a_schedule_that_changed_since_stays(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.add_schedule(NIGHTLY)
        await edit(desk.operator)
        act = await desk.operator.last_undoable()
        assert act is not None
        await desk.operator.disable_schedule("nightly")
        with pytest.raises(Denied, match="changed schedule nightly since"):
            await desk.operator.undo(act.id)
        assert (await row_of(desk)).expression == "30 3 * * *"
