"""The pane that shows what became of the last runs of one schedule, and how long they took."""

from __future__ import annotations

from collections.abc import Mapping

from qdeck.admin import Failure, ScheduleRow, ScheduleRuns, SlotRow
from qdeck_tui.desk import Console
from qdeck_tui.format import age, cut, duration, safe, short_id, stamp
from qdeck_tui.poller import Read
from qdeck_tui.screens.croncolumns import day_clock, history_signs, outcome_word
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.pane import TextPane

__all__ = ["RunsPane"]

#: What may still become something else.
OPEN = ("scheduled", "pending", "running", "retrying", "?")


class RunsPane(TextPane):
    """The history of the selected schedule; times are read once for each state of it."""

    def __init__(self) -> None:
        super().__init__("HISTORY")
        self.empty = ("the last runs of the selected schedule appear here",)
        self._row: ScheduleRow | None = None
        self._runs: ScheduleRuns | None = None
        self._of: object = None
        self._problem = ""

    def parts(self, row: ScheduleRow | None) -> Mapping[str, Read]:
        """Ask for the times of a schedule's runs, where they are not known as they are now."""
        if row is None or not row.history or self._of == _state(row):
            return {}
        return {f"runs {row.name}": lambda admin: admin.schedule_runs(row.name)}

    def take(self, row: ScheduleRow | None, parts: Mapping[str, object]) -> None:
        """Take what was read for a schedule, where it was asked for."""
        value = None if row is None else parts.get(f"runs {row.name}")
        if row is None or value is None:
            return
        self._problem = value.reason if isinstance(value, Failure) else ""
        self._runs = value if isinstance(value, ScheduleRuns) else None
        self._of = None if self._problem else _state(row)

    def tell(self, row: ScheduleRow | None, desk: Console) -> None:
        """Show one schedule."""
        if row is None or self._row is None or row.name != self._row.name:
            self.top = 0
        self._row = row
        self.title = "HISTORY" if row is None else f"HISTORY {safe(row.name)}"
        self.show([] if row is None else self._lines(row, desk))

    def _lines(self, row: ScheduleRow, desk: Console) -> list[Line]:
        known = row.history
        failed = sum(1 for slot in known if slot.outcome == "dead")
        kept = f"   {len(known)} kept, {failed} failed" if known else "no run on record"
        lines: list[Line] = [((f" {history_signs(known, 20)}", "bold"), (kept, "dim"))]
        if known:
            lines.append(self._times(row))
        lines += [
            ((f" {cut(row.expression, 24)}  {row.zone}", ""),),
            ((f" {row.task} in {row.queue}", ""),),
            ((f" missed: {row.misfire}   overlap: {row.overlap}", "dim"),),
        ]
        if row.fault:
            lines.insert(0, ((f" {row.fault}", "bad"),))
        if row.drifted:
            lines.append(((f" code declares {row.drifted}; :adopt takes that", "warn"),))
        if row.edited_at is not None:
            when = stamp(row.edited_at, desk.zone)
            lines.append(((f" changed {when} by {safe(row.edited_by)}", "dim"),))
        return lines + [self._slot(slot, desk) for slot in known]

    def _times(self, row: ScheduleRow) -> Line:
        """Return how long its runs take, and what became of the last one."""
        runs = self._runs if self._runs is not None and self._runs.name == row.name else None
        p50, p95 = (None, None) if runs is None else (runs.p50_s, runs.p95_s)
        spans = [(f" p50 {duration(p50)}  p95 {duration(p95)}", "")]
        if self._problem and runs is None:
            spans.append((f" ({self._problem})", "dim"))
        last = next((slot for slot in row.history if slot.job is not None), None)
        if last is not None:
            word = outcome_word(last.outcome)
            text, style = (word, "") if isinstance(word, str) else word
            error = self._error(last)
            spans.append((f"   last: {text}", style))
            spans.append((f" {error}" if error else "", style))
            spans.append((" (Enter)" if row.last_job is not None else "", "dim"))
        return tuple(spans)

    def _error(self, slot: SlotRow) -> str:
        runs = self._runs.runs if self._runs is not None else ()
        return next((cut(run.error, 40) for run in runs if run.job == slot.job), "")

    def _slot(self, slot: SlotRow, desk: Console) -> Line:
        word = outcome_word(slot.outcome)
        text, style = (word, "") if isinstance(word, str) else word
        more = f" x{slot.count}" if slot.count > 1 else ""
        late = f"  {age(slot.late_s)} late" if (slot.late_s or 0) >= 1 else ""
        job = f"  job {short_id(slot.job.id)}" if slot.job is not None else ""
        runs = self._runs.runs if self._runs is not None else ()
        took = next((run.run_s for run in runs if run.job == slot.job), None)
        ran = f"  {duration(took)}" if took is not None else ""
        return (
            (f" {day_clock(slot.slot, desk.zone)}  ", ""),
            (f"{text}{more}", style),
            (f"{ran}{late}{job}", "dim"),
        )


def _state(row: ScheduleRow) -> object:
    """Return what the times of a schedule's runs depend on; never equal while one is under way."""
    if any(slot.outcome in OPEN for slot in row.history):
        return object()
    return (row.name, tuple((slot.slot, slot.outcome) for slot in row.history))
