"""The jobs that a worker holds, or held when it was last heard of, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from qdeck.admin import Admin, Failure, JobDetail, JobRef, JobRow, WorkerRow
from qdeck_tui.desk import Console
from qdeck_tui.format import age, cut, plural, safe, short_id
from qdeck_tui.poller import Read
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.pane import TextPane

__all__ = ["HeldPane", "held_lines", "held_parts"]

#: Jobs that are looked at, in one reading.
SHOWN = 12

Found = Sequence[JobDetail | None]


class HeldPane(TextPane):
    """What a lost worker held; it takes no room while none is selected."""

    reachable = False

    def __init__(self) -> None:
        super().__init__("HELD")
        self.wanted = False
        self.worker: WorkerRow | None = None

    def on_mount(self) -> None:
        """Take no room before there is anything to say."""
        self.display = self.wanted

    def choose(self, worker: WorkerRow | None) -> bool:
        """Take the selected worker; return whether its jobs are to be read."""
        lost = worker is not None and worker.state == "lost" and bool(worker.holds)
        other = worker is not None and (self.worker is None or worker.id != self.worker.id)
        self.worker = worker if lost else None
        if self.wanted != lost:
            self.wanted = self.display = lost
        if self.worker is None:
            return False
        self.styles.height = min(len(self.worker.holds), SHOWN, 5) + 1
        jobs = plural(len(self.worker.holds), "job")
        self.title = f"{self.worker.host}:{self.worker.pid} held {jobs} when it was lost"
        if other:
            self.show([(("  reading…", "dim"),)])
        return other

    def parts(self) -> Mapping[str, Read]:
        """Ask for the jobs of the selected worker, where it is lost."""
        return {} if self.worker is None else held_parts(self.worker)

    def take(self, parts: Mapping[str, object], desk: Console) -> None:
        """Take what was read of the selected worker's jobs."""
        if self.worker is not None and f"held {self.worker.id}" in parts:
            self.show(held_lines(self.worker, parts[f"held {self.worker.id}"], desk))


def held_parts(worker: WorkerRow) -> Mapping[str, Read]:
    """Ask for the jobs that a worker holds."""
    refs = worker.holds[:SHOWN]
    return {f"held {worker.id}": lambda admin: _read(admin, refs)} if refs else {}


async def _read(admin: Admin, refs: Sequence[JobRef]) -> Found:
    return tuple(await asyncio.gather(*map(admin.job, refs)))


def held_lines(worker: WorkerRow, found: object, desk: Console) -> list[Line]:
    """Return a line for each job; without a reading it says where the job is."""
    if isinstance(found, Failure):
        return [((f"  {safe(found.reason)}", "bad"),)]
    details: Found = found if isinstance(found, tuple) else ()
    lines: list[Line] = []
    for at, ref in enumerate(worker.holds[: max(SHOWN, 1)]):
        head = f"  {short_id(ref.id)}  "
        if at >= len(details):
            lines.append(((f"{head}in {safe(ref.queue)}", ""),))
            continue
        detail = details[at]
        if detail is None:
            lines.append(((head, ""), ("its record is gone", "dim")))
            continue
        row = detail.row
        text, style = _became(worker, row, desk)
        lines.append(((f"{head}{cut(row.task, 20):<20}  ", ""), (cut(text, 60), style)))
    if len(worker.holds) > SHOWN:
        lines.append(((f"  and {len(worker.holds) - SHOWN:,} more", "dim"),))
    return lines


def _became(worker: WorkerRow, row: JobRow, desk: Console) -> tuple[str, str]:
    """Return what became of a job that a worker held, in words."""
    at = row.started_at or row.finished_at
    since = age((desk.now - at).total_seconds()) if at is not None else "?"
    done = f"{row.progress:.0f}%  " if row.progress is not None else ""
    if row.state == "running":
        if row.worker not in ("", worker.id):
            return f"runs again on {row.worker} for {since}", "good"
        if worker.state == "lost":
            return f"{done}held for {since}; r gives it back", "warn"
        return f"{done}runs for {since}", ""
    if row.state in ("pending", "scheduled", "retrying"):
        return f"given back: {row.state} in {row.ref.queue}", "good"
    if row.state == "dead":
        return f"dead: {row.error}", "bad"
    return row.state, "" if row.state == "completed" else "warn"
