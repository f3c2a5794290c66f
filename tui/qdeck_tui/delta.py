"""Writes only what changed: keeps the cells that the terminal shows and sends the runs that differ,
or lets the terminal scroll where that is shorter.

Textual paints whole regions and never compares them with what is there. `DeltaMixin` overrides the
one method of an app that writes frames; it never looks at widgets. It reads private parts of
Textual 8 (`_display`, the compositor's updates, `Strip._segments`), which tests/tui/test_delta.py
holds against stock Textual cell by cell; `QDECK_DELTA=0` switches it off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import split_graphemes
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.strip import SGR_STYLES, Strip

from qdeck_tui.driver import ConsoleDriver

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.events import Resize
    from textual.screen import Screen

__all__ = ["DeltaMixin", "Frame"]

# A gap of unchanged cells this short costs less to write again than to step over.
BRIDGE = 4
# From this many bytes on it is looked for rows that only moved, at least so many, so far.
WORTH = 500
BLOCK = 4
STEPS = (1, -1, 2, -2, 3)
# Up to this many bytes the order of an update is free; larger ones are drawn from top to bottom.
SMALL = 4096

# Controls would be obeyed, and marks of direction reorder what stands beside them.
DROPPED = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F)])
DROPPED |= dict.fromkeys([*range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])


class Pen(NamedTuple):
    """How a cell is drawn, as SGR codes; equal pens look alike."""

    attributes: str = ""
    colour: str = ""
    background: str = ""
    link: str = ""

    def after(self, before: Pen | None) -> str:
        """Return the shortest sequence that turns one pen into this one; None is an unknown pen."""
        if before == self:
            return ""
        codes: list[str] = []
        if before is None or before.attributes != self.attributes:
            codes = ["0", self.attributes, self.colour, self.background]
        else:
            if before.colour != self.colour:
                codes.append(self.colour or "39")
            if before.background != self.background:
                codes.append(self.background or "49")
        sgr = ";".join(filter(None, codes))
        text = f"\x1b[{'' if sgr == '0' else sgr}m" if sgr else ""
        if self.link != (before.link if before else ""):
            text += f"\x1b]8;;{self.link}\x1b\\"
        return text


PLAIN = Pen()


@lru_cache(maxsize=8192)
def pen_of(style: Style, system: ColorSystem) -> Pen:
    """Return the pen of a Rich style in a terminal's colours."""
    bits = style._attributes & style._set_attributes
    attributes = ";".join(code for bit, code in enumerate(SGR_STYLES) if bits & (1 << bit))
    colour = background = ""
    if style.color is not None:
        colour = ";".join(style.color.downgrade(system).get_ansi_codes())
    if style.bgcolor is not None:
        background = ";".join(style.bgcolor.downgrade(system).get_ansi_codes(foreground=False))
    # The default colours are the absence of a code, so that one look has one pen.
    return Pen(
        attributes,
        "" if colour == "39" else colour,
        "" if background == "49" else background,
        style.link or "",
    )


# What a cell shows: the glyph (empty in the right half of a wide one) and its pen.
# None: what the terminal shows there is not known, so that it is written in any case.
Cell = tuple[str, Pen] | None


# Cells to draw: row, column, and the glyph and pen of each.
Run = tuple[int, int, list[tuple[str, Pen]]]


class Frame:
    """The cells that a terminal of `width` by `height` shows, and what to send to change them."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.rows: list[list[Cell]] = [[None] * width for _ in range(height)]

    def paint(self, pieces: Iterable[tuple[int, int, list[tuple[str, Pen]]]]) -> str:
        """Take cells in as (y, x, cells) and return what makes the terminal show them.

        The cursor and the pen are where they happen to be afterwards.
        """
        runs: list[Run] = []
        before: dict[int, list[Cell]] = {}
        for y, x, cells in pieces:
            if 0 <= y < self.height and x >= 0:
                row = self.rows[y]
                before.setdefault(y, row[:])
                for start, run in self._changed(row, x, cells[: self.width - x]):
                    runs.append((y, start, run))
        text = self._drawn(runs)
        if len(text) > WORTH:
            scrolled = self._scrolled(before)
            if scrolled is not None and len(scrolled) < len(text):
                return scrolled
        return text

    def _drawn(self, runs: list[Run]) -> str:
        """Return the shorter of two ways to draw runs."""
        text = self._written(runs)
        if len(text) <= SMALL:
            # Colours are long: a few scattered words cost less one colour after the other.
            text = min(text, self._written(_by_pen(runs)), key=len)
        return text

    def _scrolled(self, before: dict[int, list[Cell]]) -> str | None:
        """Return what scrolls a block of rows and draws what that leaves to draw; None where no
        block of the rows as they were before is there again, a few lines higher or lower.
        """
        block = next(filter(None, (self._block(before, by) for by in STEPS)), None)
        if block is None:
            return None
        first, last, by = block
        shown = dict(before)
        for y in range(first, last + 1):
            shown[y] = before[y + by]
        top, bottom = min(first, first + by), max(last, last + by)
        # What comes in has the colour that the terminal likes.
        for y in range(top, bottom + 1):
            if not first <= y <= last:
                shown[y] = [None] * self.width
        runs: list[Run] = []
        for y, row in shown.items():
            cells = [cell for cell in self.rows[y] if cell is not None]
            if len(cells) < self.width:
                return None
            runs += [(y, start, run) for start, run in self._changed(row[:], 0, cells)]
        edge, step = (bottom, "\x1bD") if by > 0 else (top, "\x1bM")
        move = f"\x1b[m\x1b[{top + 1};{bottom + 1}r\x1b[{edge + 1}H{step * abs(by)}\x1b[r"
        return move + self._drawn(runs)

    def _block(self, before: dict[int, list[Cell]], by: int) -> tuple[int, int, int] | None:
        """Return the longest block of rows (first, last, by) that show what was `by` rows below."""
        best: tuple[int, int, int] | None = None
        length = 0
        for y in range(self.height):
            moved = y in before and y + by in before and self.rows[y] == before[y + by]
            length = length + 1 if moved else 0
            if length >= BLOCK and (best is None or length > best[1] - best[0] + 1):
                best = (y - length + 1, y, by)
        return best

    def _written(self, runs: Iterable[Run]) -> str:
        """Return what draws runs in the order given."""
        out: list[str] = []
        here: tuple[int, int] | None = None
        pen: Pen | None = None
        for y, start, run in runs:
            out.append(_move(here, start, y))
            at = start
            for text, new in run:
                if new is not pen:
                    out.append(new.after(pen))
                    pen = new
                out.append(text)
                at += 1
            # A terminal may disagree about the width of what is joined from several code
            # points, and the cursor waits in the last column: after both its place is unknown.
            sure = at < self.width and all(len(text) < 2 for text, _ in run)
            here = (at, y) if sure else None
        if pen is not None and pen != PLAIN:
            out.append(PLAIN.after(pen))
        return "".join(out)

    @staticmethod
    def _changed(
        row: list[Cell], x: int, cells: list[tuple[str, Pen]]
    ) -> Iterator[tuple[int, list[tuple[str, Pen]]]]:
        """Yield the runs of cells that differ from a row as (column, cells), and take them over."""
        end = x + len(cells)
        if row[x:end] == cells:
            return
        differs = [old != new for old, new in zip(row[x:end], cells, strict=False)]
        # What a terminal makes of a wide glyph of which one half is written over is its own affair.
        if x and _is_right_half(row[x]):
            row[x - 1] = None
        if end < len(row) and _is_right_half(row[end]):
            row[end] = None
        row[x:end] = cells
        at = 0
        total = len(differs)
        while True:
            try:
                start = differs.index(True, at)
            except ValueError:
                return
            stop = start + 1
            while stop < total:
                if differs[stop]:
                    stop += 1
                    continue
                try:
                    following = differs.index(True, stop)
                except ValueError:
                    break
                if following - stop > BRIDGE or any(
                    cells[gap][1] is not cells[stop - 1][1] for gap in range(stop, following)
                ):
                    break
                stop = following
            while start > 0 and cells[start][0] == "":
                start -= 1
            while stop < total and cells[stop][0] == "":
                stop += 1
            yield x + start, cells[start:stop]
            at = stop


def _by_pen(runs: Iterable[Run]) -> list[Run]:
    """Return runs divided where the pen changes and put together pen by pen."""
    groups: dict[Pen, list[Run]] = {}
    for y, start, run in runs:
        first = 0
        for at in range(1, len(run) + 1):
            if at == len(run) or run[at][1] is not run[first][1]:
                part = (y, start + first, run[first:at])
                groups.setdefault(run[first][1], []).append(part)
                first = at
    return [run for group in groups.values() for run in group]


def _is_right_half(cell: Cell) -> bool:
    return cell is not None and not cell[0]


def _move(here: tuple[int, int] | None, x: int, y: int) -> str:
    """Return the shortest sequence that puts the cursor on a cell."""
    if here == (x, y):
        return ""
    if here is not None and here[1] == y and here[0] < x:
        return f"\x1b[{x - here[0]}C"
    return f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"


@lru_cache(maxsize=4096)
def _glyphs(text: str) -> tuple[str, ...]:
    """Return one entry a cell: the glyph, and an empty one for the right half of a wide glyph."""
    text = text.translate(DROPPED)
    cells: list[str] = []
    for start, end, width in split_graphemes(text)[0]:
        if width:
            cells.append(text[start:end])
            cells.extend([""] * (width - 1))
        elif cells:
            place = len(cells) - 1
            while place and not cells[place]:
                place -= 1
            cells[place] += text[start:end]
    return tuple(cells)


def cells_of(segments: Iterable[Segment], system: ColorSystem) -> list[tuple[str, Pen]]:
    """Return the cells that segments of one line fill."""
    cells: list[tuple[str, Pen]] = []
    for text, style, control in segments:
        if control:
            continue
        pen = PLAIN if style is None else pen_of(style, system)
        if text.isascii() and text.isprintable():
            cells += [(char, pen) for char in text]
        else:
            cells += [(glyph, pen) for glyph in _glyphs(text)]
    return cells


def pieces_of(
    update: LayoutUpdate | ChopsUpdate, system: ColorSystem
) -> Iterator[tuple[int, int, list[tuple[str, Pen]]]]:
    """Yield what an update of the compositor paints, as (y, x, cells), as its own methods would."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            segments = [segment for strip in line for segment in strip._segments]
            yield y, update.region.x, cells_of(segments, system)
        return
    for y, left, right in update.spans:
        ends = update.chop_ends[y]
        for end, (x, strip) in zip(ends, update.chops[y].items(), strict=False):
            if strip is None or x > right or end <= left:
                continue
            whole = x >= left and end <= right
            part: Strip = strip if whole else strip.crop(0, min(end, right) - x)
            yield y, x, cells_of(part._segments, system)


class DeltaMixin(App[None]):
    """An app that writes only the cells that differ from what its terminal shows."""

    _frame: Frame | None = None
    _cursor_at: tuple[int, int] | None = None
    _sizes_told = 0
    delta = os.environ.get("QDECK_DELTA", "1") != "0"

    def forget_frame(self) -> None:
        """Forget what the terminal shows, so that everything painted from now on is written."""
        self._frame = None
        self._cursor_at = None

    async def _on_resize(self, event: Resize) -> None:
        """Forget the frame: a terminal may rewrap or clear on a change of its size, even back."""
        again = event.size == self._size
        # Its first two events only tell the size that everything was drawn for.
        if self._sizes_told >= 2 or not again:
            self.forget_frame()
            if self._sizes_told >= 2 and event.size in (self._size, self.screen._compositor.size):
                # Textual takes no notice of the same size again, nor of another one in between.
                self.screen.refresh()
        self._sizes_told += 1

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Write the cells of an update that changed; leave anything else to Textual."""
        driver = self._driver
        if (
            not self.delta
            or self._batch_count
            or driver is None
            or driver.is_inline
            or self.is_headless
            or self._closed
            or not self._running
            or not isinstance(renderable, LayoutUpdate | ChopsUpdate)
        ):
            if renderable is not None and not self._batch_count:
                self.forget_frame()
            super()._display(screen, renderable)
            return
        if isinstance(driver, ConsoleDriver) and driver.leave_out():
            self.forget_frame()
            return
        try:
            text = self._difference(renderable)
        except Exception as error:
            # A frame half taken in is worth nothing; Textual paints this update whole.
            self.forget_frame()
            self.log.error(f"delta writer: {error!r}")
            super()._display(screen, renderable)
            return
        if text:
            self._begin_update()
            driver.write(text)
            self._end_update()
            driver.flush()
        self.post_display_hook()

    def _difference(self, update: LayoutUpdate | ChopsUpdate) -> str:
        """Return what to send for an update, with the cursor left where Textual wants it."""
        width, height = self.size
        frame = self._frame
        if frame is None or (frame.width, frame.height) != (width, height):
            frame = self._frame = Frame(width, height)
            self._cursor_at = None
        system = self.console._color_system or ColorSystem.TRUECOLOR
        text = frame.paint(pieces_of(update, system))
        cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
        self._previous_cursor_position = cursor
        if text or self._cursor_at != cursor:
            self._cursor_at = (cursor.x, cursor.y)
            text += f"\x1b[{cursor.y + 1};{cursor.x + 1}H"
        return text
