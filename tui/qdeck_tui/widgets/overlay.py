"""The sheet that lies over a view: a dialog, a form, a menu or the help. One at a time, and it
takes every key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from qdeck_tui.format import cut, width
from qdeck_tui.widgets.canvas import Canvas, Line, clip, line_width
from qdeck_tui.widgets.dialog import Dialog
from qdeck_tui.widgets.guarded import Guarded
from qdeck_tui.widgets.pane import rule

__all__ = ["Box", "Overlay", "Sheet"]

#: Column, row, cells and rows of a place on the screen.
Box = tuple[int, int, int, int]


class Sheet(Protocol):
    """What an overlay shows, and who gets the keys meanwhile. A bare one has no border, a low one
    lies at the bottom and leaves in sight what is above it.
    """

    title: str
    bare: bool
    low: bool

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
    """Draws a sheet in a box in the middle of the screen, or over all of it when that is small.

    A view that makes room for sheets says where: `dock` returns the place for a size of the screen.
    """

    DEFAULT_CSS = "Overlay { layer: over; display: none; position: absolute; }"

    def __init__(self) -> None:
        super().__init__(id="overlay")
        self.sheet: Sheet | None = None
        self.skip = 0
        self.dock: Callable[[int, int], Box] | None = None
        self._box: Box = (0, 0, 0, 0)
        self._rest: asyncio.TimerHandle | None = None

    def open(self, sheet: Sheet) -> None:
        """Show a sheet."""
        self.sheet = sheet
        self.skip = 0
        self.place()
        self.display = True
        self.redraw()
        if isinstance(sheet, Guarded):
            sheet.begin()
            self.call_after_refresh(sheet.painted)

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
        if self.dock is not None:
            self._put(self.dock(cells, rows))
            return
        small = cells < 70 or rows < 20
        wide = cells if small else min(cells - 4, 120 if self.sheet.low else 76)
        need = len(self.sheet.lines(wide - 4)) + 2
        high = rows - 2 if small else min(rows - 3, need)
        free = rows - high
        x, y = (cells - wide) // 2, 1
        if not small:
            y = max(1, free - 2 if self.sheet.low else free // 2)
        self._put((x, y, wide, high))

    def _put(self, box: Box) -> None:
        if box != self._box:
            self._box = box
            self.styles.width, self.styles.height = box[2], box[3]
            self.styles.offset = (box[0], box[1])

    def update(self) -> None:
        """Draw the sheet again, since its content changed."""
        self.place()
        self.redraw()
        if self._rest is None and isinstance(self.sheet, Guarded) and self.sheet.settling:
            # A decision is drawn another way once it is taken. A timer of Textual is never called
            # when the process rests longer than it is to wait.
            wait = max(0.05, self.sheet.wait + 0.01)
            self._rest = asyncio.get_running_loop().call_later(wait, self._rested)

    def _rested(self) -> None:
        self._rest = None
        if not self.is_attached:
            return
        if isinstance(self.sheet, Guarded):
            if self.sheet.ready:
                self.call_after_refresh(self.sheet.painted)
            self.sheet.rested()

    def draw(self, cells: int, height: int) -> Sequence[Line]:
        """Return the box with the content in it."""
        if self.sheet is None:
            return []
        plain = self.look.plain
        if self.sheet.bare:
            return list(self.sheet.lines(cells))[max(0, self.skip) :]
        if self.dock is not None:
            return self._docked(self.sheet, cells, height)
        shown, more = self._visible(self.sheet, cells - 4, height - 2)
        room = height - 2
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

    def _visible(self, sheet: Sheet, cells: int, room: int) -> tuple[list[Line], str]:
        """Return the lines of a sheet that fit, and what says that there are more."""
        content = list(sheet.lines(cells))
        if isinstance(sheet, Dialog):
            content = list(sheet.fitted(content, room))
        self.skip = max(0, min(self.skip, len(content) - room))
        shown = content[self.skip : self.skip + room]
        return shown, "  more below" if self.skip + room < len(content) else ""

    def _docked(self, sheet: Sheet, cells: int, height: int) -> list[Line]:
        """Return a pane with the content in it, behind a bar where it stands beside another."""
        plain = self.look.plain
        bar = "│" if self._box[0] and not plain else ""
        shown, more = self._visible(sheet, cells - 2, height - 1)
        title = rule(sheet.title, more.strip(), cells - len(bar), active=True, plain=plain,
                     style="title")  # fmt: skip
        lead: Line = ((bar, "rule"), (" " * (2 - len(bar) if self._box[0] else 1), ""))
        return [((bar, "rule"), *title), *((*lead, *line) for line in shown),
                *([((bar, "rule"),)] * (height - 1 - len(shown)))]  # fmt: skip
