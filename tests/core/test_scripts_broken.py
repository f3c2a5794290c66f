"""Broken data: whatever a record or a key holds, each job stays in exactly one set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.core.yard import FINE, LAST, LEASE, Yard, commands, dump
from tests.servers import settings_for

from qdeck import ledger, steps
from qdeck import queue as verbs
from qdeck.errors import SettingsError
from qdeck.keys import queue_keys
from qdeck.record import Body, encode_body
from qdeck.schedule import Step, read_tick, store, tick


def shapes() -> dict[str, bytes]:
    """Return bodies that are no record, each in another way."""
    pack = msgspec.msgpack.encode
    good: list[Any] = ["mail", "{}", 4, 0, 0, 0, 0, 1, -1, "", 0, ""]
    made = {
        "garbage": b"\xc1\xff\x00garbage",
        "empty": b"",
        "JSON": b'{"task": "mail"}',
        "map": pack({"task": "mail"}),
        "number": pack(7),
        "short": pack([1, 2]),
        "no-body": pack([1, 2, 3]),
        "empty-body": pack([1, 2, []]),
        "cut": pack([1, 2, good])[:-5],
        "no-times": pack([None, None, good]),
        "text-times": pack(["1", "2", good]),
    }
    odd = {"nil": None, "list": [1], "inf": float("inf"), "nan": float("nan"), "digits": "5"}
    for place in range(11):
        for name, value in odd.items():
            body = list(good)
            body[place] = value
            made[f"{name}-in-place-{place}"] = pack([1, 2, body])
    return made


FIELDS = [
    *("base", "cancel", "crashes", "finished", "fp", "logb", "logn", "run", "settled", "state"),
    *("task", "unique", "unique_until", "unknown"),
]
Break = Callable[[Yard, str], Any]


def breaks() -> dict[str, Break]:
    """Return everything that can be wrong with one job, by a name that becomes its id."""
    made: dict[str, Break] = {
        "record-missing": lambda yard, job_id: yard.client.delete(yard.keys.job(job_id)),
        "run-missing": lambda yard, job_id: yard.client.delete(yard.keys.run(job_id)),
        "unique-is-a-set": lambda yard, job_id: yard.replace(yard.keys.unique(f"u-{job_id}")),
    }
    for name, raw in shapes().items():
        made[f"record-{name}"] = partial(put_record, raw)
    for field in FIELDS:
        for name, value in {"x": "x", "nan": "nan", "empty": "", "huge": "9" * 400}.items():
            made[f"run-{field}-{name}"] = partial(put_field, field, value)
    for part in ("job", "run", "result", "error", "attempts", "log"):
        made[f"{part}-is-a-set"] = partial(put_set, part)
    return made


def put_record(raw: bytes, yard: Yard, job_id: str) -> None:
    """Store something else as the record."""
    yard.client.set(yard.keys.job(job_id), raw)


def put_field(field: str, value: str, yard: Yard, job_id: str) -> None:
    """Store something else in a field of the run."""
    yard.client.hset(yard.keys.run(job_id), field, value)


def put_set(part: str, yard: Yard, job_id: str) -> None:
    """Store something else than a part of the job."""
    yard.replace(getattr(yard.keys, part)(job_id))


def in_bulk(verb: str, yard: Yard) -> None:
    """Do an operator's verb as a bulk operation."""
    yard.run(steps.freeze(yard.keys, yard.keys.dead, "op", verb, "eve", 0, 900, yard.ids))
    yard.run(steps.start(yard.keys, "op", "eve"))
    for _ in range(5):
        step = steps.read_step(yard.run(steps.advance(yard.keys, verb, "eve", "op")))
    assert step.state == "done"


def deleted_and_back(yard: Yard) -> None:
    """Delete all in bulk, and take it back."""
    in_bulk("delete", yard)
    for _ in range(10):
        step = steps.read_undone(yard.run(steps.undo(yard.keys, "op", "eve")))
    assert step.ahead == 0


def departed_in_bulk(yard: Yard) -> None:
    """Take all out for another queue as a bulk operation; what cannot be read stays."""
    asked = steps.Asked(argument="other")
    draft = steps.freeze(
        yard.keys, yard.keys.ready, "op", "move_queue", "eve", 0, 900, yard.ids, asked
    )
    yard.run(draft)
    yard.run(steps.start(yard.keys, "op", "eve"))
    act = ledger.Act("eve")
    answer = yard.run(ledger.depart(yard.keys, "other", yard.ids, act, "op"))
    assert ledger.read_departed(answer).state == "done"


def recleared(state: str, key: str, yard: Yard) -> None:
    """Clear a state, restore it, and clear again what came back."""
    brought_back(state, key, yard)
    command = ledger.reclear(yard.keys, getattr(yard.keys, key), "copy", ledger.Act("eve"))
    total, alone, ahead, _ = yard.run(command)
    assert (total, alone, ahead) == (len(yard.ids), 0, 0)
    brought = ledger.restore(yard.keys, getattr(yard.keys, key), "copy", ledger.Act("eve"))
    assert yard.run(brought)[1] == 0


def retracted(yard: Yard) -> None:
    """Take back the act that made all."""
    yard.client.zadd(yard.keys.operation_ids("made"), dict.fromkeys(yard.ids, 0))
    command = ledger.retract(yard.keys, "", "made", ledger.Act("eve"))
    assert yard.run(command)[3] == 0


def tended(yard: Yard) -> None:
    """Let a worker look after the queue, as often as it says at once."""
    for _ in range(3):
        yard.run(verbs.tend(yard.keys, LEASE, 1))


def fired_again(yard: Yard) -> None:
    """Fire slots of a schedule whose jobs are there already, but for what is broken."""
    yard.run(store(yard.keys, "nightly", None, "{}", next_slot=1))
    jobs = [
        (0, job_id, encode_body(Body("mail", "{}", unique=f"u-{job_id}"))) for job_id in yard.ids
    ]
    told = read_tick(yard.run(tick(yard.keys, "nightly", 1, None, Step((), 0), jobs)))
    assert (told.word, told.slots[0], told.slots[-1]) == ("fired", "=", "=")


def resumed(yard: Yard) -> None:
    """Resume the paused task."""
    yard.run(verbs.pause(yard.keys, False, "eve", "mail"))
    tended(yard)


def parked(yard: Yard) -> None:
    """Claim while the task is paused."""
    yard.run(verbs.pause(yard.keys, True, "eve", "mail"))
    for _ in range(3):
        yard.work(3)


def trimmed(yard: Yard) -> None:
    """Delete everything that finished long ago."""
    yard.bench.advance(40_000)
    terms = settings_for("redis://127.0.0.1", keep_completed=0, keep_dead=0, log_budget=1)
    for _ in range(3):
        yard.run(verbs.trim(yard.keys, terms))


def trimmed_logs(yard: Yard) -> None:
    """Delete logs beyond the budget."""
    for _ in range(3):
        yard.run(verbs.trim(yard.keys, settings_for("redis://127.0.0.1", log_budget=1)))


def reported(yard: Yard) -> None:
    """Beat, report and log for all jobs."""
    words = yard.run(verbs.beat(yard.keys, LEASE, [(job_id, 1) for job_id in yard.ids]))
    assert (words[0], words[-1]) == (b"1", b"1")
    yard.run(verbs.progress(yard.keys, [(job_id, 1, 5.0, "m") for job_id in yard.ids]))
    yard.log()


def claimed_again(yard: Yard) -> None:
    """Repeat the claim, as after a lost reply."""
    yard.counter -= 1
    found = yard.work(400)
    assert (found[0], found[-1]) == (FINE, LAST)


def brought_back(state: str, key: str, yard: Yard) -> None:
    """Clear a state and restore it."""
    source, act = getattr(yard.keys, key), ledger.Act("eve")
    yard.run(ledger.clear(yard.keys, source, state, "copy", act))
    assert yard.run(ledger.restore(yard.keys, source, "copy", act))[1] == 0


def swept(yard: Yard) -> None:
    """Clear what is pending and let its time be over."""
    yard.run(ledger.clear(yard.keys, yard.keys.ready, "pending", "copy", ledger.Act("eve")))
    yard.client.zadd(yard.keys.cleared, {"copy": 1})
    while yard.run(ledger.sweep(yard.keys)) != [0, 0]:
        pass


def departed(yard: Yard) -> None:
    """Take all out for another queue; what cannot be read stays."""
    yard.run(ledger.depart(yard.keys, "other", yard.ids, ledger.Act("eve")))


ACTS: dict[str, tuple[str, Callable[[Yard], Any], str]] = {
    "claim": ("pending", lambda yard: yard.work(400), "lease"),
    "park": ("pending", parked, "held:mail"),
    "claim again": ("running", claimed_again, "lease"),
    "complete": ("running", lambda yard: yard.settle("c"), "completed"),
    "fail": ("running", lambda yard: yard.settle("f"), "retrying"),
    "discard": ("running", lambda yard: yard.settle("f", ""), "dead"),
    "snooze": ("running", lambda yard: yard.settle("s"), "retrying"),
    "give back": ("running", lambda yard: yard.settle("b"), "ready"),
    "unknown": ("running", lambda yard: yard.settle("u"), "retrying"),
    "speak": ("running", reported, "lease"),
    "promote": ("scheduled", tended, "ready"),
    "promote retries": ("retrying", tended, "ready"),
    "reap": ("ended", tended, "ready"),
    "unpark": ("held", resumed, "ready"),
    "cancel pending": ("pending", lambda yard: yard.move("cancel"), "cancelled"),
    "cancel held": ("held", lambda yard: yard.move("cancel"), "cancelled"),
    "cancel scheduled": ("scheduled", lambda yard: yard.move("cancel"), "cancelled"),
    "cancel retrying": ("retrying", lambda yard: yard.move("cancel"), "cancelled"),
    "cancel running": ("running", lambda yard: yard.move("cancel"), "lease"),
    "run now": ("scheduled", lambda yard: yard.move("run_now"), "ready"),
    "run retry now": ("retrying", lambda yard: yard.move("run_now"), "ready"),
    "retry dead": ("dead", lambda yard: yard.move("retry"), "ready"),
    "retry cancelled": ("cancelled", lambda yard: yard.move("retry"), "ready"),
    "retry in bulk": ("dead", partial(in_bulk, "retry"), "ready"),
    "delete pending": ("pending", lambda yard: yard.move("delete"), ""),
    "delete held": ("held", lambda yard: yard.move("delete"), ""),
    "delete dead": ("dead", lambda yard: yard.move("delete"), ""),
    "delete completed": ("completed", lambda yard: yard.move("delete"), ""),
    "delete in bulk": ("dead", partial(in_bulk, "delete"), ""),
    "delete and undo": ("dead", deleted_and_back, "dead"),
    "depart in bulk": ("pending", departed_in_bulk, ""),
    "trim completed": ("completed", trimmed, ""),
    "trim dead": ("dead", trimmed, ""),
    "trim cancelled": ("cancelled", trimmed, ""),
    "trim logs": ("completed", trimmed_logs, "completed"),
    "clear and restore": ("pending", partial(brought_back, "pending", "ready"), "ready"),
    "clear and restore dead": ("dead", partial(brought_back, "dead", "dead"), "dead"),
    "clear again": ("pending", partial(recleared, "pending", "ready"), "ready"),
    "clear again dead": ("dead", partial(recleared, "dead", "dead"), "dead"),
    "sweep": ("pending", swept, ""),
    "retract": ("pending", retracted, ""),
    "retract held": ("held", retracted, ""),
    "retract scheduled": ("scheduled", retracted, ""),
    "retract what runs": ("running", retracted, "lease"),
    "depart": ("pending", departed, ""),
    "depart held": ("held", departed, ""),
    "fire again": ("pending", fired_again, "ready"),
    "enqueue again": ("pending", lambda yard: yard.enqueue(), "ready"),
}


def check(yard: Yard, target: str, broken: set[str]) -> None:
    """Check that whole jobs are where they belong and broken ones in exactly one set."""
    for job_id, places in yard.places().items():
        if job_id not in broken:
            assert places == ([target] if target else []), f"{job_id}: {places}"
        elif target or places:
            assert len(places) == 1, f"{job_id}: {places}"
    assert set(yard.places()) == set(yard.ids)


@pytest.mark.parametrize("name", ACTS)
def test_broken_jobs_stay_in_one_set_each_and_stop_no_other(
    name: str, client: Any, prefix: str
) -> None:
    state, act, target = ACTS[name]
    wrong = breaks()
    # At most so many a call: a step of looking after a queue handles 200 jobs.
    for start in range(0, len(wrong), 90):
        part = sorted(wrong)[start : start + 90]
        yard = Yard(client, f"{prefix}-{start}", [FINE, *part, LAST])
        yard.reach(state)
        for job_id in part:
            wrong[job_id](yard, job_id)
        kept = {job_id: client.dump(yard.keys.job(job_id)) for job_id in part}
        act(yard)
        check(yard, target, set(part))
        for job_id, places in yard.places().items():
            if job_id in kept and places == ["dead"]:
                assert client.dump(yard.keys.job(job_id)) == kept[job_id], "the body is kept"


@pytest.mark.parametrize("name", ["claim again", "fail", "discard", "reap", "retry dead"])
def test_broken_records_that_jobs_share_stop_none(name: str, client: Any, prefix: str) -> None:
    state, act, target = ACTS[name]
    texts = (b"\xc1", b"{}", msgspec.msgpack.encode(["x"]), msgspec.msgpack.encode({"x": 1}))
    for number in range(len(texts) + 1):
        yard = Yard(client, f"{prefix}-{number}", [FINE, LAST])
        yard.reach(state)
        for key in (yard.keys.last("ann"), yard.keys.group("group")):
            if number < len(texts):
                client.set(key, texts[number])
            else:
                yard.replace(key)
        for group in (*client.hkeys(yard.keys.errors), "group"):
            client.hset(yard.keys.errors, group, texts[number % len(texts)])
        if name == "claim again":
            yard.work(2)
        else:
            act(yard)
        check(yard, target, set())


def test_a_fixed_key_of_the_wrong_type_is_named_and_nothing_is_written(
    client: Any, prefix: str
) -> None:
    for name, sample in commands(queue_keys(prefix, "q")).items():
        for place in range(len(sample.keys)):
            yard = Yard(client, f"{prefix}-{name}-{place}", [FINE, LAST])
            yard.reach("running")
            draft = steps.freeze(yard.keys, yard.keys.lease, "op", "delete", "eve", 0, 900)
            yard.run(draft)
            command = commands(yard.keys)[name]
            yard.replace(command.keys[place])
            before = dump(client, yard.keys)
            with pytest.raises(SettingsError, match="something else uses this key") as caught:
                yard.run(command)
            assert command.keys[place] in str(caught.value)
            assert dump(client, yard.keys) == before, f"{name}: {command.keys[place]}"


def test_one_plain_job_is_refused_by_a_key_of_the_wrong_type_and_nothing_is_left(
    client: Any, prefix: str
) -> None:
    plain = encode_body(Body("mail", "{}"))
    for place in range(6):
        yard = Yard(client, f"{prefix}-{place}", [FINE])
        yard.reach("pending")
        keys, now = yard.keys, yard.bench.now
        counters = [keys.minute(now // 60_000), keys.hour(now // 3_600_000), keys.tasks]
        key = [*counters, keys.wake, keys.ready, keys.meta][place]
        assert yard.run(verbs.enqueue(keys, 0, ["known", plain]))[1] == b"p"
        yard.replace(key)
        before = dump(client, keys)
        with pytest.raises(SettingsError, match="something else uses this key") as caught:
            yard.run(verbs.enqueue(keys, 0, ["new", plain]))
        assert key in str(caught.value)
        assert dump(client, keys) == before, key


def test_an_unreadable_argument_is_refused_and_nothing_is_written(client: Any, prefix: str) -> None:
    yard = Yard(client, prefix, [FINE, LAST])
    yard.reach("running")
    before = dump(client, yard.keys)
    for raw in (b"\xc1", b"{}", msgspec.msgpack.encode(["mail"])):
        fine = encode_body(Body("mail", "{}"))
        with pytest.raises(SettingsError, match="not readable"):
            yard.run(verbs.enqueue(yard.keys, 0, ["one", fine, "two", raw]))
        part = msgspec.msgpack.encode([FINE, 1, [20, 0, "line"]])
        with pytest.raises(SettingsError, match="not readable"):
            yard.run(verbs.append_logs(yard.keys, [part, raw]))
    assert dump(client, yard.keys) == before


def test_a_unique_key_whose_holder_was_unreadable_is_free_again(client: Any, prefix: str) -> None:
    yard = Yard(client, prefix, [FINE])
    yard.reach("pending")
    client.set(yard.keys.job(FINE), b"\xc1")
    assert yard.work(1) == []
    body = encode_body(Body("mail", "{}", unique=f"u-{FINE}"))
    assert yard.run(verbs.enqueue(yard.keys, 0, ["next", body]))[1] == b"p"
    assert client.get(yard.keys.unique(f"u-{FINE}")) == b"next"
