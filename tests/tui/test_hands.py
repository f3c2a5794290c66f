"""What happens under the operator's hands: keys come too early, and rows all the time."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from tests.tui.plans import planned
from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck_tui.actions import ROWS
from qdeck_tui.widgets.listing import Listing

VIEWS = [row.key for row in ROWS if row.group == "views"]
ACTS = sorted({row.key for row in ROWS if row.group == "acts" and row.key} | {"u"})


def held(twin: Twin) -> tuple[object, ...]:
    """Return everything that a write would change."""
    return (dict(twin.records), dict(twin.crew), dict(twin.plans), dict(twin.started))


async def closed(desk: Desk) -> None:
    """Close whatever is open, as often as it takes."""
    for _ in range(8):
        if desk.app.sheet is None and desk.app.typing is None and not desk.app.depth:
            return
        await desk.press("escape")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("view", VIEWS)
async def test_no_key_of_a_packet_answers_the_dialog_that_its_first_key_opens(view: str) -> None:
    twin = planned()
    async with running(twin, size=(100, 30)) as desk:
        twin.pause_s = 0.02
        await desk.press(view)
        await desk.until(lambda text: "reading…" not in text)
        before = held(twin)
        for key in ACTS:
            desk.burst(f"{key}yyy\r84\ry")
            await asyncio.sleep(0.12)
            assert held(twin) == before, key
            await closed(desk)
            await desk.press(view)


@pytest.mark.parametrize("view", VIEWS)
async def test_the_key_of_a_dialog_held_down_opens_one_and_answers_nothing(view: str) -> None:
    twin = planned()
    async with running(twin, size=(100, 30)) as desk:
        await desk.press(view)
        await desk.until(lambda text: "reading…" not in text)
        before = held(twin)
        for key in ACTS:
            for _ in range(6):
                desk.burst(key)
                await asyncio.sleep(0.01)
            assert held(twin) == before, key
            await closed(desk)
            await desk.press(view)


@pytest.mark.parametrize("text", ["rm -rf y\rDy\r", "Dy1234\ryyQpPxXy\r", ":pause all\ry"])
async def test_a_paste_that_arrives_as_keys_changes_nothing(text: str) -> None:
    twin = planned()
    async with running(twin, size=(100, 30)) as desk:
        for view in VIEWS:
            await desk.press(view)
            await desk.until(lambda text: "reading…" not in text)
            before = held(twin)
            desk.burst(text)
            await asyncio.sleep(0.2)
            assert held(twin) == before
            await closed(desk)


async def arriving(twin: Twin, queue: str, seconds: float) -> None:
    """Let 200 pending jobs a second arrive before all others."""
    number = itertools.count()
    model = twin.of("pending", queue)[0]
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        new = {}
        for _ in range(20):
            identifier = f"01NEW{next(number):09d}"
            new[identifier] = replace(model, ref=replace(model.ref, id=identifier))
        twin.records = new | twin.records
        await asyncio.sleep(0.1)


async def test_cursor_marks_and_scroll_stay_on_their_rows_while_200_a_second_arrive() -> None:
    twin = filled(pending=60)
    async with running(twin, size=(80, 24)) as desk:
        await desk.press("2", "enter")
        await desk.until("JOBS PENDING")
        await desk.press("tab", "tab", *(["j"] * 5), "space", "j", "space", "j")
        view = desk.app.view_now()
        assert view is not None
        table = view.pane
        assert isinstance(table, Listing)
        cursor, marks = table.current_id(), set(table.marks)
        line = table.cursor_line
        flood = asyncio.create_task(arriving(twin, "emails", 2.0))
        while not flood.done():
            await asyncio.sleep(0.05)
            assert table.current_id() == cursor
            assert table.cursor_line == line
            assert set(table.marks) == marks
        await flood
        await desk.press("x")
        await desk.until("Cancel 2 marked jobs")
        await desk.armed()
        await desk.press("y")
        await desk.until(lambda _: len(twin.of("cancelled")) == 2)
        assert {job.ref.id for job in twin.of("cancelled")} == marks


async def test_a_dialog_acts_on_the_row_it_named_though_others_came_before_it() -> None:
    twin = filled(pending=30)
    async with running(twin, size=(80, 24)) as desk:
        await desk.press("2", "enter")
        await desk.until("JOBS PENDING")
        await desk.press("tab", "tab", "j", "j")
        view = desk.app.view_now()
        assert view is not None
        table = view.pane
        assert isinstance(table, Listing)
        named = table.current_id()
        assert named is not None
        await desk.press("x")
        await desk.until(f"Cancel job {named[-8:]}")
        await arriving(twin, "emails", 0.8)
        await desk.armed()
        await desk.press("y")
        await desk.until(lambda _: bool(twin.of("cancelled")))
        assert [job.ref.id for job in twin.of("cancelled")] == [named]
