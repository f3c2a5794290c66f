"""Flat lists of jobs: one failure group, all dead ones, and what a search found in every state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from qdeck.admin import STATES, Admin, ErrorGroup, JobRow, Page, Selection, StateName, Window
from qdeck_tui.format import count
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.columns import STATE_STYLES, job_columns, job_match
from qdeck_tui.screens.lists import ListView
from qdeck_tui.screens.patch import patch_handler
from qdeck_tui.widgets.listing import Listing
from qdeck_tui.widgets.table import Column

__all__ = ["DeadJobsView", "FindView", "GroupView"]


class _JobsView(ListView):
    """One list of jobs; subclasses say where it is read from."""

    def __init__(self, crumb: str, state: StateName, *, whole: bool, queue: bool) -> None:
        super().__init__(crumb)
        self.state = state
        self.jobs: Listing[JobRow] = Listing(
            "JOBS", job_columns(lambda: self.desk, state, queue=queue), lambda j: j.ref.id,
            whole=whole, match=job_match,
        )  # fmt: skip
        self.panes = [self.jobs]
        self._note = ""

    def show(self, parts: Parts) -> None:
        """Take the window, unless the filter has changed since."""
        page = parts.get(f"jobs {self.jobs.needle}")
        if page is not None and take(self.jobs, page):
            rows = cast("Page", page)
            self.jobs.show(rows.rows, offset=rows.offset, total=rows.total)
            self._note = ""
            if self.jobs.needle and rows.scanned is not None:
                all_of = "all " if rows.complete else ""
                self._note = f"scanned {all_of}{count(rows.scanned)} of {count(rows.size)}"
        self.retitle()

    def retitle(self) -> None:
        """Say how much was looked at."""
        super().retitle()
        if self._note:
            self.jobs.note += f"  {self._note}"
            self.jobs.redraw()

    def do_open(self) -> None:
        """Open the job under the cursor."""
        if self.jobs.current is not None:
            self.desk.visit_job(self.jobs.current.ref)

    def do_log(self) -> None:
        """Open the log of the job under the cursor."""
        self.do_open()

    @property
    def do_patch(self) -> Callable[[], None] | None:
        """Open the form that patches and retries the marked jobs; one alone is edited instead."""
        subject, job = self.subject(), self.jobs.current
        if subject is None or job is None or job.state != "dead":
            return None
        if subject.selection is None and len(subject.targets) < 2:
            return None
        return patch_handler(self.desk, subject, "this list")


class GroupView(_JobsView):
    """The dead jobs of one group, newest first."""

    view_id = "group"

    def __init__(self, group: ErrorGroup) -> None:
        super().__init__(group.type, "dead", whole=False, queue=False)
        self.jobs.orders_words = ("newest first", "oldest first")
        self.group = group
        # All members failed alike, so their error says nothing in each row.
        self.jobs.columns = tuple(c for c in self.jobs.columns if c.title != "ERROR")
        self.jobs.title = f"{group.task} in {group.queue}  {group.type}: {group.message}"
        self.jobs.empty = ("no job of this group is dead any more; Esc goes back",)

    def parts(self) -> Mapping[str, Read]:
        """Ask for the window of the group; with a filter, for matching dead jobs of its queue."""
        window, needle, group = self.jobs.window(), self.jobs.needle, self.group
        if not needle:
            return {"jobs ": lambda admin: admin.group(group, window)}
        # A query knows no groups: task and type come as near as words can.
        query = f'{needle} task:"{_quoted(group.task)}" error~"{_quoted(group.type)}"'
        newest = Window(window.offset, window.limit, not window.reverse)
        return {f"jobs {needle}": lambda admin: admin.jobs(group.queue, "dead", newest, query)}

    def selection(self, table: Listing[Any]) -> Selection:
        """Return the group, narrowed by the filter."""
        return Selection("dead", self.group.queue, self.group.fingerprint, self.jobs.needle)

    def scope_words(self, selection: Selection) -> str:
        """Name the group."""
        return f"{super().scope_words(selection)}, {self.group.type}: {self.group.message}"


class DeadJobsView(_JobsView):
    """All dead jobs of all queues."""

    view_id = "dead_jobs"

    def __init__(self) -> None:
        super().__init__("all", "dead", whole=False, queue=True)
        self.jobs.reverse = True
        self.jobs.title = "DEAD JOBS of all queues"
        self.jobs.empty = ("no dead job matches; / changes the filter, Esc takes it away",)

    def parts(self) -> Mapping[str, Read]:
        """Ask for the window."""
        window, needle = self.jobs.window(), self.jobs.needle
        return {f"jobs {needle}": lambda admin: admin.jobs(None, "dead", window, needle)}

    def selection(self, table: Listing[Any]) -> Selection:
        """Return all dead jobs that match."""
        return Selection("dead", None, None, self.jobs.needle)


class FindView(_JobsView):
    """The first hundred jobs of each state that match a query."""

    view_id = "find"

    def __init__(self, query: str) -> None:
        super().__init__(f"find {query}", "pending", whole=True, queue=True)
        self.query_text = query
        self.jobs.title = f"FOUND {query}"
        self.jobs.columns = (
            *self.jobs.columns[:2],
            Column("STATE", 9, lambda j: (j.state, STATE_STYLES.get(j.state, "")), keep=9),
            *self.jobs.columns[2:],
        )
        self.jobs.empty = (f"nothing in any state matches {query}",)

    def parts(self) -> Mapping[str, Read]:
        """Ask each state."""
        query = self.query_text

        async def read(admin: Admin) -> object:
            rows: list[JobRow] = []
            for state in STATES:
                rows += (await admin.jobs(None, state, Window(0, 100), query)).rows
            return Page(tuple(rows))

        return {"found": read}

    def show(self, parts: Parts) -> None:
        """Take what was found."""
        if take(self.jobs, parts["found"]):
            self.jobs.show(cast("Page", parts["found"]).rows)
        self.retitle()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
