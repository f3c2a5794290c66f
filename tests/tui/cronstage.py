"""The view of schedules on a stage: opened, filtered, with its editor open, and forms submitted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.tui.stage import Desk, running
from tests.tui.twin import Twin

__all__ = ["agreed", "editing", "listed", "opened", "to_row", "typed"]

NAMES = {
    " ": "space", "*": "asterisk", "+": "plus", "-": "minus", ":": "colon", "=": "equals_sign",
    '"': "quotation_mark", ".": "full_stop", "{": "left_curly_bracket", "}": "right_curly_bracket",
}  # fmt: skip


async def opened(desk: Desk) -> str:
    """Open the view and wait for its rows."""
    await desk.press("5")
    return await desk.until("nightly_report")


async def typed(desk: Desk, text: str) -> None:
    """Type characters as a person does."""
    await desk.press(*(NAMES.get(character, character) for character in text))


async def to_row(desk: Desk, name: str) -> None:
    """Filter for a schedule, as the operator does."""
    await desk.press("slash")
    await typed(desk, name)
    await desk.press("enter")
    await desk.until(f"filter: {name}")


async def agreed(desk: Desk, key: str, asked: str, said: str) -> str:
    """Press a key, say yes to the question that it opens, and wait for what comes of it; return the
    screen with the question.
    """
    await desk.press(key)
    text = await desk.until(asked)
    await desk.say_yes()
    await desk.until(said)
    return text


@asynccontextmanager
async def listed(
    twin: Twin, name: str = "", *, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Desk]:
    """Run the console on a twin with the schedules open, filtered down to a name."""
    async with running(twin, size=size) as desk:
        await opened(desk)
        if name:
            await to_row(desk, name)
        yield desk


@asynccontextmanager
async def editing(
    twin: Twin, text: str = "", words: str = "", *, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Desk]:
    """Run the console on a twin with the editor of `nightly_report` open, an expression typed, and
    its words on the screen.
    """
    async with listed(twin, "rep", size=size) as desk:
        await desk.press("e")
        await desk.until("At 02:00, Monday to Friday")
        await typed(desk, text)
        await desk.until(words)
        yield desk
