"""What changes would make of a few jobs, found out beside the screen while they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qdeck.admin import Admin, Diff, Draft, ErrorGroup, JobRef, JobRow, Window
from qdeck_tui.actions import Subject
from qdeck_tui.desk import Console
from qdeck_tui.format import prose, safe, short_id
from qdeck_tui.screens.changes import changes_of, whole_diff
from qdeck_tui.widgets.canvas import Line

__all__ = ["SAMPLES", "Trial", "newest"]

#: Jobs that a line is tried on.
SAMPLES: Final = 5
#: Seconds without a further key after which a line is tried.
REST: Final = 0.2
#: Rows of the screen from which there is room for a difference of each job.
TALL: Final = 30


async def newest(admin: Admin, subject: Subject) -> tuple[JobRef, ...]:
    """Return a few of the jobs that are meant, the newest first."""
    rows: list[JobRow] = []
    targets, chosen = subject.targets[:SAMPLES], subject.selection
    if chosen is not None and chosen.fingerprint is None:
        window = Window(0, SAMPLES, reverse=True)
        rows += (await admin.jobs(chosen.queue, chosen.state, window, chosen.query)).rows
        targets = ()
    elif chosen is not None and chosen.queue is not None and not chosen.query:
        targets = (ErrorGroup(chosen.queue, chosen.fingerprint or "", "", "", "", None),)
    # Of a group under a filter, which no read knows, the row under the cursor stands for all.
    for target in targets:
        if isinstance(target, JobRow):
            rows.append(target)
        elif isinstance(target, ErrorGroup):
            window = Window(0, -(-SAMPLES // len(targets)))
            rows += (await admin.group(target, window)).rows
    return tuple(dict.fromkeys(row.ref for row in rows))[:SAMPLES]


class Trial:
    """The newest line that was typed, tried on `refs` once no key comes; one at a time.

    Nothing is written to a job, and no key waits for it.
    """

    def __init__(self, desk: Console) -> None:
        self._desk = desk
        self.refs: tuple[JobRef, ...] = ()
        self._line = self._wanted = self._tried = ""
        self._draft: Draft | None = None
        self._problem = ""
        self._busy = self._over = False
        self._number = 0

    def start(self, refs: Sequence[JobRef]) -> None:
        """Know what to try lines on, and try the one that was typed meanwhile."""
        self.refs = tuple(refs)
        self._begin()

    def typed(self, line: str) -> None:
        """Know what stands in the line; it is tried once it rests."""
        if line == self._line:
            return
        self._line = line
        self._number += 1
        number = self._number
        self._desk.later(REST, lambda: self._rested(number))

    def end(self) -> None:
        """Try nothing more: the form is closed."""
        self._over = True

    def _rested(self, number: int) -> None:
        if number == self._number:
            self._wanted = self._line
            self._begin()

    def _begin(self) -> None:
        if self._over or self._busy or not self.refs or self._wanted == self._tried:
            return
        self._busy = True
        self._desk.begin_work(self._try(self._wanted), "trying the change failed")

    async def _try(self, line: str) -> None:
        draft, problem = None, ""
        try:
            changes, admin = changes_of(line), self._desk.admin
            if changes and admin is not None:
                draft = await admin.patch(self.refs, changes, retry=True, dry_run=True)
        except Exception as error:
            problem = str(error)
        finally:
            self._busy = False
        self._tried, self._draft, self._problem = line, draft, problem
        if not self._over:
            self._desk.update_sheet()
            self._begin()

    # Drawing

    def lines(self, cells: int) -> list[Line]:
        """Return the differences, one of each job where the screen is tall, and their numbers, in
        as many lines whatever is typed.
        """
        most = min(SAMPLES if self._desk.size.height >= TALL else 1, max(1, len(self.refs)))
        lines = self._said(cells, most)
        return [*lines, *([()] * (most + 1 - len(lines)))]

    def _said(self, cells: int, most: int) -> list[Line]:
        draft = self._draft
        style = "" if self._tried == self._line else "dim"
        if self._problem:
            said = prose(safe(self._problem), cells)[:2]
            return [((part, "warn"),) for part in said]
        if draft is None:
            return [(("what it makes of the newest jobs is shown here", "dim"),)]
        order = {ref: at for at, ref in enumerate(self.refs)}
        found = (diff for diff in draft.diffs if diff.problem or diff.before != diff.after)
        diffs = sorted(found, key=lambda diff: order.get(diff.ref, SAMPLES))
        lines = [_difference(diff, cells, style, named=most > 1) for diff in diffs[:most]]
        if not lines:
            lines = [(("no difference: it is so already", style),)]
        invalid = draft.invalid or 0
        counts = f"{draft.changed or 0:,} change, {draft.unchanged or 0:,} stay the same"
        lines.append((
            (counts, style),
            (f", {invalid:,} invalid", "bad" if invalid else style),
            (f" of the newest {draft.total:,}", "dim"),
        ))  # fmt: skip
        return lines


def _difference(diff: Diff, cells: int, style: str, *, named: bool) -> Line:
    name = f"{short_id(diff.ref.id)}  " if named else ""
    shown = whole_diff(diff, cells - len(name))
    return ((name, "dim"), (shown, "bad" if diff.problem else style))
