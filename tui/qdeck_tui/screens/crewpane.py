"""What a wide first screen has room for: how busy the workers are, and the newest acts."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from qdeck.admin import AuditRow, Failure, Window, WorkerRow
from qdeck_tui.desk import Console
from qdeck_tui.format import age, clock, count, cut, safe
from qdeck_tui.poller import Read
from qdeck_tui.widgets.canvas import Line, Span
from qdeck_tui.widgets.pane import TextPane, rule

__all__ = ["CrewPane"]

#: Seconds between two readings of the record of acts, and how many of them are shown.
EVERY = 5.0
ACTS = 5
#: Workers that are shown; those that are lost, stuck or quiet come first.
CREW = 8
BAR = 8
ODD = ("lost", "stuck", "stopping", "quiet", "running")


class CrewPane(TextPane):
    """A bar for each worker, and below them who did what."""

    reachable = False

    def __init__(self) -> None:
        super().__init__("WORKERS")
        self.empty = ("reading…",)
        self._crew: tuple[WorkerRow, ...] = ()
        self._acts: tuple[AuditRow, ...] = ()
        self._trouble = ""
        self._read_at = -EVERY

    def parts(self) -> Mapping[str, Read]:
        """Ask for the newest acts, now and then; workers are always read."""
        if not self.wanted or monotonic() - self._read_at < EVERY:
            return {}
        return {"acts": lambda admin: admin.audit(Window(0, ACTS))}

    def take(self, parts: Mapping[str, object], desk: Console) -> None:
        """Take workers and acts."""
        workers, acts = parts.get("workers"), parts.get("acts")
        if isinstance(workers, tuple):
            self.empty = ("no worker runs: 7 shows them, n there starts one",)
            self._crew = tuple(sorted(workers, key=lambda worker: ODD.index(worker.state)))
        if acts is not None:
            self._read_at = monotonic()
            self._trouble = acts.reason if isinstance(acts, Failure) else ""
            self._acts = acts if isinstance(acts, tuple) else self._acts
        if self.wanted:
            self._draw(desk)

    def _draw(self, desk: Console) -> None:
        alive = [worker for worker in self._crew if worker.state != "lost"]
        busy = sum(worker.running or 0 for worker in alive)
        slots = sum(worker.concurrency or 0 for worker in alive)
        self.title = f"WORKERS {count(busy)}/{count(slots)} busy" if alive else "WORKERS"
        cells = max(20, self.size.width - 1)
        lines = self._bars(cells)
        if not lines:
            lines = self.hint(cells)
        title = f"OPS LOG ! {safe(self._trouble)}" if self._trouble else "OPS LOG"
        lines.append(rule(title, "", cells, active=False, plain=self.look.plain, style="title"))
        for act in self._acts:
            when = clock(act.at, desk.zone)
            who = cut(act.actor.partition("@")[0], 10)
            text = cut(f" {when} {who:<10} {act.verb} {act.target}", cells)
            lines.append(((text, ""),))
        if not self._acts and not self._trouble:
            lines.append((("  nothing on record yet", "dim"),))
        self.show(lines)

    def _bars(self, cells: int) -> list[Line]:
        """Return two workers a line where there is room."""
        across = 2 if cells >= 50 else 1
        wide = cells // across
        shown = self._crew[:CREW]
        lines: list[Line] = []
        for at in range(0, len(shown), across):
            spans: list[Span] = []
            for worker in shown[at : at + across]:
                text, style = self._bar(worker, wide)
                spans.append((text.ljust(wide), style))
            lines.append(tuple(spans))
        if len(self._crew) > CREW:
            lines.append(((f"  and {len(self._crew) - CREW:,} more (7)", "dim"),))
        return lines

    def _bar(self, worker: WorkerRow, cells: int) -> Span:
        where = f"{worker.host}:{'?' if worker.pid is None else worker.pid}"
        room = max(8, cells - BAR - 10)
        name = cut(where, room)
        head = f" {name:<{min(room, 12)}} "
        if worker.state in ("lost", "stuck"):
            return f"{head}{worker.state.upper()} {age(worker.beat_age_s)}", "bad"
        numbers = f"{count(worker.running)}/{count(worker.concurrency)}"
        share = (worker.running or 0) / worker.concurrency if worker.concurrency else 0.0
        full = round(min(1.0, share) * BAR)
        bar = "" if self.look.plain else "█" * full + "▒" * (BAR - full) + " "
        odd = f" {worker.state[0]}" if worker.state != "running" else ""
        return f"{head}{bar}{numbers}{odd}", "warn" if odd else ""
