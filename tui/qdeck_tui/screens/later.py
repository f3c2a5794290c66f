"""View 4: what runs when: scheduled jobs, and jobs that wait for another attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from qdeck.admin import LATER, JobRow, Page, Selection, Snapshot, StateName
from qdeck_tui.format import count
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.columns import job_columns
from qdeck_tui.screens.lists import ListView
from qdeck_tui.widgets.listing import Listing

__all__ = ["LaterView"]


class LaterView(ListView):
    """Scheduled or retrying jobs of all queues, the next one first."""

    view_id = "later"

    def __init__(self) -> None:
        super().__init__("Later")
        self.state: StateName = "scheduled"
        self.jobs: Listing[JobRow] = Listing("LATER", [], lambda j: j.ref.id, whole=False)
        self.jobs.orders_words = ("next first", "last first")
        self.panes = [self.jobs]
        self._numbers: dict[str, int] = {}
        self._chosen = False
        self._choose("scheduled")

    def _choose(self, state: StateName) -> None:
        self.state = state
        self.jobs.columns = tuple(job_columns(lambda: self.desk, state))
        self.jobs.clear()
        self.jobs.empty = (f"no {state} jobs; [ and ] switch between scheduled and retrying",)

    def parts(self) -> Mapping[str, Read]:
        """Ask for the window of the state that is shown."""
        window, needle, state = self.jobs.window(), self.jobs.needle, self.state
        return {f"jobs {state} {needle}": lambda admin: admin.jobs(None, state, window, needle)}

    def show(self, parts: Parts) -> None:
        """Take the window; the first time, show the state that has jobs."""
        snapshot = parts.get("snapshot")
        if isinstance(snapshot, Snapshot) and isinstance(snapshot.queues, tuple):
            self._numbers = {
                state: sum(getattr(queue, state) or 0 for queue in snapshot.queues)
                for state in LATER
            }
            first, self._chosen = not self._chosen, True
            if first and not self._numbers["scheduled"] and self._numbers["retrying"]:
                self._switch()
        page = parts.get(f"jobs {self.state} {self.jobs.needle}")
        if page is not None and take(self.jobs, page):
            rows = cast("Page", page)
            self.jobs.show(rows.rows, offset=rows.offset, total=rows.total)
        self.retitle()

    def retitle(self) -> None:
        """Name both states with their numbers, the shown one in capitals."""
        self.jobs.title = "LATER " + "  ".join(
            f"{state.upper() if state == self.state else state} {count(self._numbers.get(state))}"
            for state in LATER
        )
        super().retitle()

    def selection(self, table: Listing[Any]) -> Selection:
        """Return all jobs of the state that match."""
        return Selection(self.state, None, None, self.jobs.needle)

    def _switch(self) -> None:
        self._chosen = True
        self._choose("retrying" if self.state == "scheduled" else "scheduled")
        self.retitle()
        self.desk.poll()

    def do_previous(self) -> None:
        """Show the other state."""
        self._switch()

    def do_following(self) -> None:
        """Show the other state."""
        self._switch()

    def do_open(self) -> None:
        """Open the job under the cursor."""
        if self.jobs.current is not None:
            self.desk.visit_job(self.jobs.current.ref)

    def do_log(self) -> None:
        """Open the log of the job under the cursor."""
        self.do_open()
