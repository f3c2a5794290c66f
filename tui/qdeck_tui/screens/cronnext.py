"""The pane that says which schedules are late and which run next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from time import monotonic

from qdeck.admin import ScheduleRow
from qdeck_tui.format import age, cut, moment, width
from qdeck_tui.screens.croncolumns import is_late, schedule_soonest, was_late
from qdeck_tui.widgets.canvas import Line, Span
from qdeck_tui.widgets.pane import TextPane

__all__ = ["NextCron"]

#: Seconds between two readings of all schedules for one line.
EVERY = 10.0


class NextCron(TextPane):
    """Schedules in one line, or a line for each where there are several; `due` says when they are
    to be read again.
    """

    reachable = False

    def __init__(self) -> None:
        super().__init__("NEXT CRON")
        self._read_at = -EVERY

    @property
    def due(self) -> bool:
        """Whether the schedules should be read again."""
        return self.wanted and monotonic() - self._read_at >= EVERY

    def tell(self, rows: Sequence[ScheduleRow], now: datetime, zone: tzinfo) -> None:
        """Take the schedules."""
        self._read_at = monotonic()
        self.empty = ("no schedules: 5 shows them, n there adds one",)
        off = sum(1 for row in rows if not row.enabled)
        self.note = f"{len(rows):,} schedules" + (f", {off} off" if off else "") if rows else ""
        cells, left = max(20, self.size.width - 2), max(1, self.size.height - 1)
        coming = [row for row in rows if row.enabled and (row.next_slot is not None or row.fault)]
        coming.sort(key=schedule_soonest, reverse=True)
        if left == 1:
            line = _line(coming, now, zone, cells)
            self.show([line] if line else [])
        else:
            self.show([_line([row], now, zone, cells) for row in coming[:left]])


def _line(rows: Sequence[ScheduleRow], now: datetime, zone: tzinfo, cells: int) -> Line:
    """Return late schedules and then the next ones, as many as fit."""
    spans: list[Span] = []
    used = 0
    for row in rows:
        name = cut(row.name, 24)
        if row.fault:
            when, style = "FAULT", "bad"
        elif is_late(row):
            when, style = f"LATE {age(row.late_s)}", "bad"
        else:
            when, style = moment(row.next_slot, now, zone), ""
        text = f"  {name}"
        was = (
            f"({age(row.history[0].late_s)} late before)  "
            if was_late(row) and not is_late(row)
            else ""
        )
        used += width(when) + width(text) + 3 + width(was)
        if used > cells and spans:
            break
        spans += [
            (f" {when}", style or "dim"),
            (text + "  ", "bold" if style else ""),
            (was, "warn"),
        ]
    return tuple(spans)
