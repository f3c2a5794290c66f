"""The scripts of schedules, under a clock that the test sets."""

from __future__ import annotations

import msgspec
import pytest
from redis.exceptions import ResponseError
from tests.core.clocked import Bench
from tests.core.plant import SLOT, Plant
from tests.core.yard import LEASE

from qdeck import queue as verbs
from qdeck.errors import QueueFull
from qdeck.keys import queue_keys
from qdeck.record import Record, Settle
from qdeck.schedule import Note, Step, Ticked, store, tick


def test_a_due_slot_makes_its_job_and_moves_the_next_one_on(plant: Plant) -> None:
    plant.client.delete(plant.keys.wake)
    plant.pass_to(SLOT + 5)
    assert plant.tick(SLOT) == Ticked(SLOT + 5, "fired", ("p",))
    assert plant.ids("ready") == [f"job-{SLOT}"]
    raw = plant.client.get(plant.keys.job(f"job-{SLOT}"))
    record = msgspec.msgpack.decode(raw, type=Record)
    assert (record.created, record.available, record.body.task) == (SLOT + 5, 0, "mail")
    stored = plant.stored
    assert (stored.revision, stored.last, stored.next) == (1, SLOT, SLOT + 60_000)
    assert stored.last_job == f"job-{SLOT}"
    assert [(p.slot, p.id, p.late, p.word) for p in stored.history] == [
        (SLOT, f"job-{SLOT}", 5, "")
    ]
    assert plant.client.zscore(plant.keys.cron_due, "nightly") == SLOT + 60_000
    assert plant.meta("cron_at") == str(SLOT + 60_000)
    assert plant.marker() == 0
    assert plant.totals() == {"cron:fired": 1}


def test_a_slot_is_counted_like_any_enqueue(plant: Plant) -> None:
    plant.pass_to(SLOT)
    plant.tick(SLOT)
    other = queue_keys(plant.keys.tag[1:-3].rsplit(":", 1)[0], "other")
    bench = Bench(plant.client, other, SLOT)
    bench.run(verbs.enqueue(other, 0, ["one", plant.body()]))
    for name in ("tasks", "totals", f"m:{SLOT // 60_000}", f"h:{SLOT // 3_600_000}"):
        ours = plant.client.hgetall(plant.keys.tag + name)
        ours.pop(b"cron:fired", None)
        assert ours == plant.client.hgetall(other.tag + name), name
    wanted = plant.client.hgetall(other.meta)
    # An enqueue remembers besides which tasks it counts by name.
    assert wanted.pop(b"shown") == b"\nmail\n"
    assert plant.client.hgetall(plant.keys.meta).items() >= wanted.items()


def test_a_repeated_tick_fires_nothing_again(plant: Plant) -> None:
    plant.pass_to(SLOT)
    assert plant.tick(SLOT).word == "fired"
    assert plant.tick(SLOT).word == "moved"
    assert len(plant.ids("ready")) == 1


def test_a_slot_that_is_not_due_by_the_servers_clock_does_not_fire(plant: Plant) -> None:
    plant.pass_to(SLOT - 1)
    assert plant.tick(SLOT).word == "early"
    plant.pass_to(SLOT)
    assert plant.tick(SLOT, SLOT + 60_000).word == "early"
    assert plant.ids("ready") == []


def test_a_place_among_the_due_that_says_too_early_is_put_right(plant: Plant) -> None:
    plant.client.zadd(plant.keys.cron_due, {"nightly": 1})
    assert plant.tick(SLOT).word == "early"
    assert plant.meta("cron_at") == str(SLOT)
    plant.put(1, enabled=False)
    plant.client.zadd(plant.keys.cron_due, {"nightly": 1})
    assert plant.tick(due=0, revision=2).word == "moved"
    assert plant.meta("cron_at") is None


def test_a_tick_of_an_older_revision_fires_nothing(plant: Plant) -> None:
    assert plant.put(1, '{"new": 1}', next_slot=SLOT) == 2
    plant.pass_to(SLOT)
    assert plant.tick(SLOT).word == "moved"
    assert plant.tick(SLOT, revision=2).word == "fired"


def test_a_tick_that_saw_another_next_slot_fires_nothing(plant: Plant) -> None:
    plant.pass_to(SLOT + 60_000)
    assert plant.tick(SLOT + 1, due=SLOT + 1).word == "moved"
    assert plant.ids("ready") == []


def test_many_slots_fire_in_one_step_in_their_order(plant: Plant) -> None:
    plant.pass_to(SLOT + 180_000)
    slots = [SLOT, SLOT + 60_000, SLOT + 120_000]
    assert plant.tick(*slots).slots == ("p", "p", "p")
    assert plant.ids("ready") == [f"job-{slot}" for slot in slots]


def test_a_slot_is_dropped_while_the_last_job_is_unfinished(plant: Plant) -> None:
    plant.pass_to(SLOT + 60_000)
    assert plant.tick(SLOT, SLOT + 60_000, alone=True).slots == ("p", "o")
    plant.pass_to(SLOT + 120_000)
    assert plant.tick(SLOT + 120_000, due=SLOT + 120_000, alone=True).slots == ("o",)
    plant.settle()
    plant.pass_to(SLOT + 180_000)
    assert plant.tick(SLOT + 180_000, due=SLOT + 180_000, alone=True).slots == ("p",)
    assert [p.word for p in plant.stored.history] == ["completed", "overlap", "overlap", ""]
    assert plant.totals() == {"cron:fired": 2, "cron:overlap": 2, "cron:completed": 1}


@pytest.mark.parametrize("state", ["running", "held", "scheduled", "retrying"])
def test_a_job_in_any_unfinished_state_drops_a_slot(plant: Plant, state: str) -> None:
    plant.pass_to(SLOT)
    if state == "held":
        plant.run(verbs.pause(plant.keys, True, "eve", "mail"))
    delayed = plant.body(delay=10**7 if state == "scheduled" else 0)
    plant.tick(SLOT, body=delayed, alone=True)
    if state in ("running", "retrying"):
        turn = verbs.read_turn(plant.run(verbs.work(plant.keys, "ann", 1, 1, LEASE, [])))
        if state == "retrying":
            late = [Settle(turn.claimed[0].id, 1, "s", "mail", 1.0, 10**7)]
            plant.run(verbs.work(plant.keys, "ann", 2, 0, LEASE, late))
    plant.pass_to(SLOT + 60_000)
    assert plant.tick(SLOT + 60_000, due=SLOT + 60_000, alone=True).slots == ("o",)


def test_a_slot_whose_unique_key_is_held_makes_no_job(plant: Plant) -> None:
    plant.pass_to(SLOT + 60_000)
    body = plant.body(unique="d")
    assert plant.tick(SLOT, SLOT + 60_000, body=body).slots == ("p", "u")
    assert plant.client.get(plant.keys.unique("d")) == f"job-{SLOT}".encode()
    plant.settle()
    plant.pass_to(SLOT + 120_000)
    assert plant.tick(SLOT + 120_000, due=SLOT + 120_000, body=body).slots == ("p",)


def test_a_job_of_a_paused_task_is_held(plant: Plant) -> None:
    plant.run(verbs.pause(plant.keys, True, "eve", "mail"))
    plant.client.delete(plant.keys.wake)
    plant.pass_to(SLOT)
    assert plant.tick(SLOT).slots == ("p",)
    assert plant.ids("held:mail") == [f"job-{SLOT}"]
    assert plant.meta("held") == "1"
    assert plant.marker() is None


def test_a_job_with_jitter_is_scheduled_and_wakes_whoever_knows_of_nothing(plant: Plant) -> None:
    plant.pass_to(SLOT)
    plant.client.delete(plant.keys.wake)
    assert plant.tick(SLOT, body=plant.body(at=SLOT + 500)).slots == ("s",)
    assert plant.client.zscore(plant.keys.scheduled, f"job-{SLOT}") == SLOT + 500
    assert plant.marker() == 1


def test_a_full_queue_refuses_and_the_slot_stays_due(plant: Plant) -> None:
    plant.pass_to(SLOT + 60_000)
    with pytest.raises(QueueFull, match="0 of 1"):
        plant.tick(SLOT, SLOT + 60_000, max_size=1)
    assert plant.stored.next == SLOT
    assert plant.ids("ready") == []


def test_a_schedule_that_has_to_wait_is_looked_at_later_and_keeps_its_slot(plant: Plant) -> None:
    plant.pass_to(SLOT)
    plant.run(tick(plant.keys, "nightly", 1, SLOT, Step((), 0), (), wait=5000))
    assert plant.stored.next == SLOT
    assert plant.meta("cron_at") == str(SLOT + 5000)
    assert plant.tick(SLOT).word == "fired"


def test_an_unreadable_schedule_is_in_nobodys_way_and_can_be_saved_anew(plant: Plant) -> None:
    for raw in (b"", b"\xc1", b"{}", msgspec.msgpack.encode([1, 2])):
        plant.client.hset(plant.keys.cron, "nightly", raw)
        assert plant.tick(SLOT).word == "unreadable"
        assert plant.meta("cron_at") is None
        assert plant.put(None, next_slot=SLOT) == -1
        assert plant.put(0, next_slot=SLOT) == 1
        assert plant.meta("cron_at") == str(SLOT)


def test_an_unreadable_job_is_refused_and_nothing_is_written(plant: Plant) -> None:
    plant.pass_to(SLOT)
    before = plant.client.hget(plant.keys.cron, "nightly")
    with pytest.raises(Exception, match="schedule nightly is not readable"):
        plant.tick(SLOT, body=b"\xc1")
    assert plant.client.hget(plant.keys.cron, "nightly") == before


def test_a_job_besides_the_plan_leaves_its_slots_alone(plant: Plant) -> None:
    plant.pass_to(SLOT)
    note = Note("ana", "trigger", "enqueued")
    assert plant.tick(SLOT - 60_000, due=None, note=note).slots == ("p",)
    assert plant.tick(SLOT - 60_000, due=None, note=note).slots == ("=",)
    stored = plant.stored
    assert (stored.next, stored.last, stored.history) == (SLOT, 0, [])
    assert stored.last_job == f"job-{SLOT - 60_000}"
    ((_, entry), _) = plant.client.xrange(plant.keys.audit)
    assert entry[b"verb"] == b"trigger"
    assert plant.tick(SLOT).slots == ("p",)


def test_an_edit_needs_the_revision_that_was_seen_and_keeps_what_happened(plant: Plant) -> None:
    plant.pass_to(SLOT)
    plant.tick(SLOT)
    note = Note("ana", "edit schedule", "saved")
    assert plant.put(7, next_slot=SLOT + 90_000) == -1
    assert plant.put(None, next_slot=SLOT + 90_000) == -1
    assert plant.put(1, '{"x": 1}', next_slot=SLOT + 90_000, note=note) == 2
    stored = plant.stored
    assert (stored.revision, stored.next, stored.last) == (2, SLOT + 90_000, SLOT)
    assert (stored.spec, stored.editor, stored.edited) == ('{"x": 1}', "ana", SLOT)
    assert len(stored.history) == 1
    ((_, entry),) = plant.client.xrange(plant.keys.audit)
    wanted = {
        b"actor": b"ana",
        b"verb": b"edit schedule",
        b"target": b"nightly",
        b"count": b"1",
        b"outcome": b"saved",
    }
    assert entry.items() >= wanted.items()


def test_a_slot_that_fired_cannot_be_put_in_front_again(plant: Plant) -> None:
    plant.pass_to(SLOT)
    plant.tick(SLOT)
    assert plant.put(1, next_slot=SLOT) == -2
    assert plant.put(1, next_slot=None) == 2
    assert plant.stored.next == SLOT + 60_000
    assert plant.put(2, next_slot=SLOT + 1) == 3


def test_a_disabled_schedule_fires_nothing_and_wakes_when_it_was_told_to(plant: Plant) -> None:
    assert plant.put(1, enabled=False) == 2
    assert plant.meta("cron_at") is None
    plant.pass_to(SLOT)
    assert plant.tick(SLOT, revision=2).word == "moved"
    until = SLOT + 120_000
    assert plant.put(2, enabled=False, until=until) == 3
    assert plant.tick(due=until, revision=3).word == "early"
    plant.pass_to(until)
    assert plant.tick(due=until, revision=3).word == "fired"
    stored = plant.stored
    assert (stored.enabled, stored.until, stored.next) == (1, 0, until + 60_000)
    assert (stored.revision, stored.last) == (3, 0)
    assert plant.ids("ready") == []


def test_a_removed_schedule_leaves_its_jobs_and_nothing_else(plant: Plant) -> None:
    plant.pass_to(SLOT)
    plant.tick(SLOT)
    assert plant.put(2, "") == -1
    assert plant.put(1, "") == 0
    assert plant.client.hget(plant.keys.cron, "nightly") is None
    assert plant.meta("cron_at") is None
    assert plant.tick(SLOT + 60_000, due=SLOT + 60_000).word in ("moved", "unreadable")
    assert plant.ids("ready") == [f"job-{SLOT}"]


def test_what_comes_earlier_than_workers_know_wakes_one(plant: Plant) -> None:
    plant.client.delete(plant.keys.wake)
    plant.run(store(plant.keys, "later", None, "{}", next_slot=SLOT + 1))
    assert plant.marker() is None
    plant.run(store(plant.keys, "sooner", None, "{}", next_slot=SLOT - 1))
    assert plant.marker() == 1
    assert plant.meta("cron_at") == str(SLOT - 1)


def test_a_call_with_more_than_100_slots_is_refused(plant: Plant) -> None:
    plant.pass_to(SLOT + 10**9)
    with pytest.raises((ResponseError, Exception), match="not readable"):
        plant.tick(*[SLOT + n for n in range(101)])
