"""View 2: all queues with their counts, ages and rates."""

from __future__ import annotations

from typing import cast

from qdeck.admin import QueueRow, Snapshot
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.columns import queue_columns, queue_match, queue_worst
from qdeck_tui.screens.lists import ListView
from qdeck_tui.widgets.listing import Listing

__all__ = ["QueuesView"]


class QueuesView(ListView):
    """All queues, worst first."""

    view_id = "queues"

    def __init__(self) -> None:
        super().__init__("Queues")
        self.queues: Listing[QueueRow] = Listing(
            "QUEUES", queue_columns(True), lambda q: q.name, match=queue_match, worst=queue_worst
        )
        self.queues.empty = ("no queues yet: a queue appears when a job is enqueued in it",)
        self.panes = [self.queues]

    def show(self, parts: Parts) -> None:
        """Take the queues of the snapshot."""
        snapshot = parts.get("snapshot")
        if take(self.queues, snapshot) and take(self.queues, cast("Snapshot", snapshot).queues):
            self.queues.show(cast("tuple[QueueRow, ...]", cast("Snapshot", snapshot).queues))
        self.retitle()

    def do_open(self) -> None:
        """Open the queue under the cursor."""
        if self.queues.current is not None:
            from qdeck_tui.screens.queue import QueueView

            self.desk.visit(QueueView(self.queues.current))
