"""What schedules keep of their past, and which of them were late."""

from __future__ import annotations

from tests.core.desk import Desk
from tests.core.plant import SLOT, Plant
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.admin import ScheduleSpec, Verdict
from qdeck.schedule import Past, Step, read_tick, store, tick


def test_missed_slots_are_counted_and_stand_in_the_history(plant: Plant) -> None:
    plant.pass_to(SLOT + 180_000)
    plant.tick(SLOT + 120_000, missed=(2, SLOT + 60_000))
    assert [(p.slot, p.word, p.count) for p in plant.stored.history] == [
        (SLOT + 60_000, "missed", 2),
        (SLOT + 120_000, "", 1),
    ]
    assert plant.totals() == {"cron:fired": 1, "cron:missed": 2}


def test_slots_that_are_all_missed_move_the_next_slot_on(plant: Plant) -> None:
    plant.pass_to(SLOT + 180_000)
    answer = tick(plant.keys, "nightly", 1, SLOT, Step((), SLOT + 240_000, 3, SLOT + 180_000), ())
    assert read_tick(plant.run(answer)).word == "fired"
    assert (plant.stored.last, plant.stored.next) == (SLOT + 180_000, SLOT + 240_000)
    assert plant.ids("ready") == []


def test_history_keeps_the_last_20_slots_and_asks_what_became_of_them(plant: Plant) -> None:
    for number in range(25):
        slot = SLOT + 60_000 * number
        plant.pass_to(slot)
        plant.tick(slot, due=slot)
        plant.settle("c" if number % 2 else "f")
    history = plant.stored.history
    assert len(history) == 20
    assert [past.slot for past in history] == [SLOT + 60_000 * n for n in range(5, 25)]
    assert {past.word for past in history[:-1]} == {"completed", "dead"}
    assert history[-1].word == ""
    assert plant.totals() == {"cron:fired": 25, "cron:completed": 12, "cron:dead": 12}


def test_the_slot_of_a_job_that_was_deleted_is_gone(plant: Plant) -> None:
    plant.pass_to(SLOT)
    plant.tick(SLOT)
    plant.run(verbs.move(plant.keys, "delete", "eve", [f"job-{SLOT}"]))
    plant.pass_to(SLOT + 60_000)
    plant.tick(SLOT + 60_000, due=SLOT + 60_000)
    assert plant.stored.history[0].word == "gone"


def test_a_schedule_that_was_a_minute_late_is_named_until_it_is_in_time(plant: Plant) -> None:
    plant.pass_to(SLOT + 59_000)
    plant.tick(SLOT)
    assert not plant.meta("cron_late")
    slot = SLOT + 60_000
    plant.pass_to(slot + 540_000)
    plant.tick(slot, due=slot)
    assert plant.meta("cron_late") == f"{slot} 540000 late nightly"
    slot += 60_000
    last = slot + 420_000
    plant.tick(due=slot, missed=(8, last))
    assert plant.meta("cron_late") == f"{last} {plant.bench.now - last} missed nightly"
    slot = last + 60_000
    plant.pass_to(slot + 1_000)
    plant.tick(slot, due=plant.stored.next)
    assert plant.meta("cron_late") == ""


def test_what_a_schedule_did_elsewhere_comes_with_it(plant: Plant) -> None:
    past = SLOT - 60_000, [Past(SLOT - 60_000, "", 5, "completed", 1)]
    assert plant.run(store(plant.keys, "moved", None, "{}", next_slot=SLOT, past=past)) == 1
    plant.pass_to(SLOT)
    step = Step((SLOT,), SLOT + 60_000)
    jobs = [(SLOT, "job-moved", plant.body())]
    assert read_tick(plant.run(tick(plant.keys, "moved", 1, SLOT, step, jobs))).slots == ("p",)
    found = plant.stored_as("moved")
    assert [(each.slot, each.word) for each in found.history] == [
        (SLOT - 60_000, "completed"),
        (SLOT, ""),
    ]
    # A slot that fired there never comes again.
    again = store(plant.keys, "third", None, "{}", next_slot=past[0], past=past)
    assert plant.run(again) == -2


async def test_the_verdict_names_schedules_that_are_late_and_that_were(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for name in ("backup_db", "rollup"):
            await desk.operator.add_schedule(ScheduleSpec(name, "0 3 * * *", "mail", queue="q"))
        keys = desk.deck.keys("q")
        seconds, _ = await desk.call("TIME")
        now = int(seconds) * 1000
        await desk.call("ZADD", keys.cron_due, now - 130_000, "rollup")
        await desk.call("HSET", keys.meta, "cron_late", f"{now - 60_000} 540000 late backup_db")
        verdict = (await desk.operator.snapshot()).verdict
        assert isinstance(verdict, Verdict)
        assert verdict.word == "WATCH"
        assert verdict.causes[0] == "rollup is 2m late: no worker has handled its slot"
        assert verdict.causes[1].startswith("backup_db started 9m late ")
