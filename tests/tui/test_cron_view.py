"""The view of schedules: the list, the editor, off until, run now, remove."""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.tui.plans import PlanTwin, planned
from tests.tui.stage import Desk, running
from tests.tui.twin import START
from textual.events import Key

from qdeck.admin import Preview, ScheduleRow
from qdeck_tui.format import width


async def opened(desk: Desk) -> str:
    """Open the view and wait for its rows."""
    await desk.press("5")
    return await desk.until("nightly_report")


async def typed(desk: Desk, text: str) -> None:
    """Type characters as a person does."""
    for character in text:
        await desk.press({" ": "space", "*": "asterisk", "-": "minus"}.get(character, character))


async def to_row(desk: Desk, name: str) -> None:
    """Filter for a schedule, as the operator does."""
    await desk.press("slash")
    await typed(desk, name)
    await desk.press("enter")
    await desk.until(f"filter: {name}")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_schedules_are_listed_late_ones_first(size: tuple[int, int]) -> None:
    async with running(planned(), size=size) as desk:
        text = await opened(desk)
        rows = [line for line in text.splitlines() if "_" in line and "HISTORY" not in line]
        assert "backup_db" in rows[0]
        assert "LATE 4m" in rows[0]
        assert "SCHEDULES 6  1 off  1 late" in text
        if size[0] > 60:
            line = next(line for line in rows if "nightly_report" in line)
            assert "FAIL" in line
            assert ".......x" in line
            assert "in 19h" in line


async def test_the_history_of_the_selected_schedule_is_shown() -> None:
    async with running(planned(), size=(120, 40)) as desk:
        await opened(desk)
        await to_row(desk, "nightly")
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


async def test_the_editor_shows_words_and_next_runs_in_both_zones_while_typing() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        text = await desk.until("At 02:00, Monday to Friday")
        assert "was: 0 2 * * 1-5" in text
        assert "step number" in text.splitlines()[-1]
        await typed(desk, "30 3 * * 1-5")
        await desk.until("At 03:30, Monday to Friday")
        text = await desk.until(lambda text: text.count("CET") == 5)
        assert "Mon 23 Nov 03:30 CET" in text
        assert "02:30 UTC" in text
        assert "fires 5 times a week" in text
        assert "- 0 2 * * 1-5   Europe/Berlin    + 30 3 * * 1-5   Europe/Berlin" in text
        assert twin.plans["nightly_report"].expression == "0 2 * * 1-5"


async def test_the_operators_scenario_takes_six_keys_and_the_expression() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        await typed(desk, "30 3 * * 1-5")
        await desk.until("At 03:30")
        await desk.press("ctrl+x")
        text = await desk.until("Save nightly_report?")
        assert "0 2 * * 1-5   Europe/Berlin → 30 3 * * 1-5   Europe/Berlin" in text
        await desk.say_yes()
        await desk.until("changed nightly_report")
        row = twin.plans["nightly_report"]
        assert (row.expression, row.zone, row.revision) == ("30 3 * * 1-5", "Europe/Berlin", 4)
        assert row.payload == {"scope": "all"}


async def test_a_no_brings_the_form_back_and_nothing_is_saved() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        await typed(desk, "0 5 * * *")
        await desk.press("ctrl+x")
        await desk.until("Save nightly_report?")
        await desk.armed()
        await desk.press("n")
        text = await desk.until("not saved")
        assert "0 5 * * *" in text
        await desk.press("escape")
        await desk.until("Esc again drops it")
        await desk.press("escape")
        await desk.until(lambda text: "EDIT nightly_report" not in text)
        assert twin.plans["nightly_report"].revision == 3
        await desk.press("e")
        await desk.until("At 02:00")


async def test_words_are_saved_as_the_expression_that_they_mean() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        await typed(desk, "mon 9:00")
        await desk.until("At 09:00, Monday   (0 9 * * mon)")
        await desk.press("ctrl+x")
        await desk.until("Save nightly_report?")
        await desk.say_yes()
        await desk.until("changed nightly_report")
        assert twin.plans["nightly_report"].expression == "0 9 * * mon"


@pytest.mark.parametrize(
    ("text", "why"),
    [("0 25 * * *", "hour 25 of"), ("0 0 30 2 *", "never fires"), ("foo", "has 1 fields")],
)
async def test_what_does_not_parse_is_said_while_typing_and_cannot_be_saved(
    text: str, why: str
) -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        await typed(desk, text)
        await desk.until(why)
        await desk.press("ctrl+x")
        await desk.until(lambda screen: "SAVE" in screen and why in screen)
        await desk.press("y", "escape")
        await desk.until("EDIT nightly_report")
        assert twin.plans["nightly_report"].revision == 3


async def test_up_and_down_step_the_number_under_the_cursor_and_ctrl_t_offers_presets() -> None:
    async with running(planned()) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        await desk.press("home", "up", "up")
        await desk.until("At 02:02")
        await desk.press("right", "down")
        await desk.until("At 02:01")
        await desk.press("ctrl+t")
        await desk.until("Every 15 minutes   (*/15 * * * *)")
        await desk.press("ctrl+t", "ctrl+t")
        await desk.until("At 03:00, every day")


async def test_a_zone_is_searched_while_typing() -> None:
    async with running(planned()) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e", "tab")
        await typed(desk, "kath")
        await desk.until("^T takes: Asia/Kathmandu")
        await desk.until("did you mean Asia/Kathmandu")
        await desk.press("ctrl+t")
        await desk.until("02:00 +0545")


async def test_somebody_who_saved_first_is_not_overwritten() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        await typed(desk, "30 3 * * 1-5")
        mine = twin.plans["nightly_report"]
        twin.plans["nightly_report"] = replace(
            mine, expression="0 7 * * *", revision=4, edited_by="bob@there"
        )
        await desk.press("ctrl+x")
        await desk.until("changed meanwhile by bob@there: now 0 7 * * *")
        await desk.press("escape")
        text = await desk.until("was: 0 7 * * *")
        assert "30 3 * * 1-5" in text
        await desk.press("ctrl+x")
        await desk.until("0 7 * * *   Europe/Berlin → 30 3 * * 1-5   Europe/Berlin")
        await desk.say_yes()
        await desk.until("changed nightly_report")
        assert twin.plans["nightly_report"].expression == "30 3 * * 1-5"


async def test_somebody_who_saves_between_question_and_answer_wins_and_the_edit_is_kept() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        await typed(desk, "30 3 * * 1-5")
        twin.rival = replace(twin.plans["nightly_report"], expression="0 7 * * *", revision=4)
        await desk.press("ctrl+x")
        await desk.until("Save nightly_report?")
        await desk.say_yes()
        await desk.until("not saved: changed meanwhile")
        assert desk.app.sheet is None
        assert twin.plans["nightly_report"].expression == "0 7 * * *"
        await desk.press("e")
        text = await desk.until("was: 0 7 * * *")
        assert "[30 3 * * 1-5" in text


async def test_a_new_schedule_is_added_and_bad_arguments_are_refused_by_field() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await desk.press("n")
        await desk.until("NEW SCHEDULE")
        await desk.press("ctrl+x")
        await desk.until("name: a name")
        await typed(desk, "hello")
        await desk.press("tab")
        await typed(desk, "daily 03:00")
        await desk.press("tab", "tab")
        await typed(desk, "greet")
        await desk.press("tab", "tab")
        await typed(desk, "[1]")
        await desk.press("ctrl+x")
        await desk.until("args: write an object")
        await desk.press("ctrl+u")
        await typed(desk, '{"to":1}')
        await desk.press("ctrl+x")
        await desk.until("Add schedule hello?")
        await desk.say_yes()
        await desk.until("added hello")
        row = twin.plans["hello"]
        assert (row.expression, row.task, row.queue) == ("0 3 * * *", "greet", "default")
        assert row.payload == {"to": 1}


async def test_another_queue_is_a_move() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e", "tab", "tab", "tab")
        await typed(desk, "slow")
        await desk.press("ctrl+x")
        await desk.until("reports → slow")
        await desk.say_yes()
        await desk.until("moved nightly_report to slow")
        assert twin.plans["nightly_report"].queue == "slow"


async def test_off_until_takes_eleven_characters_and_says_when_it_comes_back() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "cle")
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
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "cle")
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
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("t")
        await desk.until("Run nightly_report now, once?")
        await desk.say_yes()
        await desk.until("ran nightly_report")
        await desk.press("D")
        await desk.until("Remove nightly_report?")
        await desk.press("escape")
        await desk.until("remove: no, nothing was done")
        assert "nightly_report" in twin.plans
        await desk.press("D")
        await desk.say_yes()
        await desk.until("removed nightly_report")
        assert "nightly_report" not in twin.plans


async def test_marked_schedules_are_switched_off_together() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
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


async def test_a_server_that_is_read_only_says_so() -> None:
    twin = planned()
    twin.read_only = True
    async with running(twin) as desk:
        await opened(desk)
        await desk.press("e")
        await desk.until("edit refused: the server is read-only")


async def test_enter_opens_the_last_job_or_says_that_there_is_none() -> None:
    async with running(planned()) as desk:
        await opened(desk)
        await desk.press("enter")
        await desk.until("backup_db has no job on record yet")
        await to_row(desk, "rep")
        await desk.press("enter")
        await desk.until("JOB 01J8F3")


async def test_only_a_drifted_schedule_can_adopt_what_code_declares() -> None:
    async with running(planned()) as desk:
        await opened(desk)
        desk.app.press("colon", ":")
        await typed(desk, "adopt")
        await desk.press("enter")
        await desk.until("nothing to adopt")
        await to_row(desk, "weekly")
        desk.app.press("colon", ":")
        await typed(desk, "adopt")
        await desk.press("enter")
        await desk.until("Adopt what code declares for weekly_digest?")
        await desk.say_yes()
        await desk.until("adopt failed: adopt is unknown here")


async def test_a_slow_preview_is_asked_once_at_a_time_and_the_last_text_wins() -> None:
    class Slow(PlanTwin):
        busy = 0
        most = 0

        async def preview(
            self, text: str, zone: str = "UTC", name: str = "", count: int = 5
        ) -> Preview:
            self.busy += 1
            Slow.most = max(Slow.most, self.busy)
            await asyncio.sleep(0.1)
            self.busy -= 1
            return await super().preview(text, zone, name, count)

    twin = Slow()
    twin.plans = planned().plans
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await typed(desk, "45 6 * * *")
        await desk.until("At 06:45")
    assert Slow.most == 1


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
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        calls = len(twin.calls)
        desk.burst(keys)
        await desk.until("y yes")
        await desk.until("typed too early, dropped")
        await desk.press("escape")
        await desk.until("no, nothing was done")
        assert "nightly_report" in twin.plans
        assert not {"trigger_schedule", "remove_schedule"} & set(twin.calls[calls:])


async def test_a_yes_in_one_packet_with_the_save_is_dropped() -> None:
    twin = planned()
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await typed(desk, "30 3 * * 1-5")
        desk.app.post_message(Key("ctrl+x", None))
        desk.burst("yyy")
        await desk.until("Save nightly_report?")
        await desk.until("dropped")
        assert twin.plans["nightly_report"].revision == 3
        await desk.say_yes()
        await desk.until("changed nightly_report")


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


async def test_the_first_screen_without_schedules_says_which_keys_help() -> None:
    twin = planned()
    twin.plans.clear()
    async with running(twin) as desk:
        await desk.until("no schedules: 5 shows them")
