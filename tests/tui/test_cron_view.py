"""The view of schedules: the list, off until, run now, remove."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.tui.cronstage import agreed, listed, opened, to_row, typed
from tests.tui.plans import planned
from tests.tui.stage import running
from tests.tui.twin import START

from qdeck.admin import ScheduleRow, SlotRow
from qdeck_tui.format import width


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_schedules_are_listed_late_ones_first(size: tuple[int, int]) -> None:
    async with running(planned(), size=size) as desk:
        text = await opened(desk)
        rows = [line for line in text.splitlines() if "_" in line and "HISTORY" not in line]
        assert "backup_db" in rows[0]
        assert "LATE 4m" in rows[0]
        assert "SCHEDULES 6 (1 off, 1 late)" in text
        if size[0] > 60:
            line = next(line for line in rows if "nightly_report" in line)
            assert "FAIL" in line
            assert ".......x" in line
            assert "in 19h" in line


async def test_runs_that_were_late_are_words_and_signs_and_count_as_late() -> None:
    twin = planned()
    row = twin.plans["hourly_rollup"]
    late = replace(row.history[0], late_s=540.0)
    twin.plan(replace(row, history=(late, *row.history[1:])))
    twin.plan(replace(twin.plans["old_sync"], disabled_until=START + timedelta(hours=40)))
    async with listed(twin) as desk:
        text = await desk.until("SCHEDULES 6 (1 off, 2 late)")
        line = next(line for line in text.splitlines() if "hourly_rollup" in line)
        assert line.rstrip().endswith("LATE 9m  .......L")
        assert "off until Sun 19:12" in text
        await to_row(desk, "late")
        await desk.until("> backup_db")
        await desk.press("down", "e")
        text = await desk.until("EDIT hourly_rollup")
        assert "LATE 9m  .......L" in text
    twin.plan(replace(twin.plans["old_sync"], disabled_until=START + timedelta(hours=53.8)))
    async with listed(twin) as desk:
        await desk.press("G", "e")
        await desk.until("off>Mon 09")


async def test_the_history_of_the_selected_schedule_is_shown() -> None:
    async with listed(planned(), "nightly", size=(120, 40)) as desk:
        text = await desk.until("HISTORY nightly_report")
        assert "9 kept, 1 failed" in text
        assert "report.nightly in reports" in text
        assert "Sat 21 Nov 02:42" in text


async def test_an_empty_list_says_which_key_helps() -> None:
    twin = planned()
    twin.plans.clear()
    async with running(twin) as desk:
        await desk.press("5")
        await desk.until("no schedules: n adds one")


async def test_a_list_that_cannot_be_read_fails_alone() -> None:
    async with running(planned({"schedules"})) as desk:
        await desk.press("5")
        await desk.until("schedules is broken here")


async def test_off_until_takes_eleven_characters_and_says_when_it_comes_back() -> None:
    twin = planned()
    async with listed(twin, "cle") as desk:
        await desk.press("p")
        await typed(desk, "mon 9:00")
        await desk.until("Enter: off until Mon 23 Nov 09:00 UTC, in 2d")
        await desk.press("enter")
        await desk.until("disabled cleanup_tmp")
        await desk.until("off until Mon 09:00")
        row = twin.plans["cleanup_tmp"]
        assert (row.enabled, row.disabled_until) == (False, datetime(2026, 11, 23, 9, tzinfo=UTC))
        await desk.press("p")
        await desk.until("on again")
        await desk.press("enter")
        await desk.until("enabled cleanup_tmp")
        assert twin.plans["cleanup_tmp"].enabled


async def test_what_is_no_time_switches_nothing_off() -> None:
    twin = planned()
    async with listed(twin, "cle") as desk:
        await desk.press("p")
        await typed(desk, "soon")
        await desk.press("enter")
        await desk.until("'soon' is no time")
        assert twin.plans["cleanup_tmp"].enabled
        await desk.press("p", "escape")
        assert twin.plans["cleanup_tmp"].enabled
        await desk.press("p")
        await desk.until("off until it is switched on")
        await desk.press("enter")
        await desk.until("disabled cleanup_tmp")
        assert twin.plans["cleanup_tmp"].disabled_until is None


async def test_running_now_and_removing_ask_first() -> None:
    twin = planned()
    async with listed(twin, "rep") as desk:
        await agreed(desk, "t", "Run nightly_report now, once?", "ran nightly_report")
        await desk.press("D")
        await desk.until("Remove nightly_report?")
        await desk.press("escape")
        await desk.until("remove: no, nothing was done")
        assert "nightly_report" in twin.plans
        await agreed(desk, "D", "Remove nightly_report?", "removed nightly_report")
        assert "nightly_report" not in twin.plans


async def test_marked_schedules_are_switched_off_together() -> None:
    twin = planned()
    async with listed(twin) as desk:
        await desk.press("space", "space", "p")
        await desk.until("2 marked schedules off until")
        await desk.press("plus")
        await typed(desk, "2h")
        await desk.press("enter")
        await desk.until(lambda text: text.count("off until") >= 2)
        assert sum(1 for row in twin.plans.values() if not row.enabled) == 3


@pytest.mark.parametrize("key", ["e", "n", "p", "t", "D"])
async def test_a_read_only_console_refuses_every_write_with_the_reason(key: str) -> None:
    async with running(planned(), read_only=True) as desk:
        await opened(desk)
        await desk.press(key)
        await desk.until("refused: this console is read-only")
        assert desk.app.sheet is None


async def test_enter_opens_the_last_job_or_says_that_there_is_none() -> None:
    async with listed(planned()) as desk:
        await desk.press("enter")
        await desk.until("backup_db has no job on record yet")
        await to_row(desk, "rep")
        await desk.press("enter")
        await desk.until("JOB 01J8F3")


async def test_only_a_drifted_schedule_can_adopt_what_code_declares() -> None:
    async with listed(planned()) as desk:
        desk.app.press("colon", ":")
        await typed(desk, "adopt")
        await desk.press("enter")
        await desk.until("nothing to adopt")
        await to_row(desk, "weekly")
        desk.app.press("colon", ":")
        await typed(desk, "adopt")
        asked = "Adopt what code declares for weekly_digest?"
        await agreed(desk, "enter", asked, "adopt failed: adopt is unknown here")


async def test_names_and_faults_of_schedules_command_nothing() -> None:
    twin = planned()
    twin.plan(replace(twin.plans["old_sync"], name="evil\x1b[2J[red]", fault="zone\x1b]52;c;x\x07"))
    async with running(twin, size=(120, 40)) as desk:
        text = await opened(desk)
        assert "evil·[2J[red]" in text
        assert "\x1b" not in text


@pytest.mark.parametrize("keys", ["ty", "Dy", "DDyy", "tyty", ":trigger\ry", ":remove\ry"])
async def test_keys_typed_ahead_of_a_question_never_answer_it(keys: str) -> None:
    twin = planned()
    async with listed(twin, "rep") as desk:
        calls = len(twin.calls)
        desk.burst(keys)
        await desk.until("y yes")
        await desk.until("typed too early, dropped")
        await desk.press("escape")
        await desk.until("no, nothing was done")
        assert "nightly_report" in twin.plans
        assert not {"trigger_schedule", "remove_schedule"} & set(twin.calls[calls:])


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (120, 40)])
async def test_hostile_schedules_keep_the_layout_of_every_sheet(size: tuple[int, int]) -> None:
    evil = "\u202e漢字\x1b[2J[red]\x00é" + "x" * 200
    twin = planned()
    twin.plans.clear()
    row = ScheduleRow(evil, "0 2 * * 1-5", evil, "Europe/Berlin", evil, {evil: evil}, revision=1)
    twin.plan(replace(row, fault=evil, edited_by=evil, edited_at=START, drifted=evil))
    async with running(twin, size=size) as desk:
        await desk.press("5")
        await desk.until("漢字")
        for keys, seen in (
            ("e", "At 02:00"), ("t", "now, once?"), ("D", "Remove"), ("p", "off until:"),
        ):  # fmt: skip
            await desk.press(keys)
            await desk.until(seen)
            lines = desk.lines()
            assert max(map(width, lines)) <= size[0]
            assert not any(unicodedata.category(c) in ("Cc", "Cf") for c in "".join(lines))
            await desk.press("escape")
            await desk.until(lambda text, seen=seen: seen not in text)  # type: ignore[misc]


async def test_the_first_screen_says_which_schedules_are_late_and_which_run_next() -> None:
    async with running(planned()) as desk:
        text = await desk.until("NEXT CRON")
        text = await desk.until("backup_db")
        line = next(line for line in text.splitlines() if "backup_db" in line)
        assert line.index("LATE 4m  backup_db") < line.index("in 9m 03:22  cleanup_tmp")
        assert "6 schedules, 1 off" in text
        assert desk.twin.calls.count("schedules") == 1


async def test_the_first_screen_says_which_of_the_next_schedules_ran_late_before() -> None:
    twin = planned()
    row = next(each for each in twin.plans.values() if each.name == "cleanup_tmp")
    ran = SlotRow(START - timedelta(hours=1), outcome="completed", late_s=540.0)
    twin.plan(replace(row, history=(ran, *row.history)))
    async with running(twin) as desk:
        await desk.until("cleanup_tmp  (9m late before)")


async def test_the_first_screen_without_schedules_says_which_keys_help() -> None:
    twin = planned()
    twin.plans.clear()
    async with running(twin) as desk:
        await desk.until("no schedules: 5 shows them")
