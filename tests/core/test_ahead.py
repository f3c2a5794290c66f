"""What all schedules will start in the coming hours, and what the last runs of one took."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Denied, ScheduleRuns, ScheduleSpec
from qdeck.ahead import MOST, Coming, look_ahead
from qdeck.cron import Cron
from qdeck.schedule import Past, decode_stored

QUIET = datetime(2026, 11, 22, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def desk(valkey: Server, prefix: str) -> AsyncIterator[Desk]:
    """An operator's door."""
    async with Desk(valkey.url, prefix) as made:
        yield made


def coming(*expressions: str, zone: str = "UTC") -> list[Coming]:
    """Return schedules that are named by their expressions."""
    return [Coming(each, Cron.parse(each), zone) for each in expressions]


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("UTC", QUIET),
        ("Europe/Berlin", QUIET),
        ("Asia/Kathmandu", QUIET),
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 2, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 12, 31, 12, tzinfo=UTC)),
    ],
)
async def test_each_hour_counts_what_its_expressions_fire(zone: str, start: datetime) -> None:
    now = start + timedelta(minutes=17, seconds=30)
    words = ("0 * * * *", "*/15 * * * *", "30 2 * * *", "0 3 * * 1-5", "0 9 1 * *",
             "*/30 17 5 * * *", "0 0 * * 0")  # fmt: skip
    found = await look_ahead(coming(*words, zone=zone), start, now, 24)
    runs: Counter[int] = Counter()
    busy: dict[int, set[str]] = {}
    for word in words:
        for slot in Cron.parse(word).slots(now, start + 24 * HOUR, zone):
            runs[(slot - start) // HOUR] += 1
            busy.setdefault((slot - start) // HOUR, set()).add(word)
    assert [each.at for each in found.hours] == [start + n * HOUR for n in range(24)]
    assert [each.runs for each in found.hours] == [runs[n] for n in range(24)]
    assert [each.schedules for each in found.hours] == [len(busy.get(n, ())) for n in range(24)]


async def test_a_fine_schedule_is_counted_over_a_change_of_the_clock() -> None:
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)
    found = await look_ahead(coming("* * * * *", zone="Europe/Berlin"), start, start, 24)
    assert [each.runs for each in found.hours] == [60] * 24


async def test_the_fullest_minute_is_named() -> None:
    words = ["0 3 * * *", "0 3 * * 0", "0 * * * *", "*/20 * * * *", "30 3 * * *"]
    found = await look_ahead(coming(*words), QUIET, QUIET + timedelta(seconds=1), 24)
    assert found.peak == datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert (found.together, found.names) == (3, ("0 3 * * *", "0 * * * *", "*/20 * * * *"))
    none = await look_ahead([], QUIET, QUIET, 3)
    assert (none.peak, none.together, [each.runs for each in none.hours]) == (None, 0, [0, 0, 0])


async def test_no_more_than_a_thousand_schedules_are_looked_at() -> None:
    many = coming("0 8 * * *") * (MOST + 5)
    found = await look_ahead(many, QUIET, QUIET, 2)
    assert (found.together, found.left_out, len(found.names)) == (MOST, 5, 8)


async def test_what_is_off_counts_from_when_it_comes_back(desk: Desk) -> None:
    door = desk.operator
    await door.add_schedule(ScheduleSpec("hourly", "0 * * * *", "mail", queue="q"))
    await door.add_schedule(ScheduleSpec("back", "30 * * * *", "mail", queue="q"))
    await door.add_schedule(ScheduleSpec("off", "* * * * *", "mail", queue="q"))
    now = datetime.now(UTC)
    await door.disable_schedule("off")
    await door.disable_schedule("back", now + timedelta(hours=12))
    found = await door.schedules_ahead()
    assert len(found.hours) == 24
    assert found.hours[0].at <= now + timedelta(minutes=1)
    assert all(each.runs <= 2 for each in found.hours)
    assert [each.runs for each in found.hours[2:11]] == [1] * 9
    assert [each.runs for each in found.hours[14:23]] == [2] * 9
    assert len((await door.schedules_ahead(hours=500)).hours) == 48
    with pytest.raises(Denied, match="no time zone"):
        await door.schedules_ahead(datetime(2026, 1, 1))


async def test_the_runs_of_a_schedule_say_what_they_took_and_of_what_they_failed(
    desk: Desk,
) -> None:
    door = desk.operator
    await door.add_schedule(ScheduleSpec("report", "0 * * * *", "job", queue="q"))
    assert await door.schedule_runs("other") is None
    assert await door.schedule_runs("report") == ScheduleRuns("report")
    ids = await desk.put(4)
    done = await desk.complete(2)
    (dead,) = await desk.fail(1)
    key = desk.deck.keys("q").cron
    stored = decode_stored(await desk.call("HGET", key, "report"))
    assert stored is not None
    slots = [Past(3_600_000 * n, each, 5, "", 1) for n, each in enumerate([*ids, "x" * 26, ""], 1)]
    kept = msgspec.structs.replace(stored, history=slots)
    await desk.call("HSET", key, "report", msgspec.msgpack.encode(kept))
    found = await door.schedule_runs("report")
    assert found is not None
    runs = {run.job.id: run for run in found.runs}
    assert [run.job.id for run in found.runs] == ["x" * 26, *reversed(ids)]
    took = sorted(runs[each].run_s or 0.0 for each in [*done, dead])
    assert all(runs[each].run_s is not None for each in [*done, dead])
    assert (found.p50_s, found.p95_s) == (took[1], took[2])
    assert runs[dead].error.endswith("no route to host")
    waiting = next(each for each in ids if each not in {*done, dead})
    assert (runs[waiting].run_s, runs[waiting].error) == (None, "")
    assert runs["x" * 26].run_s is None
