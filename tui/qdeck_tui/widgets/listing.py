"""A table that can be marked, filtered and sorted: what an operator points at before a verb is
used.
"""

from __future__ import annotations

from typing import TypeVar

from qdeck_tui.format import plural
from qdeck_tui.widgets.table import Table

__all__ = ["Listing"]

T = TypeVar("T")


class Listing(Table[T]):
    """A table with marks and orders. A verb acts on the marks if there are any, else on the row
    under the cursor.
    """

    def _tell(self) -> None:
        self.redraw()
        self.post_message(self.Moved())

    # Marks

    @property
    def marked(self) -> bool:
        """Whether anything is marked."""
        return self.everything or bool(self.marks)

    def marked_words(self) -> str:
        """Return the number of marks in words, empty without any."""
        if self.everything:
            return f"all {plural(self.total, 'row')} marked"
        if not self.marks:
            return ""
        hidden = self.hidden_marks()
        return f"{len(self.marks):,} marked" + (f", {hidden} not shown" if hidden else "")

    def unmark(self) -> None:
        """Take all marks away."""
        self.marks.clear()
        self.everything = False
        self.pivot = None

    def mark(self, row: T) -> None:
        """Mark a row, wherever the cursor is."""
        self.marks[self.ident(row)] = row
        self._tell()

    def do_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go down."""
        row = self.current
        if row is None:
            return
        if self.everything:
            self.unmark()
        elif self.marks.pop(self.ident(row), None) is None:
            self.marks[self.ident(row)] = row
        self.go(self.cursor + 1)

    def do_range(self) -> None:
        """Begin a range of marks at the cursor, or end it."""
        if self.pivot is None:
            self.pivot = self.cursor
            self.mark_range(self.cursor, self.cursor)
        else:
            self.pivot = None
        self._tell()

    def mark_range(self, one: int, other: int) -> None:
        """Mark the loaded rows between two indexes."""
        for index in range(min(one, other), max(one, other) + 1):
            row = self.at(index)
            if row is not None:
                self.marks[self.ident(row)] = row

    def do_mark_all(self) -> None:
        """Mark all rows that match; a window marks its whole list, loaded or not."""
        if self.everything or (self.whole and len(self.marks) == self.total > 0):
            self.unmark()
        elif self.whole:
            self.marks = {self.ident(row): row for row in self.rows}
        elif self.total:
            self.unmark()
            self.everything = True
        self._tell()

    # Filter and order

    def set_filter(self, needle: str) -> None:
        """Show only rows that hold each word; for a window this is the query that the server
        answers.
        """
        if needle == self.needle:
            return
        self.needle = needle
        if self.whole:
            before = self.current_id()
            self.reorder()
            if before is None or all(self.ident(row) != before for row in self.rows):
                self.cursor = self.top = 0
            self.stay(before)
        else:
            self.rows, self.first, self.total, self.loaded = (), 0, 0, False
            self.cursor = self.top = 0
            self.everything = False
            self.post_message(self.Wanted())
        self._tell()

    def do_sort(self) -> None:
        """Sort by the next order."""
        if not self.whole:
            self.do_unsort()
            return
        self.order = (self.order + 1) % max(1, len(self.orders()))
        self.reverse = False
        self.restart()

    def do_unsort(self) -> None:
        """Reverse the order."""
        self.reverse = not self.reverse
        self.restart()

    def restart(self) -> None:
        """Bring the rows into the chosen order; the cursor goes to the first."""
        if self.whole:
            self.reorder()
        else:
            self.rows, self.first, self.loaded = (), 0, False
            self.post_message(self.Wanted())
        self.cursor = self.top = 0
        self._tell()
