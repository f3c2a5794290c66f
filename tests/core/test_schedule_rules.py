"""Which slots of a schedule fire: the rules, without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.servers import settings_for

from qdeck.errors import InvalidCron, InvalidPayload, SettingsError
from qdeck.plan import Plan, decode_plan, make_plan
from qdeck.record import Body, to_ms
from qdeck.schedule import (
    Past,
    Step,
    Stored,
    decide,
    decode_stored,
    job_of_slot,
    next_after,
    rfc3339,
)

NOON = to_ms(datetime(2026, 3, 2, 12, tzinfo=UTC))


def every(seconds: int, **terms: Any) -> Plan:
    """Return a plan that fires every so many seconds of a minute."""
    return make_plan(f"*/{seconds} * * * * *", "mail", **terms)


def test_a_schedule_that_is_on_time_fires_its_slot_and_names_the_next() -> None:
    assert decide(every(1), NOON, NOON + 3) == Step((NOON,), NOON + 1000)


@pytest.mark.parametrize("misfire", ["skip", "latest", "all"])
def test_a_short_stall_loses_no_slot_whatever_the_policy(misfire: str) -> None:
    step = decide(every(1, misfire=misfire), NOON, NOON + 9_900)
    assert step.slots == tuple(NOON + 1000 * n for n in range(10))
    assert (step.next, step.missed) == (NOON + 10_000, 0)


def test_skip_fires_none_of_the_slots_that_were_missed() -> None:
    step = decide(every(1, misfire="skip"), NOON, NOON + 20_300)
    assert step == Step((NOON + 20_000,), NOON + 21_000, 20, NOON + 19_000)


def test_latest_fires_the_last_of_the_slots_that_were_missed() -> None:
    step = decide(every(1, misfire="latest"), NOON, NOON + 20_300)
    assert step == Step((NOON + 19_000, NOON + 20_000), NOON + 21_000, 19, NOON + 18_000)


def test_all_fires_every_slot_that_was_missed() -> None:
    step = decide(every(1, misfire="all"), NOON, NOON + 20_300)
    assert step.slots == tuple(NOON + 1000 * n for n in range(21))
    assert (step.next, step.missed) == (NOON + 21_000, 0)


def test_all_goes_no_further_back_than_its_window() -> None:
    step = decide(every(1, misfire="all", catch_up=5), NOON, NOON + 20_300)
    assert step.slots == tuple(NOON + 1000 * n for n in range(16, 21))
    assert (step.missed, step.missed_last) == (16, NOON + 15_000)


def test_a_long_outage_is_made_up_for_in_steps_of_50_slots() -> None:
    fired: list[int] = []
    plan, due, now = every(1, misfire="all"), NOON, NOON + 130_000
    while due <= now:
        step = decide(plan, due, now)
        fired += step.slots
        due = step.next
        assert len(step.slots) <= 50
    assert fired == [NOON + 1000 * n for n in range(131)]


@pytest.mark.parametrize(("misfire", "slots"), [("skip", 0), ("latest", 1), ("all", 1)])
def test_one_slot_of_a_daily_schedule_that_was_missed(misfire: str, slots: int) -> None:
    plan = make_plan("0 12 * * *", "mail", misfire=misfire)
    step = decide(plan, NOON, NOON + 1_800_000)
    assert len(step.slots) == slots
    assert step.missed == 1 - slots
    assert step.next == NOON + 86_400_000


def test_a_week_of_missed_seconds_costs_no_more_than_counting_a_thousand() -> None:
    step = decide(every(1, misfire="latest"), NOON, NOON + 7 * 86_400_000)
    assert step.slots == (NOON + 7 * 86_400_000 - 1000, NOON + 7 * 86_400_000)
    assert step.missed == 999


def test_a_jump_between_slots_far_apart_is_found_by_bisection() -> None:
    plan = make_plan("* * 3 * * *", "mail", misfire="latest")
    due = to_ms(datetime(2026, 3, 2, 3, tzinfo=UTC))
    step = decide(plan, due, to_ms(datetime(2026, 3, 9, 12, tzinfo=UTC)))
    assert step.slots == (to_ms(datetime(2026, 3, 9, 3, 59, 59, tzinfo=UTC)),)


def test_each_slot_has_one_job_id_and_its_own_lateness() -> None:
    plan, settings = every(1, jitter=30), settings_for("redis://127.0.0.1")
    first = job_of_slot("mails", plan, NOON, settings, {})
    assert first == job_of_slot("mails", plan, NOON, settings, {})
    assert first[0] != job_of_slot("others", plan, NOON, settings, {})[0]
    assert len(first[0]) == 26
    body = msgspec.msgpack.decode(first[1], type=Body)
    assert NOON <= body.at <= NOON + 30_000
    assert msgspec.json.decode(body.metadata) == {
        "schedule": "mails",
        "slot": "2026-03-02T12:00:00Z",
    }


def test_jitter_spreads_slots_over_its_whole_width() -> None:
    plan, settings = every(1, jitter=10), settings_for("redis://127.0.0.1")
    late = []
    for number in range(200):
        slot = NOON + 1000 * number
        raw = job_of_slot("mails", plan, slot, settings, {})[1]
        late.append(msgspec.msgpack.decode(raw, type=Body).at - slot)
    assert 0 <= min(late) < 1000
    assert 9000 < max(late) <= 10_000


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"misfire": "never"}, "skip or latest or all"),
        ({"overlap": "cancel"}, "allow or skip"),
        ({"jitter": -1}, "jitter"),
        ({"catch_up": float("nan")}, "catch_up"),
        ({"options": {"delay": 5}}, "no option 'delay'"),
        ({"options": {"priority": "loud"}}, "priority"),
        ({"options": {"expires": "2026-01-01"}}, "expires"),
        ({"options": [1]}, "options"),
    ],
)
def test_a_part_that_is_not_usable_is_named(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make_plan("* * * * *", "mail", **terms)


def test_an_expression_that_never_fires_is_refused_with_that_reason() -> None:
    with pytest.raises(InvalidCron, match="never fires"):
        make_plan("0 0 30 2 *", "mail")


@pytest.mark.parametrize("payload", [[1], {"x": object()}, "text"])
def test_a_payload_that_is_no_json_object_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidPayload):
        make_plan("* * * * *", "mail", payload=payload)


def test_a_schedule_of_a_megabyte_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="more than"):
        make_plan("* * * * *", "mail", payload={"x": "x" * 1024 * 1024})


def test_a_plan_comes_back_from_its_text_as_it_was() -> None:
    plan = every(7, options={"priority": "high", "expires": 5}, payload={"b": 1, "a": [None]})
    assert decode_plan(plan.text()) == plan
    assert plan.options == {"priority": 6, "expires": 5.0}
    with pytest.raises(SettingsError, match="save it anew"):
        decode_plan("{")


def test_a_stored_schedule_that_scripts_read_is_read_and_others_are_not() -> None:
    row: list[Any] = [3, 1, 0, NOON, 0, "", "{}", "", 5, "ana", [[NOON, "id", 4, "", 1]]]
    pack = msgspec.msgpack.encode
    assert decode_stored(pack(row)) == Stored(
        3, 1, 0, NOON, 0, "", "{}", "", 5, "ana", [Past(NOON, "id", 4, "", 1)]
    )
    for place, value in ((0, "x"), (4, None), (5, 7), (10, "x")):
        broken = list(row)
        broken[place] = value
        assert decode_stored(pack(broken)) is None
    odd: list[tuple[int, Any]] = [(6, 7), (8, "x"), (9, None), (10, [[1], 7])]
    for place, value in odd:
        broken = list(row)
        broken[place] = value
        found = decode_stored(pack(broken))
        assert found is not None
        assert found.revision == 3
    for raw in (None, b"", b"\xc1", pack({"a": 1}), pack([1])):
        assert decode_stored(raw) is None


def test_a_slot_is_written_with_its_zone() -> None:
    assert rfc3339(NOON) == "2026-03-02T12:00:00Z"
    assert next_after(every(1), NOON) == NOON + 1000
