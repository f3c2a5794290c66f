"""View 3: what runs now, the most overdue first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from qdeck.admin import JobRow, Page, Window
from qdeck_tui.format import count
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.columns import job_columns, job_match, overdue
from qdeck_tui.screens.lists import ListView
from qdeck_tui.widgets.listing import Listing

__all__ = ["RunningView"]

MOST = 500


class RunningView(ListView):
    """Running jobs of all queues."""

    view_id = "running"

    def __init__(self) -> None:
        super().__init__("Running")
        self.jobs: Listing[JobRow] = Listing(
            "RUNNING", job_columns(lambda: self.desk, "running"), lambda j: j.ref.id,
            match=job_match, worst=lambda j: overdue(j, self.desk.now),
        )  # fmt: skip
        self.jobs.empty = ("nothing runs now; 7 shows the workers, and n there starts a local one",)
        self.panes = [self.jobs]
        self._total: int | None = None

    def parts(self) -> Mapping[str, Read]:
        """Ask for the longest running jobs."""
        return {"running": lambda admin: admin.running(Window(0, MOST))}

    def show(self, parts: Parts) -> None:
        """Take the running jobs."""
        if take(self.jobs, parts["running"]):
            page = cast("Page", parts["running"])
            self._total = page.total
            self.jobs.show(page.rows)
        self.retitle()

    def retitle(self) -> None:
        """Say when only the longest are shown."""
        self.jobs.title = "RUNNING"
        if self._total is not None and self._total > MOST:
            self.jobs.title = f"RUNNING, the {MOST} longest of {count(self._total)}"
        super().retitle()

    def do_open(self) -> None:
        """Open the job under the cursor, on its live log."""
        if self.jobs.current is not None:
            self.desk.visit_job(self.jobs.current.ref)

    def do_log(self) -> None:
        """Open the log of the job under the cursor."""
        self.do_open()
