"""The door to schedules, asked the same of the real implementation and of the stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.core.desk import Desk
from tests.servers import Server
from tests.tui.twin import Twin

from qdeck.admin import Conflict, Denied, SchedulesDoor, ScheduleSpec

SPEC = ScheduleSpec("nightly", "0 2 * * *", "mail", queue="q", payload={"to": "a"})


@pytest.fixture(params=["server", "twin"])
async def door(
    request: pytest.FixtureRequest, valkey: Server, prefix: str
) -> AsyncIterator[SchedulesDoor]:
    """One implementation after the other."""
    if request.param == "twin":
        yield Twin()
        return
    async with Desk(valkey.url, prefix) as desk:
        yield desk.operator


async def test_a_schedule_is_added_once_and_shown(door: SchedulesDoor) -> None:
    assert await door.schedules() == ()
    assert (await door.add_schedule(SPEC, dry_run=True)).changed == 1
    assert await door.schedules() == ()
    assert (await door.add_schedule(SPEC)).changed == 1
    with pytest.raises(Denied, match="nightly"):
        await door.add_schedule(SPEC)
    (row,) = await door.schedules()
    assert (row.spec, row.enabled, row.revision) == (SPEC, True, 1)
    assert await door.schedule("nightly") == row
    assert await door.schedule("other") is None


async def test_an_edit_of_an_older_revision_is_a_conflict(door: SchedulesDoor) -> None:
    await door.add_schedule(SPEC)
    edited = replace(SPEC, expression="30 2 * * *")
    await door.edit_schedule(edited, 1, dry_run=True)
    assert (await door.edit_schedule(edited, 1)).changed == 1
    with pytest.raises(Conflict) as caught:
        await door.edit_schedule(SPEC, 1)
    assert caught.value.row is not None
    assert (caught.value.row.spec, caught.value.row.revision) == (edited, 2)


async def test_it_is_switched_off_until_a_time_and_on_again(door: SchedulesDoor) -> None:
    await door.add_schedule(SPEC)
    until = (datetime.now(UTC) + timedelta(hours=5)).replace(microsecond=0)
    await door.disable_schedule("nightly", until)
    row = await door.schedule("nightly")
    assert row is not None
    assert (row.enabled, row.disabled_until, row.next_slot) == (False, until, None)
    assert door.schedule_actions(row)["enable"].allowed
    assert "disable" not in door.schedule_actions(row)
    await door.enable_schedule("nightly")
    row = await door.schedule("nightly")
    assert row is not None
    assert (row.enabled, row.disabled_until) == (True, None)
    assert door.schedule_actions(row)["disable"].allowed


async def test_it_is_removed_once(door: SchedulesDoor) -> None:
    await door.add_schedule(SPEC)
    assert (await door.remove_schedule("nightly", dry_run=True)).changed == 1
    assert (await door.remove_schedule("nightly")).changed == 1
    with pytest.raises(Denied, match="nightly"):
        await door.remove_schedule("nightly")
    assert await door.schedules() == ()


async def test_a_preview_never_fails(door: SchedulesDoor) -> None:
    shown = await door.preview("not a time at all")
    assert not shown.ok
    assert shown.error


async def test_what_an_implementation_cannot_do_it_denies(door: SchedulesDoor) -> None:
    await door.add_schedule(SPEC)
    row = await door.schedule("nightly")
    assert row is not None
    allowed = door.schedule_actions(row)["trigger"]
    if allowed.allowed:
        assert (await door.trigger_schedule("nightly")).changed == 1
    else:
        assert allowed.reason
        with pytest.raises(Denied):
            await door.trigger_schedule("nightly")
