"""What an operator did to a schedule can be taken back until somebody changed it since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Denied, Outcome, ScheduleRow, ScheduleSpec
from qdeck.operator import Operator

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
