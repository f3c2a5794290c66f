"""The sheet that lies over a view: a dialog, a form, a menu or the help. One at a time, and it
takes every key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from qdeck_tui.format import cut, width
from qdeck_tui.widgets.canvas import Canvas, Line, clip, line_width
from qdeck_tui.widgets.dialog import Dialog

__all__ = ["Overlay", "Sheet"]


class Sheet(Protocol):
    """What an overlay shows, and who gets the keys meanwhile. A bare one has no border."""

    title: str
    bare: bool

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the content for a width."""
        ...

    def press(self, key: str, character: str | None) -> None:
        """Take a key; whatever it is, nobody else gets it."""
        ...

    def paste(self, text: str) -> None:
        """Take pasted text."""
        ...

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        ...


class Overlay(Canvas):
    """Draws a sheet in a box in the middle of the screen, or over all of it when that is small."""

    DEFAULT_CSS = "Overlay { layer: over; display: none; position: absolute; }"

    def __init__(self) -> None:
        super().__init__(id="overlay")
        self.sheet: Sheet | None = None
        self.skip = 0
        self._box = (0, 0, 0, 0)
        self._rest: asyncio.TimerHandle | None = None

    def open(self, sheet: Sheet) -> None:
        """Show a sheet."""
        self.sheet = sheet
        self.skip = 0
        self.place()
        self.display = True
        self.redraw()

    def close(self) -> None:
        """Show nothing."""
        self.sheet = None
        self.display = False

    def place(self) -> None:
        """Take the room that the content needs, at most the screen less header and footer."""
        if self.sheet is None:
            return
        cells, rows = self.app.size
        if self.sheet.bare:
            self._put((0, 1, cells, rows - 3))
            return
        small = cells < 70 or rows < 20
        wide = cells if small else min(cells - 4, 76)
        need = len(self.sheet.lines(wide - 4)) + 2
        high = rows - 2 if small else min(rows - 3, need)
        x, y = (cells - wide) // 2, 1 if small else max(1, (rows - high) // 2)
        self._put((x, y, wide, high))

    def _put(self, box: tuple[int, int, int, int]) -> None:
        if box != self._box:
            self._box = box
            self.styles.width, self.styles.height = box[2], box[3]
            self.styles.offset = (box[0], box[1])

    def update(self) -> None:
        """Draw the sheet again, since its content changed."""
        self.place()
        self.redraw()
        if self._rest is None and isinstance(self.sheet, Dialog) and self.sheet.settling:
            # What a dialog asks for is drawn another way once it takes it. A timer of Textual is
            # never called when the process rests longer than it is to wait.
            wait = max(0.05, self.sheet.wait + 0.01)
            self._rest = asyncio.get_running_loop().call_later(wait, self._rested)

    def _rested(self) -> None:
        self._rest = None
        if not self.is_attached:
            return
        if isinstance(self.sheet, Dialog) and self.sheet.ready:
            self.call_after_refresh(self.sheet.painted)
        self.update()

    def draw(self, cells: int, height: int) -> Sequence[Line]:
        """Return the box with the content in it."""
        if self.sheet is None:
            return []
        plain = self.look.plain
        if self.sheet.bare:
            return list(self.sheet.lines(cells))[max(0, self.skip) :]
        room = height - 2
        content = list(self.sheet.lines(cells - 4))
        if isinstance(self.sheet, Dialog):
            content = list(self.sheet.fitted(content, room))
        self.skip = max(0, min(self.skip, len(content) - room))
        shown = content[self.skip : self.skip + room]
        more = "  more below" if self.skip + room < len(content) else ""
        title = cut(self.sheet.title, cells - 6)
        side = "" if plain else "│"
        lead = "" if plain else "┌─ "
        top = "" if plain else "─" * max(0, cells - width(lead) - width(title) - 2) + "┐"
        lines: list[Line] = [((lead, "rule"), (title, "title"), (" ", ""), (top, "rule"))]
        for whole in [*shown, *([()] * (room - len(shown)))]:
            line = clip(whole, cells - 4)
            fill = cells - 4 - line_width(line)
            lines.append(((side or " ", "rule"), (" ", ""), *line, (" " * fill, ""), (" ", ""),
                          (side or " ", "rule")))  # fmt: skip
        bottom = "" if plain else "└" + "─" * max(0, cells - 2 - width(more)) + more + "┘"
        lines.append(((bottom or more, "rule"),))
        return lines
