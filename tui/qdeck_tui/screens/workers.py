"""View 7: workers here and elsewhere, and what the local ones print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from qdeck.admin import WorkerRow
from qdeck_tui.format import count, plural
from qdeck_tui.local import LocalWorker
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.crewcolumns import worker_columns
from qdeck_tui.screens.held import HeldPane, held_lines, held_parts
from qdeck_tui.screens.lists import ListView
from qdeck_tui.screens.pace import Pace
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.listing import Listing
from qdeck_tui.widgets.pane import TextPane

__all__ = ["WorkerView", "WorkersView"]

KEPT = 5000
#: Cells of a title that say how many rows there are and in which order.
ORDER = 26


class WorkersView(ListView):
    """The list, and below it the output of the local worker that is selected, or of all."""

    view_id = "workers"

    def __init__(self) -> None:
        super().__init__("Workers")
        self.pace = Pace()
        self.crew: Listing[WorkerRow] = Listing(
            "WORKERS", worker_columns(lambda: self.desk, self.pace.of), lambda w: w.id,
            match=lambda w: f"{w.host} {w.pid} {w.state} {' '.join(w.queues)}", worst=_worst,
        )  # fmt: skip
        self.crew.empty = ("no worker is alive: n starts one here, `qdeck worker` elsewhere",)
        self.output = TextPane("OUTPUT")
        self.output.empty = ("what local workers print appears here",)
        self.held = HeldPane()
        self.panes = [self.crew, self.held, self.output]
        self._read: dict[str, tuple[int, list[Line]]] = {}

    def fit_panes(self, width: int, height: int) -> None:
        """Show the output only where there can be any."""
        self.output.wanted = height >= 18 and self.desk.supervisor is not None
        room = len(self.held.worker.holds[:5]) + 1 if self.held.worker is not None else 0
        self.output.styles.height = max(5, (height - 4) // 2 - room)
        self.output.display = self.output.wanted

    def show(self, parts: Parts) -> None:
        """Take the workers, and what the local ones printed meanwhile."""
        if take(self.crew, parts["workers"]):
            rows = cast("tuple[WorkerRow, ...]", parts["workers"])
            self.pace.tell(rows, self.desk.now)
            self.crew.show([*rows, *_unknown(self._locals(), rows)])
            self.crew.title = _numbers(rows, self.size.width)
        self._look()
        self.held.take(parts, self.desk)
        self._listen()
        self.retitle()

    def parts(self) -> Mapping[str, Read]:
        """Ask for the jobs of the selected worker, where it is lost; workers are always read."""
        return self.held.parts()

    def _look(self) -> None:
        """Show what the selected worker held, where it is lost."""
        before = self.held.wanted
        if self.held.choose(self.crew.current):
            self.desk.poll()
        if self.held.wanted != before:
            self.fit_panes(*self.app.size)

    def _locals(self) -> Sequence[LocalWorker]:
        supervisor = self.desk.supervisor
        return () if supervisor is None else supervisor.workers()

    def _local(self) -> LocalWorker | None:
        """Return the local worker that is selected, else the newest."""
        current, known = self.crew.current, self._locals()
        if current is not None:
            for worker in known:
                if current.id in (worker.id, f"local:{worker.name}"):
                    return worker
        return known[-1] if known else None

    def _listen(self) -> None:
        supervisor, worker = self.desk.supervisor, self._local()
        if supervisor is None:
            return
        name = worker.name if worker is not None else ""
        after, lines = self._read.get(name, (0, []))
        at_end = self.output.top >= self.output.length - self.output.page
        for line in supervisor.log(name, after):
            lines.append(((line.text, ""),))
            after = line.number
        del lines[:-KEPT]
        self._read[name] = (after, lines)
        self.output.title = "OUTPUT" if worker is None else f"OUTPUT of {name}"
        if worker is not None:
            place = "in this process" if worker.kind == "thread" else "child process"
            self.output.note = f"{place}  {worker.state}  at exit: {worker.on_exit}"
        self.output.show(lines)
        if at_end:
            self.output.do_bottom()

    def moved(self) -> None:
        """Show the output of the worker under the cursor."""
        super().moved()
        self._look()
        self._listen()

    def do_open(self) -> None:
        """Open the worker under the cursor."""
        if self.crew.current is not None:
            self.desk.visit(WorkerView(self.crew.current))

    def do_log(self) -> None:
        """Go to the output of the local worker."""
        if self.output.wanted:
            self.activate(self.panes.index(self.output))

    @property
    def do_start_worker(self) -> Any:
        """Open the form, where there is somebody to start workers."""
        return self._start if self.desk.supervisor is not None else None

    def _start(self) -> None:
        from qdeck_tui.screens.start import open_start_form

        supervisor = self.desk.supervisor
        if supervisor is not None:
            open_start_form(self.desk, supervisor, lambda worker: self._listen())


def _numbers(rows: Sequence[WorkerRow], cells: int) -> str:
    """Return how many there are, what is odd about them, and how busy their slots are."""
    words = [
        f"{number} {state}"
        for state in ("lost", "stuck", "quiet", "stopping")
        if (number := sum(1 for row in rows if row.state == state))
    ]
    alive = [row for row in rows if row.state != "lost"]
    busy, slots = (sum(each or 0 for each in (getattr(row, name) for row in alive))
                   for name in ("running", "concurrency"))  # fmt: skip
    odd = f" ({', '.join(words)})" if words else ""
    local = sum(1 for row in rows if row.local)
    title = f"WORKERS {len(rows)}{odd}  slots {busy}/{slots} busy" if rows else "WORKERS"
    here = f"  local {local}"
    return title + (here if local and len(title) + len(here) + ORDER <= cells else "")


def _worst(worker: WorkerRow) -> float:
    order = ("running", "quiet", "stopping", "stuck", "lost")
    return order.index(worker.state) * 10 + (1.0 if worker.local else 0.0)


def _unknown(known: Sequence[LocalWorker], rows: Sequence[WorkerRow]) -> list[WorkerRow]:
    """Return rows for local workers that the server does not know, while they start or after they
    ended.
    """
    ids = {row.id for row in rows}
    return [
        WorkerRow(
            f"local:{worker.name}", f"{worker.name} {worker.state}", None,
            "stopping" if worker.state in ("stopping", "stopped") else "running",
            worker.queues, worker.concurrency, worker.running, worker.started_at, local=True,
        )
        for worker in known
        if worker.id not in ids and worker.state in ("starting", "stopping", "failed")
    ]  # fmt: skip


class WorkerView(ListView):
    """One worker: its facts and the jobs that it runs, or ran when it was last heard of."""

    view_id = "worker"

    def __init__(self, worker: WorkerRow) -> None:
        super().__init__(f"{worker.host}:{worker.pid}")
        self.worker = worker
        self.pace = Pace()
        self.facts = TextPane("WORKER")
        self.panes = [self.facts]

    def show(self, parts: Parts) -> None:
        """Take the worker's row."""
        if not take(self.facts, parts["workers"]):
            return
        rows = cast("tuple[WorkerRow, ...]", parts["workers"])
        self.worker = next((w for w in rows if w.id == self.worker.id), self.worker)
        worker = self.worker
        self.pace.tell(rows, self.desk.now)
        columns = worker_columns(lambda: self.desk, self.pace.of)
        lines: list[Line] = []
        for column in columns:
            cell = column.cell(worker)
            text, style = (cell, "") if isinstance(cell, str) else cell
            lines.append(((f"{column.title.lower():<8}", "dim"), (text, style)))
        held = "held when last heard of" if worker.state == "lost" else "running"
        lines += [(), ((f"{plural(len(worker.holds), 'job')} {held}", "bold"),)]
        lines += held_lines(worker, parts.get(f"held {worker.id}"), self.desk)
        self.facts.title = f"WORKER {worker.id}"
        self.facts.note = f"{count(worker.running)} of {count(worker.concurrency)} slots busy"
        self.facts.show(lines)

    def parts(self) -> Mapping[str, Read]:
        """Ask for the jobs that it holds; workers are always read."""
        return held_parts(self.worker)

    def subject(self) -> Any:
        """Return this worker."""
        from qdeck_tui.actions import Subject

        return Subject((self.worker,))

    def do_open(self) -> None:
        """Open the first job that it holds."""
        if self.worker.holds:
            self.desk.visit_job(self.worker.holds[0])
