"""Where the editor of schedules lies: beside the list, below its first rows, or over all of it."""

from __future__ import annotations

import pytest
from tests.tui.cronstage import editing, listed, typed
from tests.tui.plans import planned

HALF_PAST_3 = ("30 3 * * 1-5", "At 03:30, Monday to Friday")


async def test_beside_the_editor_stand_the_list_the_next_24_hours_and_the_history() -> None:
    async with listed(planned(), size=(120, 40)) as desk:
        await desk.press("down", "down", "down", "e")
        text = await desk.until(lambda text: "At 02:00" in text and "p50 4.5s" in text)
        lines = text.splitlines()
        assert lines[1].startswith(" Cron > nightly_report > edit")
        assert "SCHEDULES 6 (1 off, 1 late)" in lines[2]
        assert "EDIT nightly_report" in lines[2]
        assert len({line.index("│") for line in lines[2:-2]}) == 1
        left = [line.partition("│")[0] for line in lines]
        assert left[3].split() == ["NAME", "EXPRESSION", "NEXT", "LAST"]
        row = next(line for line in left if line.startswith("> nightly_report"))
        assert row.split()[2:] == ["0", "2", "*", "*", "1-5", "in", "19h", "FAIL"]
        assert any("NEXT 24 H, all schedules" in line for line in left)
        assert any("HISTORY nightly_report" in line for line in left)
        assert any("9 kept, 1 failed" in line for line in left)


async def test_below_the_head_and_four_rows_of_the_list_lies_the_editor_on_a_small_screen() -> None:
    async with listed(planned()) as desk:
        await desk.press("down", "down", "down", "e")
        text = await desk.until("At 02:00")
        lines = text.splitlines()
        assert "SCHEDULES 6 (1 off, 1 late)" in lines[2]
        head = ["NAME", "EXPRESSION", "ZONE", "NEXT", "LAST", "8", "RUNS"]
        assert lines[3].split() == head
        assert lines[7].startswith("> nightly_report   0 2 * * 1-5     Europe/Berlin in 19h")
        assert lines[7].rstrip().endswith("FAIL     .......x")
        assert "EDIT nightly_report" in lines[8]
        assert "EDIT" not in "".join(lines[:8])


async def test_a_click_into_the_list_leaves_the_row_that_is_edited() -> None:
    async with listed(planned(), size=(120, 40)) as desk:
        await desk.press("down", "down", "down", "e")
        await desk.until("EDIT nightly_report")
        await desk.pilot.click(offset=(5, 4), times=2)
        await typed(desk, "0 5 * * *")
        assert "> nightly_report" in await desk.until("At 05:00")
        await desk.press("escape", "escape")
        await desk.until(lambda text: "EDIT" not in text)
        await desk.pilot.click(offset=(5, 4))
        await desk.until("> backup_db")


async def test_the_row_that_is_edited_comes_into_sight_above_the_editor() -> None:
    async with listed(planned()) as desk:
        await desk.press("G", "e")
        text = await desk.until("EDIT old_sync")
        assert "> old_sync" in "\n".join(text.splitlines()[3:8])


async def test_the_question_lies_where_the_editor_was_and_the_view_is_whole_again() -> None:
    async with editing(planned(), *HALF_PAST_3, size=(120, 40)) as desk:
        await desk.armed()
        await desk.press("ctrl+x")
        text = await desk.until("Save nightly_report?")
        assert "HISTORY nightly_report" in text
        assert "> nightly_report" in text
        await desk.say_yes()
        text = await desk.until(lambda text: "changed nightly_report" in text and "│" not in text)
        lines = text.splitlines()
        assert "5 Cron" in lines[1]
        assert "SCHEDULES 6" in lines[2]
        assert "HISTORY nightly_report" in lines[2]


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (70, 20), (60, 16)])
async def test_a_resize_keeps_what_is_typed_and_the_field(size: tuple[int, int]) -> None:
    twin = planned()
    async with editing(twin, *HALF_PAST_3, size=(100, 30)) as desk:
        text = await desk.until("+ 30 3 * * 1-5   Europe/Berlin")
        assert text.count(" CET ") == 8
        await desk.press("tab", "tab")
        await typed(desk, "report.week")
        await desk.pilot.resize_terminal(*size)
        await desk.until(lambda text: max(map(len, text.splitlines())) <= size[0])
        text = await desk.until(lambda text: ">" in text and "[report.week" in text)
        assert "[30 3 * * 1-5" in text
        await typed(desk, "ly")
        await desk.until("[report.weekly")
        if size < (80, 24):
            assert "SCHEDULES" not in text


async def test_an_edit_that_a_too_small_screen_closed_opens_again_as_it_was() -> None:
    async with editing(planned(), *HALF_PAST_3) as desk:
        await desk.pilot.resize_terminal(50, 12)
        await desk.until("too small")
        await desk.pilot.resize_terminal(120, 40)
        text = await desk.until(lambda text: "SCHEDULES" in text and "HISTORY" in text)
        assert "EDIT" not in text
        assert "edit" not in text.splitlines()[1]
        await desk.press("t")
        text = await desk.until("Run nightly_report now, once?")
        assert "┌─ RUN NOW" in text
        await desk.press("escape", "e")
        await desk.until("[30 3 * * 1-5")


async def test_an_editor_in_plain_has_no_lines_around_it() -> None:
    async with listed(planned(), size=(120, 40)) as desk:
        desk.app.plain = True
        await desk.press("down", "down", "down", "e")
        text = await desk.until("At 02:00")
        assert "│" not in text
        assert "> EDIT nightly_report" in text
