"""Frames come at once while few are asked for; a key draws what it changes, and reads when the
cursor rests.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.tui.stage import running
from tests.tui.stock import filled

from qdeck_tui.frames import BURST, Frames
from qdeck_tui.screens import base
from qdeck_tui.screens.base import View
from qdeck_tui.widgets.canvas import Canvas


async def turns(number: int) -> None:
    """Let the loop go round so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_what_is_asked_for_together_is_one_frame() -> None:
    painted: list[int] = []
    frames = Frames(lambda: painted.append(1))
    for _ in range(20):
        frames.resume()
    await turns(5)
    assert len(painted) == 1


async def test_a_few_frames_follow_each_other_at_once_and_then_they_wait() -> None:
    painted: list[int] = []
    frames = Frames(lambda: painted.append(1), rate=1e-6)
    for _ in range(50):
        frames.resume()
        await turns(3)
    assert len(painted) == BURST
    frames.pause()


async def test_a_frame_that_waits_comes_in_its_time() -> None:
    painted = asyncio.Semaphore(0)
    frames = Frames(painted.release, rate=200.0)
    async with asyncio.timeout(30):
        for _ in range(3 * BURST):
            frames.resume()
            await painted.acquire()


async def test_what_was_painted_otherwise_needs_no_frame() -> None:
    painted: list[int] = []
    frames = Frames(lambda: painted.append(1))
    frames.resume()
    frames.pause()
    await turns(5)
    assert painted == []


def drawn(view: View) -> dict[Canvas, int]:
    """Return how many lines each widget of a view has drawn so far."""
    return {each: each.painted for each in view.walk_children() if isinstance(each, Canvas)}


async def test_an_arrow_key_draws_two_rows_and_nothing_else() -> None:
    async with running(filled(), size=(120, 40), every=3600.0) as desk:
        await desk.press("2")
        await desk.until("emails")
        await desk.press("enter")
        await desk.until("send_invoice")
        await desk.press("tab", "tab")
        await desk.until("▸─ JOBS")
        await desk.press("j")
        view = desk.app.view_now()
        assert view is not None
        before = drawn(view)
        await desk.press("j")
        more = {widget: lines - before[widget] for widget, lines in drawn(view).items()}
        assert {widget: lines for widget, lines in more.items() if lines} == {view.pane: 2}


async def test_a_sample_is_read_where_the_cursor_comes_to_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "REST", 1.0)
    twin = filled()
    async with running(twin, size=(120, 40), every=3600.0) as desk:
        await desk.press("6")
        await desk.until("billing/mail.py:88")
        await desk.until("WHAT THEY SHARE of 84 looked at")
        before = twin.calls.count("errors")
        desk.burst("jjj")
        await desk.until(lambda text: twin.calls.count("errors") > before)
        await desk.until("WHAT THEY SHARE of 41 looked at")
        assert twin.calls.count("errors") == before + 1
