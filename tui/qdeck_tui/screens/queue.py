"""One queue: its tasks worst first, the failure groups in it, and its jobs by state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from qdeck.admin import (
    FINISHED,
    LATER,
    STATES,
    ErrorGroup,
    ErrorGroups,
    JobRow,
    Page,
    QueueRow,
    Selection,
    Snapshot,
    StateName,
    TaskRow,
)
from qdeck_tui.format import age, clock, count, drain, rate
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.columns import group_columns, group_match, job_columns, task_columns
from qdeck_tui.screens.lists import ListView
from qdeck_tui.widgets.listing import Listing

__all__ = ["QueueView"]

ORDERS = (("next first", "last first"), ("oldest first", "newest first"))
SHORT = {
    "pending": "pend", "running": "run", "scheduled": "sched", "retrying": "retry",
    "completed": "done", "cancelled": "canc", "dead": "dead",
}  # fmt: skip


def task_worst(task: TaskRow) -> float:
    """Return how badly off a task is: by its failures first, then by what waits."""
    return (task.failure_share or 0.0) * 1e9 + (task.pending or 0) * 10 + (task.dead or 0)


class QueueView(ListView):
    """The drill-down of one queue."""

    view_id = "queue"

    def __init__(self, queue: QueueRow) -> None:
        super().__init__(queue.name)
        self.queue_row = queue
        self.state: StateName = "pending"
        self.tasks: Listing[TaskRow] = Listing(
            "TASKS", task_columns(), lambda t: t.task, match=lambda t: t.task, worst=task_worst
        )
        self.tasks.empty = ("no task has had a job in this queue yet",)
        self.groups: Listing[ErrorGroup] = Listing(
            "ERROR GROUPS", group_columns(lambda: self.desk, queue=False),
            lambda g: g.fingerprint, match=group_match,
        )  # fmt: skip
        self.groups.empty = ("no dead jobs in this queue",)
        self.jobs: Listing[JobRow] = Listing("JOBS", [], lambda j: j.ref.id, whole=False)
        self.panes = [self.tasks, self.groups, self.jobs]
        self._note = ""
        self._choose("pending")

    def fit_panes(self, width: int, height: int) -> None:
        """Give the jobs half of the screen; of the groups a low one shows the largest two."""
        self.groups.wanted = height >= 22
        self.tasks.styles.height = 6 if height < 30 else 9
        self.groups.styles.height = 4 if height < 34 else 7
        self.groups.display = self.groups.wanted

    def _choose(self, state: StateName) -> None:
        self.state = state
        self.jobs.columns = tuple(job_columns(lambda: self.desk, state, queue=False))
        self.jobs.clear()
        self.jobs.reverse = state in FINISHED
        later = state in LATER
        self.jobs.orders_words = ORDERS[0] if later else ORDERS[1]
        self.jobs.empty = (f"no {state} jobs here; [ and ] show the other states",)

    def parts(self) -> Mapping[str, Read]:
        """Ask for tasks, groups where they are shown, and the window of jobs that is on screen."""
        name, state, jobs = self.queue_row.name, self.state, self.jobs
        window, query = jobs.window(), jobs.needle
        parts: dict[str, Read] = {
            "tasks": lambda admin: admin.tasks(name),
            f"jobs {state} {query}": lambda admin: admin.jobs(name, state, window, query),
        }
        if self.groups.wanted:
            parts["errors"] = lambda admin: admin.errors(name)
        return parts

    def show(self, parts: Parts) -> None:
        """Take what was read, unless it belongs to a state that is no longer shown."""
        snapshot = parts.get("snapshot")
        if isinstance(snapshot, Snapshot) and isinstance(snapshot.queues, tuple):
            same = (q for q in snapshot.queues if q.name == self.queue_row.name)
            self.queue_row = next(same, self.queue_row)
        if take(self.tasks, parts["tasks"]):
            self.tasks.show(cast("tuple[TaskRow, ...]", parts["tasks"]))
        if "errors" in parts and take(self.groups, parts["errors"]):
            self.groups.show(cast("ErrorGroups", parts["errors"]).groups)
        page = parts.get(f"jobs {self.state} {self.jobs.needle}")
        if page is not None and take(self.jobs, page):
            rows = cast("Page", page)
            self.jobs.show(rows.rows, offset=rows.offset, total=rows.total)
            self._scanned(rows)
        self.retitle()

    def _scanned(self, page: Page) -> None:
        self._note = ""
        if self.jobs.needle and page.scanned is not None and not page.complete:
            self._note = f"scanned {count(page.scanned)} of {count(page.size)}"

    def retitle(self) -> None:
        """Name the states in the title of the jobs, the shown one in capitals."""
        queue = self.queue_row
        numbers = {state: getattr(queue, state) for state in STATES}
        self.jobs.title = "JOBS " + " ".join(
            f"{state.upper()} {count(numbers[state])}" if state == self.state else SHORT[state]
            for state in STATES
        )
        super().retitle()
        if self._note:
            self.jobs.note += f"  {self._note}"
            self.jobs.redraw()

    def summary(self) -> str:
        """Return the queue's numbers for the end of the breadcrumbs."""
        queue = self.queue_row
        if queue.paused is not None:
            since = clock(queue.paused.since, self.desk.zone)
            return f"PAUSED by {queue.paused.by} since {since}"
        words = f"wait {count(queue.pending)}"
        if queue.oldest_pending_s is not None:
            words += f"  age {age(queue.oldest_pending_s)}"
        words += f"  run {count(queue.running)}"
        if queue.in_per_minute is not None:
            words += f"  in {rate(queue.in_per_minute)}/m"
        if queue.drain_s is not None:
            words += f"  drain {drain(queue.drain_s)}"
        return words

    def filtered(self) -> Listing[Any]:
        """Filter the jobs, or the list that is active."""
        return self.pane if isinstance(self.pane, Listing) else self.jobs

    def selection(self, table: Listing[Any]) -> Selection | None:
        """Return the state and queue of the jobs."""
        if table is not self.jobs:
            return None
        return Selection(self.state, self.queue_row.name, None, self.jobs.needle)

    def _switch(self, step: int) -> None:
        at = (STATES.index(self.state) + step) % len(STATES)
        self._choose(STATES[at])
        self.activate(self.panes.index(self.jobs))
        self.retitle()
        self.desk.poll()

    def do_previous(self) -> None:
        """Show the jobs of the state before."""
        self._switch(-1)

    def do_following(self) -> None:
        """Show the jobs of the next state."""
        self._switch(1)

    def do_open(self) -> None:
        """Open the job, the group, or the task's jobs."""
        if self.pane is self.jobs and self.jobs.current is not None:
            self.desk.visit_job(self.jobs.current.ref)
        elif self.pane is self.groups and self.groups.current is not None:
            from qdeck_tui.screens.dead import DeadView

            self.desk.visit(DeadView(self.groups.current))
        elif self.pane is self.tasks and self.tasks.current is not None:
            self.activate(self.panes.index(self.jobs))
            self.jobs.set_filter(f"task:{self.tasks.current.task}")

    def do_log(self) -> None:
        """Open the log of the job under the cursor."""
        if self.jobs.current is not None:
            self.desk.visit_job(self.jobs.current.ref)
