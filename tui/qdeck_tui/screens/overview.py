"""View 1: is anything wrong, and where. The verdict in words, the queues worst first, failures and
running jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from textual.widget import Widget

from qdeck.admin import (
    ErrorGroup,
    ErrorGroups,
    Failure,
    JobRow,
    Operation,
    Page,
    QueueRow,
    ScheduleRow,
    Snapshot,
)
from qdeck_tui.format import clock, count, cut, prose
from qdeck_tui.poller import Read
from qdeck_tui.scout import FIRST
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.columns import (
    group_columns,
    group_match,
    job_columns,
    overdue,
    queue_columns,
    queue_match,
    queue_worst,
)
from qdeck_tui.screens.cronnext import NextCron
from qdeck_tui.screens.lists import ListView
from qdeck_tui.screens.opsline import told
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.listing import Listing
from qdeck_tui.widgets.pane import TextPane

if TYPE_CHECKING:
    from qdeck_tui.screens.crewpane import CrewPane

__all__ = ["OverviewView"]

SIGNS = {
    "OK": ("✓", "good"),
    "WATCH": ("~", "warn"),
    "DEGRADED": ("!", "bad"),
    "DOWN": ("✗", "bad"),
}


class OverviewView(ListView):
    """The first screen."""

    view_id = "overview"

    def __init__(self) -> None:
        super().__init__("Over")
        self.verdict = TextPane("VERDICT")
        self.verdict.reachable = False
        self.queues: Listing[QueueRow] = Listing(
            "QUEUES", queue_columns(False), lambda q: q.name, match=queue_match, worst=queue_worst
        )
        self.queues.preselect = True
        self.queues.empty = ("no queues yet: a queue appears when a job is enqueued in it",)
        self.failures: Listing[ErrorGroup] = Listing(
            "TOP FAILURES", group_columns(lambda: self.desk),
            lambda g: f"{g.queue}/{g.fingerprint}", match=group_match,
        )  # fmt: skip
        self.failures.empty = ("no dead jobs",)
        self.longest: Listing[JobRow] = Listing(
            "RUNNING, most overdue first", job_columns(lambda: self.desk, "running"),
            lambda j: j.ref.id, worst=lambda j: overdue(j, self.desk.now),
        )  # fmt: skip
        self.longest.empty = ("nothing runs; 7 shows the workers, n there starts one",)
        self.cron = NextCron()
        self.panes = [self.verdict, self.queues, self.failures, self.cron, self.longest]
        self.crew: CrewPane | None = None
        self._box: Widget | None = None
        self._side: Widget | None = None

    def body(self) -> Iterable[Widget]:
        """Return the panes one below the other; a wide screen has two columns, and room for more.

        What begins narrow has one column for good.
        """
        if not _is_wide(*self.app.size):
            return self.panes
        from textual.containers import Horizontal, Vertical

        from qdeck_tui.screens.crewpane import CrewPane

        self.crew = CrewPane()
        self.panes.insert(4, self.crew)
        self._side = Vertical(self.failures, self.cron, self.crew)
        self._box = Horizontal(self.queues, self._side, classes="side")
        return [self.verdict, self._box, self.longest]

    def fit_panes(self, width: int, height: int) -> None:
        """Give the verdict and the lists their lines: the queues come first, the rest when there is
        room.
        """
        rest = height - 4
        self.verdict.styles.height = 4 if height >= 30 else 3
        self.failures.wanted = rest >= 16
        self.longest.wanted = rest >= 19
        self.cron.wanted = rest >= 19
        self.cron.styles.height = 2
        self.failures.styles.height = 9 if height >= 36 else 4
        self.longest.styles.height = 9 if height >= 36 else 4
        self._fit_columns(width, height)
        for pane in self.panes:
            pane.display = pane.wanted

    def _fit_columns(self, width: int, height: int) -> None:
        """Put failures, schedules and workers beside the queues, or below them."""
        if self._box is None or self._side is None or self.crew is None:
            return
        wide = _is_wide(width, height)
        self.crew.wanted = wide
        self._box.styles.layout = "horizontal" if wide else "vertical"
        self._side.styles.width = max(48, width * 17 // 40) if wide else "100%"
        self._side.styles.height = "100%" if wide else "auto"
        self.queues.styles.width = "1fr" if wide else "100%"
        if wide:
            self.failures.styles.height = 7
            self.cron.styles.height = 4

    def parts(self) -> Mapping[str, Read]:
        """Ask for the groups and the longest running; the snapshot is always read."""
        wanted = {"operations": True, "errors": self.failures.wanted}
        wanted["running"] = self.longest.wanted
        parts: dict[str, Read] = {name: FIRST[name] for name, asked in wanted.items() if asked}
        if self.cron.due and self.queues.loaded:
            # Not with the first screen, and seldom: it is all schedules for one line.
            parts["schedules"] = lambda admin: admin.schedules()
        if self.crew is not None and self.queues.loaded:
            parts |= self.crew.parts()
        return parts

    def show(self, parts: Parts) -> None:
        """Take the parts that were read."""
        snapshot = parts.get("snapshot")
        if snapshot is not None and take(self.queues, snapshot):
            whole = cast("Snapshot", snapshot)
            if take(self.queues, whole.queues):
                self.queues.show(cast("tuple[QueueRow, ...]", whole.queues))
            self._judge(whole, parts.get("operations"))
        if "errors" in parts and take(self.failures, parts["errors"]):
            self.failures.show(cast("ErrorGroups", parts["errors"]).groups)
        if "running" in parts and take(self.longest, parts["running"]):
            self.longest.show(cast("Page", parts["running"]).rows)
        if "schedules" in parts and take(self.cron, parts["schedules"]):
            rows = cast("tuple[ScheduleRow, ...]", parts["schedules"])
            self.cron.tell(rows, self.desk.now, self.desk.zone)
        if self.crew is not None:
            self.crew.take(parts, self.desk)
        self.retitle()

    def _judge(self, snapshot: Snapshot, operations: object) -> None:
        verdict = snapshot.verdict
        done, failed = count(snapshot.processed_today), count(snapshot.failed_today)
        today = f"today {done} done, {failed} failed"
        if isinstance(verdict, Failure):
            self.verdict.trouble, self.verdict.note = verdict.reason, today
            self.verdict.show([])
            return
        self.verdict.trouble = None
        sign, style = SIGNS.get(verdict.word, ("?", "warn"))
        since = f" since {clock(verdict.since, self.desk.zone)}" if verdict.since else ""
        self.verdict.title = f"VERDICT: {sign} {verdict.word}{since}"
        if verdict.causes:
            self.verdict.title += "  (why: w)"
        self.verdict.note = today
        lines: list[Line] = []
        for cause in verdict.causes:
            lines += [((f" {part}", style),) for part in prose(cause, max(20, self.size.width - 2))]
        running = [o for o in _operations(operations) if o.state == "running"]
        for operation in running[:1]:
            lines.insert(0, told(operation))
        if not lines:
            lines = [((" nothing waits too long, nothing keeps failing", "dim"),)]
        room = max(1, self.verdict.size.height - 1)
        if len(lines) > room:
            more = f"  +{len(lines) - room} more: w"
            text, said = lines[room - 1][0] if lines[room - 1] else ("", "")
            cells = max(20, self.size.width - 1 - len(more))
            lines[room - 1 :] = [((cut(text, cells), said), (more, "dim"))]
        self.verdict.show(lines)

    def do_open(self) -> None:
        """Open the queue, the group or the job under the cursor."""
        if self.pane is self.failures and self.failures.current is not None:
            from qdeck_tui.screens.jobs import GroupView

            self.desk.visit(GroupView(self.failures.current))
        elif self.pane is self.longest and self.longest.current is not None:
            self.desk.visit_job(self.longest.current.ref)
        elif self.pane is self.queues and self.queues.current is not None:
            from qdeck_tui.screens.queue import QueueView

            self.desk.visit(QueueView(self.queues.current))


def _is_wide(width: int, height: int) -> bool:
    """Whether there is room for two columns."""
    return width >= 110 and height >= 34


def _operations(value: object) -> tuple[Operation, ...]:
    if value is None or isinstance(value, Failure):
        return ()
    return cast("tuple[Operation, ...]", value)
