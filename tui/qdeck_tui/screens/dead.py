"""View 6: dead jobs grouped by error, the largest group first, with its newest sample and what its
jobs have in common.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from qdeck.admin import Admin, ErrorGroup, ErrorGroups, JobDetail, Operation, Target, Window
from qdeck_tui.format import age, count, safe, short_id, stamp, term, wrap
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.columns import group_columns, group_match
from qdeck_tui.screens.lists import ListView
from qdeck_tui.screens.opsline import OperationsLine, ask_abort
from qdeck_tui.screens.patch import patch_handler
from qdeck_tui.screens.sharing import SharedPane
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.listing import Listing
from qdeck_tui.widgets.pane import TextPane

__all__ = ["DeadView", "error_lines"]

FRAME = re.compile(r'File "(.+?)", line (\d+), in (.+)')


class DeadView(ListView):
    """Groups on the left or above, the sample of the selected one beside or below.

    Opened on a group it shows those of its queue, with the cursor on it.
    """

    view_id = "dead"

    def __init__(self, group: ErrorGroup | None = None) -> None:
        super().__init__("Dead" if group is None else safe(group.type))
        self._opened, self._queue = group, None if group is None else group.queue
        self.groups: Listing[ErrorGroup] = Listing(
            "GROUPS", group_columns(lambda: self.desk), lambda g: f"{g.queue}/{g.fingerprint}",
            match=group_match, worst=lambda g: float(g.count or 0),
        )  # fmt: skip
        self.groups.empty = ("no dead jobs: nothing ran out of attempts, nothing was rejected",)
        self.sample = TextPane("SAMPLE")
        self.sample.empty = ("the newest job of the selected group appears here",)
        self.operations = OperationsLine()
        self.shared = SharedPane()
        self.panes = [self.groups, self.sample, self.shared, self.operations]
        self._box: Widget | None = None
        self._side: Widget | None = None
        self._at = 0
        self._of: str | None = None
        self._shown: tuple[str | None, int] = (None, 0)

    def body(self) -> Iterable[Widget]:
        """Return one container, which turns with the width."""
        self._side = Vertical(self.sample, self.shared)
        self._box = (Horizontal if self.app.size.width >= 110 else Vertical)(
            self.groups, self._side, classes="side"
        )
        return [self._box, self.operations]

    def fit_panes(self, width: int, height: int) -> None:
        """Put the sample beside the groups on wide screens, below them else."""
        if self._box is None or self._side is None:
            return
        wide = width >= 110
        self._box.styles.layout = "horizontal" if wide else "vertical"
        self.sample.wanted = height >= 18
        self.shared.wanted = height >= 22
        for pane in (self.sample, self.shared):
            pane.display = pane.wanted
        self._side.display = self.sample.wanted
        self.groups.styles.width = "3fr" if wide else "100%"
        self._side.styles.width = "2fr" if wide else "100%"
        self.groups.styles.height = "100%" if wide else "2fr"
        self._side.styles.height = "100%" if wide else "3fr"
        self.shared.styles.height = 4 if height < 30 else 10

    def parts(self) -> Mapping[str, Read]:
        """Ask for the groups and the sample of the selected one."""
        parts: dict[str, Read] = {
            "errors": lambda admin: admin.errors(self._queue),
            "operations": lambda admin: admin.operations(),
        }
        group = self.groups.current
        if group is not None and self.sample.wanted:
            at, name = self._at, self.groups.current_id()
            parts[f"sample {name} {at}"] = lambda admin: _sample(admin, group, at)
            parts |= self.shared.parts(name, group)
        return parts

    def show(self, parts: Parts) -> None:
        """Take groups and sample; the sample is asked for once the first group is known."""
        first = not self.groups.loaded
        if take(self.groups, parts["errors"]):
            found = cast("ErrorGroups", parts["errors"])
            self.groups.show(found.groups)
            self._go_to_opened()
            total = count(found.total_dead)
            known = sum(group.count or 0 for group in found.groups)
            self.groups.title = f"{total} DEAD in {len(found.groups)} groups"
            last = [group.last_at for group in found.groups if group.last_at is not None]
            if not found.complete:
                self.groups.title += f", {known:,} looked at so far"
            elif last:
                newest = max(0.0, (self.desk.now - max(last)).total_seconds())
                self.groups.title += f"  newest {age(newest)} ago"
            if found.kept_s is not None:
                self.groups.title += f"  kept {term(found.kept_s)}"
        if "operations" in parts and take(self.operations, parts["operations"]):
            self.operations.tell(cast("tuple[Operation, ...]", parts["operations"]), self.desk.now)
        name = self.groups.current_id()
        if name != self._of:
            self._of, self._at = name, 0
            self.sample.title, first = "SAMPLE", True
            self.sample.show([])
        value = parts.get(f"sample {name} {self._at}")
        if value is not None and take(self.sample, value):
            self._show_sample(cast("JobDetail | None", value))
        elif name is None:
            self.sample.show([])
        self.shared.tell(name, parts)
        self.retitle()
        if first and name is not None:
            self.desk.poll()

    def _go_to_opened(self) -> None:
        group, self._opened = self._opened, None
        if group is not None:
            known = [each.fingerprint for each in self.groups.rows]
            if group.fingerprint in known:
                self.groups.go(known.index(group.fingerprint))

    def _show_sample(self, detail: JobDetail | None) -> None:
        if detail is None:
            self.sample.show([(("the record of this job is gone", "dim"),)])
            return
        group = self.groups.current
        number = count(group.count) if group else "?"
        self.sample.title = f"SAMPLE {short_id(detail.row.ref.id)}  {self._at + 1}/{number}"
        if (self._of, self._at) != self._shown:
            self._shown, self.sample.top = (self._of, self._at), 0
        cells = max(20, self.sample.size.width - 2)
        lines: list[Line] = [((part, "dim"),) for part in wrap(detail.payload, cells)[:3]]
        lines += error_lines(detail, cells)
        if detail.row.finished_at is not None:
            when = stamp(detail.row.finished_at, self.desk.zone)
            lines.append(((f"died {when} on {detail.row.worker or '?'}", "dim"),))
        self.sample.show(lines)

    def moved(self) -> None:
        """Read the sample of the group that the cursor is on now."""
        super().moved()
        if self.groups.current_id() != self._of:
            self._of, self._at = self.groups.current_id(), 0
            self.poll_at_rest()

    def _step(self, by: int) -> None:
        group = self.groups.current
        if group is None or not group.count:
            return
        self._at = (self._at + by) % group.count
        self.desk.poll()

    def do_previous(self) -> None:
        """Show the sample before, which is newer."""
        self._step(-1)

    def do_following(self) -> None:
        """Show the next sample, which is older."""
        self._step(1)

    def mark(self, targets: Sequence[Target]) -> None:
        """Mark groups, since a verb that was about them left some of their jobs."""
        for target in targets:
            if isinstance(target, ErrorGroup):
                self.groups.mark(target)

    @property
    def do_patch(self) -> Callable[[], None] | None:
        """Open the form that patches and retries the marked groups, or the one under the cursor."""
        subject = self.subject()
        group = self.groups.current
        what = "the marked groups" if subject is not None and len(subject.targets) > 1 else ""
        if group is not None and not what:
            what = f"{group.task} in {group.queue}, {group.type}: {group.message[:80]}"
        return patch_handler(self.desk, subject, safe(what))

    @property
    def do_abort(self) -> Callable[[], None] | None:
        """Ask to end the operation that runs."""
        running = self.operations.running
        return None if running is None else lambda: ask_abort(self.desk, running)

    def do_open(self) -> None:
        """Open the jobs of the group."""
        if self.groups.current is not None:
            from qdeck_tui.screens.jobs import GroupView

            self.desk.visit(GroupView(self.groups.current))

    def do_filter(self) -> None:
        """Open the flat list of all dead jobs, and type its filter."""
        from qdeck_tui.screens.jobs import DeadJobsView

        view = DeadJobsView()
        self.desk.visit(view)
        self.desk.ask("/", "", lambda text: None, view.jobs.set_filter, self.desk.leave)


async def _sample(admin: Admin, group: ErrorGroup, at: int) -> object:
    ref = group.sample
    if at or ref is None:
        page = await admin.group(group, Window(at, 1))
        if not page.rows:
            return None
        ref = page.rows[0].ref
    return await admin.job(ref)


def error_lines(detail: JobDetail, cells: int) -> list[Line]:
    """Return the error: what it says, the frames with the innermost first, then the whole
    traceback.
    """
    error = detail.error
    if error is None:
        reason = detail.reason or detail.row.error
        return [((part, "bad"),) for part in wrap(reason, cells)] if reason else []
    lines: list[Line] = [
        ((part, "bad"),) for part in wrap(f"{error.type}: {error.message}"[:2000], cells)
    ]
    frames = FRAME.findall(error.traceback)
    for file, number, name in reversed(frames[-6:]):
        own = "site-packages" not in file and "/lib/python" not in file
        place = "/".join(file.split("/")[-2:])
        lines.append(((f"  {place}:{number}  {name}", "bold" if own else "dim"),))
    if error.traceback:
        lines.append((("", ""),))
        for text in error.traceback.splitlines()[:400]:
            lines += [((part, "dim"),) for part in wrap(text[:2000], cells)]
    return lines
