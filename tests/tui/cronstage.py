"""The view of schedules on a stage: opened, filtered, and with its editor open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.tui.stage import Desk, running
from tests.tui.twin import Twin

__all__ = ["editing", "opened", "to_row", "typed"]


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


@asynccontextmanager
async def editing(twin: Twin) -> AsyncIterator[Desk]:
    """Run the console on a twin with the editor of `nightly_report` open."""
    async with running(twin) as desk:
        await opened(desk)
        await to_row(desk, "rep")
        await desk.press("e")
        await desk.until("At 02:00")
        yield desk
