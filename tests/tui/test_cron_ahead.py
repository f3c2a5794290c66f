"""What comes and what was, beside the list of schedules: the next 24 hours and the run times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.tui.cronstage import opened, to_row
from tests.tui.plans import planned
from tests.tui.stage import running
from tests.tui.twin import Twin

from qdeck.admin import ScheduleRow


def crowded() -> Twin:
    """Return a twin with seven schedules at 05:00, and what else there is."""
    twin = planned()
    for number in range(7):
        twin.plan(ScheduleRow(f"rollup_{number}", "0 5 * * *", "t", next_slot=twin.now, revision=1))
    return twin


async def test_the_next_24_hours_show_where_schedules_pile_up() -> None:
    async with running(crowded(), size=(120, 40)) as desk:
        await opened(desk)
        text = await desk.until("NEXT 24 H, all schedules")
        text = await desk.until("busiest 05:00 (9 schedules, 10 jobs)")
        assert "! 9 start together at 05:00" in text
        assert "hourly_rollup, cleanup_tmp, rollup_0" in text
        lines = text.splitlines()
        at = next(n for n, line in enumerate(lines) if line.startswith(" h 03  05"))
        bars = lines[at + 1]
        assert bars.count("█") == 2
        assert bars.index("█") == lines[at].index("05")
        # An hour later it begins at the next one, and a change is seen at once.
        desk.twin.plans = {"backup_db": desk.twin.plans["backup_db"]}
        await desk.until("busiest 03:00 (1 schedule)")
        desk.twin.plans = {"old_sync": crowded().plans["old_sync"]}
        await desk.until("nothing fires within 24 hours")


async def test_the_hours_are_those_of_the_zone_that_is_shown() -> None:
    async with running(crowded(), size=(120, 40), zone="local") as desk:
        await opened(desk)
        here = datetime(2026, 11, 22, 5, tzinfo=UTC).astimezone(desk.app.zone)
        await desk.until(f"busiest {here:%H:%M}")
        await desk.press("Z")
        await desk.until("busiest 05:00")


@pytest.mark.parametrize("plain", [False, True])
async def test_without_signs_the_next_24_hours_are_ascii(plain: bool) -> None:
    async with running(crowded(), size=(80, 40), ascii=True, plain=plain) as desk:
        await opened(desk)
        text = await desk.until("busiest 05:00 (9 schedules, 10 jobs)")
        assert text.isascii()
        assert ("05:00 9" in text) == plain
        assert ("##" in text) == (not plain)


async def test_a_low_screen_shows_one_of_the_two_at_a_time() -> None:
    async with running(crowded()) as desk:
        await opened(desk)
        text = await desk.until("] next 24 h")
        assert "NEXT 24 H, all" not in text
        await desk.press("right_square_bracket")
        text = await desk.until("busiest 05:00")
        assert "] history" in text
        assert "── HISTORY" not in text
        await desk.press("left_square_bracket")
        await desk.until("── HISTORY")


async def test_hours_that_cannot_be_read_fail_alone() -> None:
    async with running(planned({"schedules_ahead", "schedule_runs"}), size=(120, 40)) as desk:
        await opened(desk)
        await desk.until("NEXT 24 H, all schedules ! schedules_ahead is broken here")
        await to_row(desk, "rep")
        await desk.until("p50 ?  p95 ? (schedule_runs is broken here)")


async def test_an_implementation_that_knows_neither_says_so() -> None:
    known = planned()
    twin = Twin()
    twin.plans = known.plans
    async with running(twin, size=(120, 40)) as desk:
        await opened(desk)
        await desk.until("coming runs are unknown here")
        await to_row(desk, "rep")
        await desk.until("p50 ?  p95 ? (run times are unknown here)")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_run_times_and_outcomes_of_a_schedule_are_shown(size: tuple[int, int]) -> None:
    async with running(planned(), size=size) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        text = await desk.until("p50 4.5s  p95 9.0s")
        assert "........x   9 kept, 1 failed" in text
        assert "last: FAIL" in text
        if size[0] > 100:
            assert "Sat 21 Nov 02:42  FAIL  1.0s" in text
        await desk.press("escape")
        await to_row(desk, "clean")
        text = await desk.until("HISTORY cleanup_tmp")
        assert "p50" not in text
        assert "no run on record" in text
