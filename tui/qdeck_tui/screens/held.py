"""The jobs that a worker holds, or held when it was last heard of, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from qdeck.admin import Admin, Failure, JobDetail, JobRef, WorkerRow
from qdeck_tui.desk import Console
from qdeck_tui.format import age, cut, fit, moment, plural, safe, short_id
from qdeck_tui.poller import Read
from qdeck_tui.screens.columns import progress_bar, seconds_since
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
        worker = self.worker
        if worker is None or f"held {worker.id}" not in parts:
            return
        found = parts[f"held {worker.id}"]
        kept = [each for each in found if _keeps(worker, each)] if isinstance(found, tuple) else []
        self.note = f"r gives back {plural(len(kept), 'job')}" if kept else ""
        self.show(held_lines(worker, found, desk))


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
        old = age(seconds_since(row.created_at, desk.now))
        # What it had done says nothing of a job that is to run again.
        done = row.progress if row.state == "running" else None
        bar = "-" if done is None else progress_bar(done)
        text, style = _became(worker, detail, desk)
        lines.append(((f"{head}{fit(row.task, 16)}  {old:>4}  ", ""), (fit(bar, 15), ""),
                      ("  ", ""), (cut(text, 80), style)))  # fmt: skip
    if len(worker.holds) > SHOWN:
        lines.append(((f"  and {len(worker.holds) - SHOWN:,} more", "dim"),))
    return lines


def _keeps(worker: WorkerRow, detail: JobDetail | None) -> bool:
    """Return whether a job still counts as run by a worker."""
    return (
        detail is not None
        and detail.row.state == "running"
        and detail.row.worker in ("", worker.id)
    )


def _became(worker: WorkerRow, detail: JobDetail, desk: Console) -> tuple[str, str]:
    """Return what became of a job that a worker held, in words."""
    row = detail.row

    def ago(at: datetime | None) -> str:
        return f"{age(seconds_since(at, desk.now))} ago" if at is not None else "at some time"

    if row.state == "running":
        since = age(seconds_since(row.started_at, desk.now))
        if not _keeps(worker, detail):
            return f"runs again for {since} at {row.worker}", "good"
        return _lease(detail.lease_ends_at, since, desk) if worker.state == "lost" else (
            f"runs for {since}", "")  # fmt: skip
    lost = next((each.ended_at for each in reversed(detail.attempts)
                 if each.outcome == "lost" and each.worker == worker.id), None)  # fmt: skip
    if row.state == "pending":
        return ("returned to queue" if lost is None else f"returned to queue {ago(lost)}"), "good"
    if row.state in ("scheduled", "retrying"):
        return f"{row.state}, runs {moment(row.due_at, desk.now, desk.zone)}", "good"
    if row.state == "dead":
        return f"dead {ago(row.finished_at)}: {row.error}", "bad"
    return f"{row.state} {ago(row.finished_at)}", "" if row.state == "completed" else "warn"


def _lease(ends: datetime | None, since: str, desk: Console) -> tuple[str, str]:
    """Return how the lease of a job stands that its lost worker still holds."""
    if ends is None:
        return f"held for {since}", "warn"
    left = (ends - desk.now).total_seconds()
    if left > 0:
        return f"lease lives for {age(left)} more", "warn"
    return f"lease expired {age(-left)} ago", "warn"
