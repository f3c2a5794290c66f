"""Jobs that an act made can be taken back until something begins them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck import ledger
from qdeck.admin import AuditRow, Denied, JobRef, JobWishes, ScheduleSpec, Window

HOURLY = ScheduleSpec("hourly", "0 * * * *", "report", queue="q")
START = datetime(2026, 3, 2, tzinfo=UTC)


async def newest(desk: Desk) -> AuditRow:
    """Return the newest act on record."""
    (row,) = await desk.operator.audit(Window(0, 1))
    return row


async def test_an_enqueue_is_taken_back_until_the_job_begins(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        door, keys = desk.operator, desk.deck.keys("q")
        (known,) = await desk.put(1)
        for act in (
            door.enqueue_again(JobRef(known, "q")),
            door.enqueue_new("job", '{"n": 5}', JobWishes("q", delay_s=60)),
            door.enqueue_again(JobRef(known, "q")),
        ):
            (ref,) = (await act).refs
            row = await newest(desk)
            assert (row.verb, row.target) == ("enqueue", f"job {ref.id}")
            assert row.undo_until is not None
            assert row.undo_until - row.at == timedelta(hours=24)
            would = await door.undo(dry_run=True)
            assert would.text == f"would take back enqueue of job {ref.id}: 1 job"
            assert await door.job(ref) is not None
            done = await door.undo()
            assert done.text == f"took back enqueue of job {ref.id}: 1 job"
            assert await door.job(ref) is None
            with pytest.raises(Denied, match="was taken back by ana@here already"):
                await door.undo(row.id)
        assert await desk.call("ZCARD", keys.ready) == 1
        assert await desk.call("HGET", keys.tasks, "pending:job") == b"1"
        (begun,) = (await door.enqueue_again(JobRef(known, "q"))).refs
        row = await newest(desk)
        await desk.complete(2)
        with pytest.raises(Denied, match="its job has begun and is completed"):
            await door.undo(row.id)
        assert await door.last_undoable() is None
        assert await door.job(begun) is not None


async def test_an_enqueue_that_was_changed_since_stays(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        (known,) = await desk.put(1)
        (ref,) = (await door.enqueue_again(JobRef(known, "q"))).refs
        row = await newest(desk)
        await door.cancel([ref])
        with pytest.raises(Denied, match="its job was changed since and is cancelled"):
            await door.undo(row.id)
        await door.delete([ref])
        (other,) = (await door.enqueue_again(JobRef(known, "q"))).refs
        row = await newest(desk)
        await door.pause("q", "job")
        await desk.tend()
        await desk.claim(1)
        outcome = await door.undo(row.id)
        assert outcome.changed == 1
        assert await door.job(other) is None
        assert await desk.call("HGET", desk.deck.keys("q").meta, "held") == b"1"


async def test_a_job_that_a_schedule_was_asked_for_is_taken_back(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        await door.add_schedule(HOURLY)
        (ref,) = (await door.trigger_schedule("hourly")).refs
        row = await newest(desk)
        assert (row.verb, row.count, row.undoable) == ("trigger schedule", 1, True)
        assert (await door.undo()).text == "took back trigger schedule of hourly: 1 job"
        assert await door.job(ref) is None
        (ref,) = (await door.trigger_schedule("hourly")).refs
        row = await newest(desk)
        await desk.claim(1)
        with pytest.raises(Denied, match="its job has begun and is running"):
            await door.undo(row.id)
        last = await door.last_undoable()
        assert last is not None
        assert last.verb == "add schedule"


async def test_a_trigger_that_made_nothing_leaves_nothing_to_take_back(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        await door.add_schedule(
            ScheduleSpec("once", "0 * * * *", "report", queue="q", options={"unique": "u"})
        )
        await door.trigger_schedule("once")
        assert "another job holds its unique key" in (await door.trigger_schedule("once")).text
        row = await newest(desk)
        assert (row.verb, row.count, row.outcome) == ("trigger schedule", 0, "nothing to enqueue")
        assert not row.undoable
        assert (await door.undo()).changed == 1
        # The key is free again.
        assert (await door.trigger_schedule("once")).changed == 1


async def test_a_backfill_is_taken_back_but_for_what_has_begun(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        door = desk.operator
        await door.add_schedule(HOURLY)
        end = START + timedelta(hours=250)
        await door.backfill_schedule("hourly", START, START + timedelta(hours=10))
        done = await door.backfill_schedule("hourly", START, end)
        assert (done.created, done.existing) == (240, 10)
        row = await newest(desk)
        assert (row.verb, row.count, row.undoable) == ("backfill schedule", 240, True)
        # The first ten are of the other backfill.
        ran = await desk.complete(13, task="report")
        assert len(ran) == 13
        would = await door.undo(dry_run=True)
        assert would.text == "would take back backfill schedule of hourly: 240 jobs"
        outcome = await door.undo(row.id)
        assert (
            outcome.text == "took back backfill schedule of hourly: 237 jobs, 3 had begun already"
        )
        assert await desk.claim(10) == []
        (undone, *_) = await door.audit()
        assert (undone.verb, undone.of, undone.count) == ("undo", row.id, 237)
        assert undone.outcome == "237 taken back, 3 had begun, 0 left alone"
        # All of the other one have begun.
        first = (await door.audit(Window(2, 1)))[0]
        with pytest.raises(Denied, match="each of its jobs has begun"):
            await door.undo(first.id)
        # What is taken back can be made again.
        again = await door.backfill_schedule("hourly", START, end)
        assert (again.created, again.existing) == (237, 13)


async def test_an_undo_that_died_half_way_is_carried_on(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door, keys = desk.operator, desk.deck.keys("q")
        await door.add_schedule(HOURLY)
        await door.backfill_schedule("hourly", START, START + timedelta(hours=250))
        row = await newest(desk)
        (found,) = await desk.call("XREVRANGE", keys.audit, "+", "-", "COUNT", 1)
        made = str(ledger.read_entry(*found).undo["name"])
        command = ledger.retract(keys, "", made, ledger.Act("ana@here", "what", row.id))
        step = ledger.read_retracted(await desk.deck.execute(command))
        assert (step.taken, step.ahead) == (100, 150)
        assert (await door.undo()).changed == 250
        assert await desk.call("ZCARD", keys.ready) == 0
        assert await desk.call("EXISTS", keys.operation_ids(made)) == 0
