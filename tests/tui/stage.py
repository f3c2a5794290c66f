"""Runs the console without a terminal for a test, and reads its screen as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.tui.twin import Twin
from textual.events import Key, Paste
from textual.pilot import Pilot

from qdeck.admin import Admin
from qdeck_tui.app import QdeckApp
from qdeck_tui.local import Supervisor
from qdeck_tui.options import Options
from qdeck_tui.widgets.form import Form

__all__ = ["Desk", "running"]

PATIENCE = 30.0


class Desk:
    """A console that runs on a twin. `keys` waits for nothing; `until` waits for text on the
    screen.
    """

    def __init__(self, app: QdeckApp, pilot: Pilot[Any], twin: Twin) -> None:
        self.app = app
        self.pilot = pilot
        self.twin = twin

    def lines(self) -> list[str]:
        """Return the screen as it would be drawn, line by line."""
        width, height = self.app.size
        rows = [[" "] * width for _ in range(height)]
        strips = self.app.screen._compositor.render_strips()
        for y, strip in enumerate(strips[:height]):
            text = strip.text
            rows[y][: len(text)] = text
        return ["".join(row).rstrip() for row in rows]

    def text(self) -> str:
        """Return the whole screen."""
        return "\n".join(self.lines())

    async def until(self, wanted: str | Callable[[str], bool]) -> str:
        """Wait until a text is on the screen, or a condition on it holds; return the screen."""
        fits = wanted if callable(wanted) else lambda text: wanted in text
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            text = self.text()
            if fits(text):
                return text
            await asyncio.sleep(0.02)
        raise AssertionError(f"never saw {wanted!r} in\n{self.text()}")

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, as a person does who looks at the screen between them."""
        for key in keys:
            if key == "ctrl+x" and isinstance(self.app.sheet, Form):
                await self.armed()
            await self.pilot.press(key)

    def burst(self, text: str) -> None:
        """Send characters in one packet, as type-ahead over a slow line arrives."""
        for character in text:
            key = {"\r": "enter", "\x1b": "escape", " ": "space"}.get(character, character)
            printable = character if character.isprintable() else None
            self.app.post_message(Key(key, printable))

    def paste(self, text: str) -> None:
        """Send a bracketed paste."""
        self.app.post_message(Paste(text))

    async def armed(self) -> None:
        """Wait until the dialog on screen takes an answer."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not getattr(self.app.sheet, "armed", False):
            assert asyncio.get_running_loop().time() < deadline, self.text()
            await asyncio.sleep(0.02)

    async def say_yes(self) -> None:
        """Answer the dialog on screen with yes, once it takes an answer."""
        await self.armed()
        await self.press("y")


@asynccontextmanager
async def running(
    twin: Twin,
    *,
    size: tuple[int, int] = (80, 24),
    supervisor: Supervisor | None = None,
    **options: Any,
) -> AsyncIterator[Desk]:
    """Run the console on a twin until its first screen with data."""

    async def door() -> Admin:
        return twin

    chosen = Options(**{"every": 0.1, **options})
    app = QdeckApp(door, supervisor=supervisor, options=chosen)
    async with app.run_test(size=size) as pilot:
        desk = Desk(app, pilot, twin)
        await desk.until("live")
        yield desk
