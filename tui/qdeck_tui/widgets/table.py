"""The one table for every list: it knows a window of rows, draws the visible ones, and keeps the
cursor on its id.

It scrolls by itself instead of being a `ScrollView`, whose `virtual_size` lays the whole screen out
again each time that the number of rows changes; lists here change every second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Generic, TypeVar

from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message

from qdeck.admin import Window
from qdeck.admin.frozen import dataclass
from qdeck_tui.format import count, fit
from qdeck_tui.widgets.canvas import Line, Span, overlay_style
from qdeck_tui.widgets.pane import Pane

__all__ = ["Cell", "Column", "Table"]

T = TypeVar("T")
Cell = str | Span
HOLD = 2.0
# Rows that are asked for at most, and how often for the one under the cursor.
MOST = 600
SEEKS = 5


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column. `flex` takes what width is left, `keep` says how long it stays when there is too
    little.

    `sort` gives the value that whole lists are sorted by; a column without one cannot be sorted by.
    `falling` columns start with the largest. `drawn` ones are pictures, which plain leaves out.
    """

    title: str
    width: int
    cell: Callable[[T], Cell]
    right: bool = False
    flex: bool = False
    keep: int = 9
    sort: Callable[[T], float | str] | None = None
    falling: bool = True
    drawn: bool = False


class Table(Pane, Generic[T]):
    """Rows with a cursor and marks. Whole lists are sorted and filtered here; windows come as the
    server keeps them.
    """

    class Moved(Message):
        """The cursor stands on another row, or marks changed."""

    class Wanted(Message):
        """Rows are on screen that are not loaded."""

    class Opened(Message):
        """The row under the cursor is to be opened (a second click)."""

    def __init__(
        self,
        title: str,
        columns: Sequence[Column[T]],
        ident: Callable[[T], str],
        *,
        whole: bool = True,
        match: Callable[[T], str] | None = None,
        worst: Callable[[T], float] | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(title, id=id)
        self.columns = tuple(columns)
        self.ident = ident
        self.whole = whole
        self.match = match
        self.worst = worst
        self.rows: tuple[T, ...] = ()
        self.first = 0
        self.total = 0
        self.cursor = 0
        self.top = 0
        self.needle = ""
        self.order = 0
        self.reverse = False
        self.orders_words = ("oldest first", "newest first")
        self.marks: dict[str, T] = {}
        self.everything = False
        self.pivot: int | None = None
        self.loaded = False
        self._growth = 0
        self._sought = 0
        self._all: tuple[T, ...] = ()
        self._cells: dict[str, Line] = {}
        self._cells_for: tuple[object, ...] = ()
        self.preselect = False
        self._moved_at = -HOLD
        self._held_id: str | None = None

    # What it is told

    def show(self, rows: Iterable[T], *, offset: int = 0, total: int | None = None) -> None:
        """Take new rows: all of a whole list, or the window of `total` that starts at `offset`."""
        before, rows = self.current_id(), tuple(rows)
        if not self.whole:
            known = offset + len(rows) if total is None else max(total, 0)
            self._growth = max(0, known - self.total) if self.total else 0
            if self._seeks(rows, offset, before):
                return
        self.loaded = True
        self._cells.clear()
        if self.whole:
            self._all = rows
            self.reorder(hold=monotonic() - self._moved_at < HOLD)
        else:
            self.rows, self.first, self.total = rows, offset, known
        if self.preselect:
            # Nobody chose a row yet: the first one, which is the worst, is the one to look at.
            before, self.cursor, self.top = None, 0, 0
        self.stay(before)
        self.redraw()

    def _seeks(self, rows: tuple[T, ...], offset: int, before: str | None) -> bool:
        """Return whether the row under the cursor went so far down since that it may stand below
        these rows: then they are not shown, and those where it is are asked for, a few times.
        """
        reached = offset <= self.cursor and self.cursor + self._growth < offset + len(rows)
        here = before is None or self.preselect or any(self.ident(row) == before for row in rows)
        if here or reached or self._sought >= SEEKS:
            self._sought = 0
            return False
        self._sought += 1
        self.post_message(self.Wanted())
        return True

    def clear(self) -> None:
        """Forget all rows and marks, and begin at the top."""
        self.rows = self._all = ()
        self.first = self.total = self.cursor = self.top = 0
        self.loaded = False
        self._held_id = None
        self.marks.clear()
        self.everything = False
        self.pivot = None

    def reorder(self, hold: bool = False) -> None:
        """Filter and sort a whole list; with `hold` the rows keep their places."""
        rows = self._all
        if self.needle and self.match is not None:
            words = self.needle.lower().split()
            rows = tuple(r for r in rows if all(w in self.match(r).lower() for w in words))
        rows = tuple(self._sorted(rows))
        if hold:
            # Rows keep their places under a moving cursor; new ones go to the end.
            places = {self.ident(row): at for at, row in enumerate(self.rows)}
            rows = tuple(sorted(rows, key=lambda r: places.get(self.ident(r), len(places))))
        self.rows, self.first, self.total = rows, 0, len(rows)

    def _sorted(self, rows: tuple[T, ...]) -> Sequence[T]:
        orders = self.orders()
        if not orders:
            return rows[::-1] if self.reverse else rows
        _, key, falling = orders[self.order % len(orders)]
        if key is None:
            return rows[::-1] if self.reverse else rows
        return sorted(rows, key=key, reverse=falling != self.reverse)

    def orders(self) -> list[tuple[str, Callable[[T], float | str] | None, bool]]:
        """Return the orders of a whole list: its name, the value, and whether the largest comes
        first.
        """
        if not self.whole:
            return []
        first: list[tuple[str, Callable[[T], float | str] | None, bool]] = [
            ("worst", self.worst, True)
        ]
        return first + [(c.title.lower(), c.sort, c.falling) for c in self.columns if c.sort]

    @property
    def order_name(self) -> str:
        """The order in words, for the title."""
        orders = self.orders()
        if not orders:
            return self.orders_words[1 if self.reverse else 0]
        name = orders[self.order % len(orders)][0]
        return f"{name} reversed" if self.reverse else name

    def stay(self, before: str | None) -> None:
        """Put the cursor back on an id, with the rows around it where they were on screen."""
        wanted = before if before is not None else self._held_id
        if wanted is not None:
            for at, row in enumerate(self.rows):
                if self.ident(row) == wanted:
                    shift = self.first + at - self.cursor
                    self.cursor += shift
                    self.top = max(0, self.top + shift)
                    if self.pivot is not None:
                        self.pivot = max(0, self.pivot + shift)
                    self._held_id = None
                    break
            else:
                self._held_id = None if self.whole else wanted
        self.cursor = max(0, min(self.cursor, self.total - 1))
        self._follow()

    # What it knows

    def at(self, index: int) -> T | None:
        """Return the row at an absolute index, None when it is not loaded."""
        inside = index - self.first
        return self.rows[inside] if 0 <= inside < len(self.rows) else None

    @property
    def current(self) -> T | None:
        """The row under the cursor."""
        return self.at(self.cursor)

    def current_id(self) -> str | None:
        """Return the id of the row under the cursor."""
        row = self.current
        return None if row is None else self.ident(row)

    @property
    def room(self) -> int:
        """How many rows fit."""
        return max(1, self.size.height - (2 if self.titled else 1))

    def window(self) -> Window:
        """Return the window to ask the server for: what is visible and a screen on each side.

        Where rows arrive fast it reaches further down, so that the row under the cursor is in it.
        """
        room = max(self.room, 10)
        offset = max(0, self.top - room)
        if self._sought % 2 and self._growth > MOST // 2:
            # As far down as all that came would have brought it.
            offset += self._growth - MOST // 4
        return Window(offset, min(MOST, room * 3 + 2 * self._growth), self.reverse)

    def hidden_marks(self) -> int:
        """Return how many marks are on rows that are not in the list as filtered."""
        shown = {self.ident(row) for row in self.rows}
        return sum(1 for identifier in self.marks if identifier not in shown) if self.whole else 0

    # Drawing

    def body(self, width: int, height: int) -> Sequence[Line]:
        """Return the column titles and the visible rows."""
        fitting = self._fitting(width)
        layout = (width, self.columns)
        if layout != self._cells_for:
            self._cells_for = layout
            self._cells.clear()
        head: Line = tuple((f"{fit(c.title, w, c.right)} ", "dim") for c, w in fitting)
        lines: list[Line] = [(("  ", ""), *head)]
        if not self.total:
            told = self.loaded or self.trouble is not None
            return self.hint(width) if told else [(("  reading…", "dim"),)]
        for index in range(self.top, min(self.top + height - 1, self.total)):
            lines.append(self._row(index, fitting, width))
        return lines

    def _row(self, index: int, fitting: list[tuple[Column[T], int]], cells: int) -> Line:
        row = self.at(index)
        here = index == self.cursor
        if row is None:
            line: Line = (("> " if here else "  ", "bold" if here else ""), ("…", "dim"))
            return overlay_style(line, cells, "cursor") if here and self.active else line
        identifier = self.ident(row)
        marked = self.everything or identifier in self.marks
        spans = self._cells.get(identifier)
        if spans is None:
            spans = self._cells[identifier] = tuple(_span(row, c, size) for c, size in fitting)
        signs: Line = ((">" if here else " ", "bold"), ("*" if marked else " ", "mark"))
        line = (*signs, *spans)
        return overlay_style(line, cells, "cursor") if here and self.active else line

    def _fitting(self, cells: int) -> list[tuple[Column[T], int]]:
        chosen = [c for c in self.columns if not (c.drawn and self.look.plain)]
        while len(chosen) > 1 and sum(c.width + 1 for c in chosen) + 2 > cells:
            chosen.remove(min(chosen, key=lambda c: c.keep))
        spare = cells - 2 - sum(c.width + 1 for c in chosen)
        flexible = [c for c in chosen if c.flex]
        widths = []
        for column in chosen:
            extra = spare // len(flexible) if column.flex and spare > 0 else 0
            widths.append((column, column.width + extra))
        return widths

    @property
    def cursor_line(self) -> int:
        """The line of the widget that the cursor is drawn on."""
        return self.cursor - self.top + (2 if self.titled else 1)

    def span(self) -> str:
        """Return which rows of how many are visible."""
        if self.total <= self.room:
            return count(self.total)
        return f"{self.top + 1}-{min(self.top + self.room, self.total)} of {count(self.total)}"

    def mark_range(self, one: int, other: int) -> None:
        """Mark rows between two indexes, in a table that has marks."""

    # Moving

    def _follow(self) -> None:
        room = self.room
        if self.cursor < self.top:
            self.top = self.cursor
        elif self.cursor >= self.top + room:
            self.top = self.cursor - room + 1
        self.top = max(0, min(self.top, max(0, self.total - room)))

    def go(self, to: int) -> None:
        """Put the cursor on an absolute index."""
        to = max(0, min(to, self.total - 1))
        self.preselect = False
        self._moved_at = monotonic()
        self._held_id = None
        self.cursor = to
        self._follow()
        if self.pivot is not None:
            self.mark_range(self.pivot, to)
        self.redraw()
        if self.at(self.top) is None or self.at(min(self.top + self.room, self.total) - 1) is None:
            self.post_message(self.Wanted())
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        """Keep the cursor in sight; the base class draws."""
        self._follow()

    def do_down(self) -> None:
        """Go to the next row."""
        self.go(self.cursor + 1)

    def do_up(self) -> None:
        """Go to the row before."""
        self.go(self.cursor - 1)

    def do_top(self) -> None:
        """Go to the first row."""
        self.go(0)

    def do_bottom(self) -> None:
        """Go to the last row."""
        self.go(self.total - 1)

    def do_page_down(self) -> None:
        """Go a page down."""
        self.go(self.cursor + self.room)

    def do_page_up(self) -> None:
        """Go a page up."""
        self.go(self.cursor - self.room)

    def do_half_down(self) -> None:
        """Go half a page down."""
        self.go(self.cursor + self.room // 2)

    def do_half_up(self) -> None:
        """Go half a page up."""
        self.go(self.cursor - self.room // 2)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Go three rows down."""
        event.stop()
        self.go(self.cursor + 3)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Go three rows up."""
        event.stop()
        self.go(self.cursor - 3)

    def on_click(self, event: Click) -> None:
        """Select the row, and open it when it was selected already."""
        event.stop()
        index = self.top + event.y - (2 if self.titled else 1)
        if event.y >= 1 and self.top <= index < self.total:
            again = index == self.cursor and event.chain > 1
            self.go(index)
            if again:
                self.post_message(self.Opened())


def _span(row: T, column: Column[T], size: int) -> Span:
    cell = column.cell(row)
    text, style = (cell, "") if isinstance(cell, str) else cell
    return (fit(text, size, column.right) + " ", style)
