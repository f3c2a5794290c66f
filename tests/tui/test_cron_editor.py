"""The editor of schedules: words and runs while typing, saving, and somebody who saved first."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.tui.cronstage import agreed, editing, listed, typed
from tests.tui.plans import PlanTwin, planned
from textual.events import Key

from qdeck.admin import Preview

HALF_PAST_3 = ("30 3 * * 1-5", "At 03:30, Monday to Friday")


async def test_the_editor_shows_words_and_next_runs_in_both_zones_while_typing() -> None:
    twin = planned()
    async with editing(twin, *HALF_PAST_3) as desk:
        text = await desk.until(lambda text: text.count("CET") == 5)
        assert "was: 0 2 * * 1-5" in text
        assert "step number" in text.splitlines()[-1]
        assert "next  Mon 23 Nov 03:30 CET    02:30 UTC       in 1d 23h" in text
        assert "Fri 27 Nov 03:30 CET    02:30 UTC" in text
        assert "lint  ok fires 5 times a week" in text
        assert "also accepts: @daily, every 15m, mon 9:00" in text
        assert twin.plans["nightly_report"].expression == "0 2 * * 1-5"


async def test_a_large_screen_shows_each_field_8_runs_the_clock_the_lint_and_the_change() -> None:
    async with editing(planned(), *HALF_PAST_3, size=(120, 40)) as desk:
        text = await desk.until("DST")
        shown = [line.partition("│")[2].strip() for line in text.splitlines()]
        at = next(at for at, line in enumerate(shown) if "> when  [30 3 * * 1-5" in line)
        assert shown[at + 1 : at + 6] == [
            "|  | | | +-- day of week  Mon-Fri",
            "|  | | +---- month        every",
            "|  | +------ day          every",
            "|  +-------- hour         3",
            "+----------- minute       30",
        ]
        assert "NEXT 8 RUNS in Europe/Berlin and here" in text
        assert text.count(" CET ") == 8
        assert "DST  Mon 29 Mar 2027 03:30 CEST  01:30 UTC       (clock moved)" in shown
        assert "ok fires 5 times a week" in shown
        assert "- 0 2 * * 1-5   Europe/Berlin    + 30 3 * * 1-5   Europe/Berlin" in shown
        assert "miss  (o) run once when late  ( ) skip  ( ) run all missed" in shown
        assert "lap   ( ) skip if still running  (o) allow" in shown


async def test_company_at_the_same_time_is_said_by_number_and_its_absence_too() -> None:
    async with editing(planned(), "7 4 * * 6", "At 04:07, Saturday") as desk:
        await desk.until("ok no other schedule starts at 03:07 UTC")
        await desk.press("ctrl+u")
        await typed(desk, "0 5 * * 6")
        await desk.until("i 3 other schedules start at 04:00 UTC")


async def test_the_operators_scenario_takes_six_keys_and_the_expression() -> None:
    twin = planned()
    async with editing(twin, *HALF_PAST_3) as desk:
        text = await agreed(desk, "ctrl+x", "Save nightly_report?", "changed nightly_report")
        assert "0 2 * * 1-5   Europe/Berlin → 30 3 * * 1-5   Europe/Berlin" in text
        row = twin.plans["nightly_report"]
        assert (row.expression, row.zone, row.revision) == ("30 3 * * 1-5", "Europe/Berlin", 4)
        assert row.payload == {"scope": "all"}


async def test_a_no_brings_the_form_back_and_nothing_is_saved() -> None:
    twin = planned()
    async with editing(twin, "0 5 * * *", "At 05:00") as desk:
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
    async with editing(twin, "mon 9:00", "At 09:00, Monday   (0 9 * * mon)") as desk:
        await agreed(desk, "ctrl+x", "Save nightly_report?", "changed nightly_report")
        assert twin.plans["nightly_report"].expression == "0 9 * * mon"


@pytest.mark.parametrize(
    ("text", "why"),
    [("0 25 * * *", "hour 25 of"), ("0 0 30 2 *", "never fires"), ("foo", "has 1 fields")],
)
async def test_what_does_not_parse_is_said_while_typing_and_cannot_be_saved(
    text: str, why: str
) -> None:
    twin = planned()
    async with editing(twin, text, why) as desk:
        await desk.press("ctrl+x")
        await desk.until(lambda screen: "SAVE" in screen and why in screen)
        await desk.press("y", "escape")
        await desk.until("EDIT nightly_report")
        assert twin.plans["nightly_report"].revision == 3


async def test_up_and_down_step_the_number_under_the_cursor_and_ctrl_t_offers_presets() -> None:
    async with editing(planned()) as desk:
        await desk.press("home", "up", "up")
        await desk.until("At 02:02")
        await desk.press("right", "down")
        await desk.until("At 02:01")
        await desk.press("ctrl+t")
        await desk.until("Every 15 minutes   (*/15 * * * *)")
        await desk.press("ctrl+t", "ctrl+t")
        await desk.until("At 03:00, every day")


async def test_a_zone_is_searched_while_typing() -> None:
    async with editing(planned()) as desk:
        await desk.press("tab")
        await typed(desk, "kath")
        await desk.until("^T takes: Asia/Kathmandu")
        await desk.until("did you mean Asia/Kathmandu")
        await desk.press("ctrl+t")
        await desk.until("02:00 +0545")
        await desk.until("was: 0 2 * * 1-5 Europe/Berlin")


async def test_somebody_who_saved_first_is_not_overwritten() -> None:
    twin = planned()
    async with editing(twin, *HALF_PAST_3) as desk:
        mine = twin.plans["nightly_report"]
        twin.plans["nightly_report"] = replace(
            mine, expression="0 7 * * *", revision=4, edited_by="bob@there"
        )
        await desk.press("ctrl+x")
        await desk.until("changed meanwhile by bob@there: now 0 7 * * *")
        await desk.press("escape")
        text = await desk.until("was: 0 7 * * *")
        assert "30 3 * * 1-5" in text
        change = "0 7 * * *   Europe/Berlin → 30 3 * * 1-5   Europe/Berlin"
        await agreed(desk, "ctrl+x", change, "changed nightly_report")
        assert twin.plans["nightly_report"].expression == "30 3 * * 1-5"


async def test_somebody_who_saves_between_question_and_answer_wins_and_the_edit_is_kept() -> None:
    twin = planned()
    async with editing(twin, *HALF_PAST_3) as desk:
        twin.rival = replace(twin.plans["nightly_report"], expression="0 7 * * *", revision=4)
        await agreed(desk, "ctrl+x", "Save nightly_report?", "not saved: changed meanwhile")
        assert desk.app.sheet is None
        assert twin.plans["nightly_report"].expression == "0 7 * * *"
        await desk.press("e")
        text = await desk.until("was: 0 7 * * *")
        assert "[30 3 * * 1-5" in text


async def test_a_new_schedule_is_added_and_bad_arguments_are_refused_by_field() -> None:
    twin = planned()
    async with listed(twin) as desk:
        await desk.press("n")
        await desk.until("NEW SCHEDULE")
        await desk.armed()
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
        await agreed(desk, "ctrl+x", "Add schedule hello?", "added hello")
        row = twin.plans["hello"]
        assert (row.expression, row.task, row.queue) == ("0 3 * * *", "greet", "default")
        assert row.payload == {"to": 1}


async def test_another_queue_is_a_move() -> None:
    twin = planned()
    async with editing(twin) as desk:
        await desk.press("tab", "tab", "tab")
        await typed(desk, "slow")
        await agreed(desk, "ctrl+x", "reports → slow", "moved nightly_report to slow")
        assert twin.plans["nightly_report"].queue == "slow"


async def test_a_server_that_is_read_only_says_so() -> None:
    twin = planned()
    twin.read_only = True
    async with listed(twin) as desk:
        await desk.press("e")
        await desk.until("edit refused: the server is read-only")


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
    async with editing(twin, "45 6 * * *", "At 06:45"):
        pass
    assert Slow.most == 1


async def test_a_yes_in_one_packet_with_the_save_is_dropped() -> None:
    twin = planned()
    async with editing(twin, *HALF_PAST_3) as desk:
        await desk.armed()
        desk.app.post_message(Key("ctrl+x", None))
        desk.burst("yyy")
        await desk.until("Save nightly_report?")
        await desk.until("dropped")
        assert twin.plans["nightly_report"].revision == 3
        await desk.say_yes()
        await desk.until("changed nightly_report")
