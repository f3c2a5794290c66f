"""What views with lists share: filter, copy, titles that tell marks, what a verb acts on."""

from __future__ import annotations

from typing import Any, cast

from qdeck.admin import ErrorGroup, JobRef, JobRow, Pause, QueueRow, Selection, Target, TaskRow
from qdeck_tui.actions import Subject
from qdeck_tui.format import clock, safe
from qdeck_tui.screens.base import View
from qdeck_tui.widgets.listing import Listing

__all__ = ["ListView"]


class ListView(View):
    """A view whose panes are lists. `filtered` is the list that `/` filters, the active one by
    default.
    """

    def lists(self) -> list[Listing[Any]]:
        """Return the lists of this view."""
        return [pane for pane in self.panes if isinstance(pane, Listing)]

    def filtered(self) -> Listing[Any] | None:
        """Return the list that a filter goes to."""
        return self.pane if isinstance(self.pane, Listing) else None

    def selection(self, table: Listing[Any]) -> Selection | None:
        """Return what a window list stands for when all of it is marked."""
        return None

    def scope_words(self, selection: Selection) -> str:
        """Return what a selection is, in words for a dialog."""
        words: list[str] = [selection.state]
        if selection.queue:
            words.append(f"in {selection.queue}")
        if selection.query:
            words.append(f"matching {selection.query}")
        return " ".join(words)

    def retitle(self) -> None:
        """Say in each title how many rows there are, their order, the filter and the marks."""
        for table in self.lists():
            words = [table.marked_words()] if table.marked else []
            paused = getattr(table.current, "paused", None)
            if table.active and isinstance(paused, Pause):
                since = f" since {clock(paused.since, self.desk.zone)}" if paused.since else ""
                words.append(safe(f"paused by {paused.by}{since}"))
            if table.needle:
                words.append(f"filter: {table.needle}")
            if table.loaded:
                words.append(table.span())
            if table.active:
                words.append(f"sort: {table.order_name}" if table.whole else table.order_name)
            table.note = "  ".join(words)
            if table.retitled:
                table.redraw()

    def moved(self) -> None:
        """Let the titles follow."""
        self.retitle()

    def subject(self) -> Subject | None:
        """Return the marks, all of a window list, or the row under the cursor."""
        table = self.pane
        if isinstance(table, Listing) and table.everything:
            chosen = self.selection(table)
            first = table.current or next(iter(table.rows), None)
            if chosen is not None and first is not None:
                scope = self.scope_words(chosen)
                return Subject((cast("Target", first),), chosen, table.total, scope)
        return super().subject()

    # Rows of the action table

    def do_filter(self) -> None:
        """Type a filter; whole lists follow while it is typed, windows on Enter."""
        table = self.filtered()
        if table is None:
            return
        before = table.needle

        def changed(text: str) -> None:
            if table.whole:
                table.set_filter(text)

        self.desk.ask("/", before, changed, table.set_filter, lambda: table.set_filter(before))

    def why_target(self) -> str | JobRef | None:
        """Return what `w` explains: the queue or the job under the cursor, else the view's."""
        row = self.pane.current if isinstance(self.pane, Listing) else None
        if isinstance(row, QueueRow):
            return row.name
        if isinstance(row, JobRow):
            return row.ref
        if isinstance(row, (TaskRow, ErrorGroup)):
            return row.queue
        queue = getattr(self, "queue_row", None)
        return queue.name if isinstance(queue, QueueRow) else None

    def do_why(self) -> None:
        """Say why what the cursor is on does not run."""
        from qdeck_tui.screens.why import explain

        snapshot = self.desk.snapshot
        verdict = snapshot.verdict if snapshot and self.view_id == "overview" else None
        explain(self.desk, self.why_target(), verdict)

    def do_copy(self) -> None:
        """Choose what to copy of the row under the cursor."""
        from qdeck_tui.widgets.menu import CopyMenu

        table = self.pane
        row: Any = table.current if isinstance(table, Listing) else None
        if row is None or not isinstance(table, Listing):
            self.desk.say("nothing to copy here", "warn")
            return
        choices: list[tuple[str, str, str]] = []
        if isinstance(row, JobRow):
            choices = [("i", "id", row.ref.id), ("t", "task", row.task),
                       ("a", "arguments, as shown", row.args)]  # fmt: skip
            if row.error:
                choices.append(("e", "error", row.error))
        else:
            choices = [("n", "name", table.ident(row))]
        words = "  ".join(_text(column.cell(row)).strip() for column in table.columns)
        choices.append(("r", "row", words))
        self.desk.open_sheet(CopyMenu(choices, self.desk))


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else cast("tuple[str, str]", cell)[0]
