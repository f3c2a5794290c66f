"""The operator's verbs for schedules, on a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Conflict, Denied, ScheduleRow, ScheduleSpec
from qdeck.errors import RevisionConflict
from qdeck.schedule import Past, decode_stored

HOURLY = ScheduleSpec("report", "0 * * * *", "mail", queue="q", payload={"to": "a"})


@pytest.fixture
async def desk(valkey: Server, prefix: str) -> AsyncIterator[Desk]:
    """An operator's door."""
    async with Desk(valkey.url, prefix) as made:
        yield made


async def row(desk: Desk, name: str = "report") -> ScheduleRow:
    """Return a schedule that is there."""
    found = await desk.operator.schedule(name)
    assert found is not None
    return found


async def ready(desk: Desk, queue: str = "q") -> list[dict[str, Any]]:
    """Return the metadata of the pending jobs of a queue, oldest first."""
    ids = await desk.call("ZRANGE", desk.deck.keys(queue).ready, 0, -1)
    jobs = [await desk.deck.job(raw.decode(), queue=queue) for raw in ids]
    return [job.metadata for job in jobs if job is not None]


async def test_a_schedule_that_is_added_stands_with_all_that_was_said(desk: Desk) -> None:
    spec = replace(
        HOURLY,
        zone="Europe/Berlin",
        options={"priority": "high", "timeout": 5},
        misfire="all",
        overlap="skip",
        jitter=3,
        catch_up=60,
    )
    outcome = await desk.operator.add_schedule(spec)
    assert outcome.changed == 1
    assert "no worker has published task mail" in outcome.text
    found = await row(desk)
    assert found.spec == replace(spec, options={"priority": 6, "timeout": 5.0}, jitter=3.0)
    assert (found.enabled, found.revision, found.declared, found.drifted) == (
        True, 1, False, None,
    )  # fmt: skip
    assert found.edited_by == "ana@here"
    assert found.next_slot is not None
    assert found.next_slot.minute == 0
    assert timedelta(0) < found.next_slot - datetime.now(UTC) <= timedelta(hours=1)
    assert (found.last_slot, found.last_job, found.last_outcome, found.history) == (
        None, None, None, (),
    )  # fmt: skip
    assert [each.name for each in await desk.operator.schedules()] == ["report"]


async def test_a_name_is_taken_over_all_queues(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    with pytest.raises(Conflict, match="already") as caught:
        await desk.operator.add_schedule(replace(HOURLY, queue="other"))
    assert caught.value.row == await row(desk)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "schedule name"),
        ({"queue": "a b"}, "queue name"),
        ({"expression": "61 * * * *"}, "minute"),
        ({"expression": "0 0 30 2 *"}, "never fires"),
        ({"zone": "Mars"}, "Mars"),
        ({"task": ""}, "task name"),
        ({"options": {"delay": 1}}, "delay"),
    ],
)
async def test_what_is_not_usable_is_refused_by_name(
    desk: Desk, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(Denied, match=words):
        await desk.operator.add_schedule(replace(HOURLY, **change))
    assert await desk.operator.schedules() == ()


async def test_a_payload_is_checked_by_what_the_task_takes(desk: Desk) -> None:
    @desk.deck.task
    def mail(to: str) -> None:
        """Do nothing."""

    with pytest.raises(Denied, match="to"):
        await desk.operator.add_schedule(replace(HOURLY, payload={"to": 5}))
    assert "published" not in (await desk.operator.add_schedule(HOURLY)).text


async def test_a_schedule_that_names_no_queue_is_in_that_of_its_task(desk: Desk) -> None:
    facts = json.dumps({"name": "mail", "queue": "letters"})
    await desk.call("HSET", desk.deck.shared.tasks, "mail", facts)
    await desk.operator.add_schedule(replace(HOURLY, queue=""))
    assert (await row(desk)).queue == "letters"
    await desk.operator.add_schedule(replace(HOURLY, name="other", task="unheard", queue=""))
    assert (await row(desk, "other")).queue == "default"


async def test_two_operators_never_overwrite_each_other(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    seen = await row(desk)
    bob = desk.deck.admin(actor="bob@there")
    await bob.edit_schedule(replace(seen.spec, expression="5 * * * *"), 1)
    with pytest.raises(Conflict, match="bob@there") as caught:
        await desk.operator.edit_schedule(replace(seen.spec, expression="9 * * * *"), 1)
    assert caught.value.row is not None
    assert isinstance(caught.value, RevisionConflict)
    assert caught.value.row.expression == "5 * * * *"
    assert caught.value.row.revision == 2
    assert await row(desk) == caught.value.row


async def test_an_edit_keeps_the_next_slot_where_the_times_stay(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    before = await row(desk)
    await desk.operator.edit_schedule(replace(before.spec, payload={"to": "b"}), 1)
    after = await row(desk)
    assert (after.next_slot, after.payload, after.revision) == (before.next_slot, {"to": "b"}, 2)
    await desk.operator.edit_schedule(replace(after.spec, expression="30 * * * *"), 2)
    assert (await row(desk)).next_slot != before.next_slot
    with pytest.raises(Denied, match="move it"):
        await desk.operator.edit_schedule(replace(after.spec, queue="other"), 3)


async def test_disabling_and_enabling(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    assert (await desk.operator.disable_schedule("report")).changed == 1
    found = await row(desk)
    assert (found.enabled, found.next_slot, found.disabled_until) == (False, None, None)
    assert (await desk.operator.disable_schedule("report")).changed == 0
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    await desk.operator.disable_schedule("report", until)
    assert (await row(desk)).disabled_until == until
    assert (await desk.operator.enable_schedule("report")).changed == 1
    found = await row(desk)
    assert (found.enabled, found.disabled_until, found.revision) == (True, None, 4)
    assert found.next_slot is not None
    assert (await desk.operator.enable_schedule("report")).changed == 0
    with pytest.raises(Denied, match="passed"):
        await desk.operator.disable_schedule("report", datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(Denied, match="zone"):
        await desk.operator.disable_schedule("report", datetime(2099, 1, 1))


async def test_removing_forgets_the_name_and_lets_it_be_used_again(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    assert (await desk.operator.remove_schedule("report")).changed == 1
    assert await desk.operator.schedule("report") is None
    with pytest.raises(Denied, match="no schedule 'report'"):
        await desk.operator.remove_schedule("report")
    await desk.operator.add_schedule(replace(HOURLY, queue="other"))
    assert (await row(desk)).queue == "other"


async def test_a_name_left_of_a_removal_that_stopped_half_way_is_free(desk: Desk) -> None:
    await desk.call("HSET", desk.deck.shared.schedules, "report", "gone")
    assert await desk.operator.schedules() == ()
    await desk.operator.add_schedule(HOURLY)
    assert (await row(desk)).queue == "q"


async def test_a_trigger_enqueues_one_job_now(desk: Desk) -> None:
    await desk.operator.add_schedule(replace(HOURLY, options={"metadata": {"team": "x"}}))
    before = await row(desk)
    outcome = await desk.operator.trigger_schedule("report")
    assert outcome.changed == 1
    assert await ready(desk) == [{"team": "x", "schedule": "report", "triggered_by": "ana@here"}]
    after = await row(desk)
    assert (after.next_slot, after.revision, after.history) == (
        before.next_slot, before.revision, (),
    )  # fmt: skip
    assert after.last_job is not None
    assert after.last_outcome == "pending"
    await desk.complete(1, task="mail")
    assert (await row(desk)).last_outcome == "completed"


async def test_a_backfill_makes_a_job_for_each_slot_once(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    end = start + timedelta(hours=70)
    planned = await desk.operator.backfill_schedule("report", start, end, dry_run=True)
    assert (planned.total, planned.existing, planned.created) == (70, 0, 0)
    assert planned.slots[:2] == (start, start + timedelta(hours=1))
    assert await ready(desk) == []
    done = await desk.operator.backfill_schedule("report", start, start + timedelta(hours=2))
    assert (done.created, done.existing) == (2, 0)
    done = await desk.operator.backfill_schedule("report", start, end)
    assert (done.created, done.existing) == (68, 2)
    jobs = await ready(desk)
    assert len(jobs) == 70
    assert jobs[0] == {"schedule": "report", "slot": "2026-03-02T09:00:00Z", "backfill": True}
    assert len({job["slot"] for job in jobs}) == 70
    assert (await row(desk)).history == ()


async def test_a_backfill_of_what_is_to_come_or_too_much_is_refused(desk: Desk) -> None:
    await desk.operator.add_schedule(replace(HOURLY, expression="* * * * *"))
    past = datetime(2026, 1, 1, tzinfo=UTC)
    for start, end, words in (
        (past, datetime(2099, 1, 1, tzinfo=UTC), "to come"),
        (past, past, "not before"),
        (past, past + timedelta(days=30), "more than 10,000"),
    ):
        with pytest.raises(Denied, match=words):
            await desk.operator.backfill_schedule("report", start, end)


async def test_a_schedule_moves_to_another_queue_with_its_slots(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    stored = decode_stored(await desk.call("HGET", desk.deck.keys("q").cron, "report"))
    assert stored is not None
    past = [Past(3_600_000, "", 1500, "missed", 2), Past(7_200_000, "unknown", 9, "", 1)]
    raw = msgspec.msgpack.encode(msgspec.structs.replace(stored, history=past, last=7_200_000))
    await desk.call("HSET", desk.deck.keys("q").cron, "report", raw)
    before = await row(desk)
    assert [each.outcome for each in before.history] == ["gone", "missed"]
    assert (await desk.operator.move_schedule("report", "q")).changed == 0
    assert (await desk.operator.move_schedule("report", "other")).changed == 1
    after = await row(desk)
    assert (after.queue, after.next_slot, after.enabled) == ("other", before.next_slot, True)
    assert [replace(each, job=None) for each in before.history] == list(after.history)
    assert after.last_slot == before.last_slot
    assert await desk.call("HLEN", desk.deck.keys("q").cron) == 0
    assert await desk.call("HGET", desk.deck.keys("q").meta, "cron_at") is None


async def test_a_move_that_stopped_half_way_is_carried_on(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    here, there = desk.deck.keys("q"), desk.deck.keys("other")
    await desk.operator.disable_schedule("report")
    raw = await desk.call("HGET", here.cron, "report")
    await desk.call("HSET", there.cron, "report", raw)
    await desk.operator.move_schedule("report", "other")
    assert (await row(desk)).queue == "other"
    assert await desk.call("HEXISTS", here.cron, "report") == 0


async def test_nothing_changes_in_a_dry_run(desk: Desk) -> None:
    door = desk.operator
    assert "would add" in (await door.add_schedule(HOURLY, dry_run=True)).text
    assert await door.schedules() == ()
    await door.add_schedule(HOURLY)
    before = await row(desk)
    edited = replace(HOURLY, expression="1 * * * *")
    for outcome in (
        await door.edit_schedule(edited, 1, dry_run=True),
        await door.disable_schedule("report", dry_run=True),
        await door.remove_schedule("report", dry_run=True),
        await door.trigger_schedule("report", dry_run=True),
        await door.move_schedule("report", "other", dry_run=True),
    ):
        assert outcome.text.startswith("would ")
    assert await row(desk) == before
    await door.disable_schedule("report")
    assert (await door.enable_schedule("report", dry_run=True)).text.startswith("would ")
    assert not (await row(desk)).enabled


async def test_a_door_that_may_only_look_refuses_every_write(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    viewer = desk.deck.admin(read_only=True)
    past = datetime(2026, 1, 1, tzinfo=UTC)
    for call in (
        viewer.add_schedule(HOURLY),
        viewer.edit_schedule(HOURLY, 1),
        viewer.enable_schedule("report"),
        viewer.disable_schedule("report"),
        viewer.remove_schedule("report"),
        viewer.trigger_schedule("report"),
        viewer.adopt_schedule("report"),
        viewer.move_schedule("report", "x"),
        viewer.backfill_schedule("report", past, past),
        viewer.import_schedules(""),
    ):
        with pytest.raises(Denied, match="read-only"):
            await call
    found = await viewer.schedules()
    assert len(found) == 1
    assert not any(each.allowed for each in viewer.schedule_actions(found[0]).values())


async def test_every_write_is_on_record(desk: Desk) -> None:
    door = desk.operator
    await door.add_schedule(HOURLY)
    await door.edit_schedule(replace(HOURLY, expression="1 * * * *"), 1)
    await door.disable_schedule("report")
    await door.enable_schedule("report")
    await door.trigger_schedule("report")
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    await door.backfill_schedule("report", start, start + timedelta(hours=60))
    await door.move_schedule("report", "q2")
    await door.remove_schedule("report")
    found = []
    for queue in ("q", "q2"):
        for _, flat in await desk.call("XRANGE", desk.deck.keys(queue).audit, "-", "+"):
            entry = dict(zip(flat[::2], flat[1::2], strict=True))
            assert entry[b"actor"] == b"ana@here"
            assert entry[b"target"] == b"report"
            found.append((entry[b"verb"].decode(), int(entry[b"count"])))
    assert found == [
        ("add schedule", 1),
        ("edit schedule", 1),
        ("disable schedule", 1),
        ("enable schedule", 1),
        ("trigger schedule", 1),
        ("backfill schedule", 60),
        ("move schedule", 1),
        ("remove schedule", 1),
    ]


async def test_a_preview_compares_with_the_other_schedules(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    shown = await desk.operator.preview("0 9 * * mon", "Europe/Berlin", count=3)
    assert shown.ok
    assert len(shown.runs) == 3
    assert not (await desk.operator.preview("61 * * * *")).ok


async def test_a_schedule_that_cannot_be_read_is_shown_with_its_fault(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    key = desk.deck.keys("q").cron
    for raw in (b"\xc1", b""):
        await desk.call("HSET", key, "report", raw)
        found = await row(desk)
        assert "not readable" in found.fault
        assert not desk.operator.schedule_actions(found)["trigger"].allowed
        for call in (desk.operator.trigger_schedule("report"), desk.operator.export_schedules()):
            with pytest.raises(Denied, match="not readable"):
                await call
    await desk.operator.edit_schedule(HOURLY, 0)
    assert (await row(desk)).fault == ""
    stored = decode_stored(await desk.call("HGET", key, "report"))
    assert stored is not None
    assert stored.revision == 1
