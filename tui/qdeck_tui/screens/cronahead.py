"""The pane that shows how many schedules fire in each of the next 24 hours, and their pile-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from time import monotonic

from qdeck.admin import Ahead, AheadHour, ScheduleRow
from qdeck_tui.format import BARS, clock, count, cut, plural, prose, width
from qdeck_tui.poller import Read
from qdeck_tui.widgets.canvas import Line, Span
from qdeck_tui.widgets.pane import Pane

__all__ = ["AheadPane"]

#: Seconds between two readings of what comes, unless a schedule changed meanwhile or one failed.
EVERY = 60.0
AGAIN = 5.0
#: So many that start in one minute are a pile-up.
CROWD = 5
HOURS = 24
LEAD = 3


class AheadPane(Pane):
    """What all schedules start in the next 24 hours; it is read anew once a minute, and when one of
    them was changed. `way_back` names the key that shows what it stands in the place of.
    """

    reachable = False

    def __init__(self) -> None:
        super().__init__("NEXT 24 H, all schedules")
        self.empty = ("what all schedules start in the next 24 hours appears here",)
        self._known: Ahead | None = None
        self._zone: tzinfo = UTC
        self._of: object = None
        self._read_at = -EVERY
        self.way_back = ""

    def parts(self, rows: Sequence[ScheduleRow], now: datetime, zone: tzinfo) -> Mapping[str, Read]:
        """Ask for what comes, where it may differ from what is shown."""
        start = now.astimezone(zone).replace(minute=0, second=0, microsecond=0)
        of = (start, str(zone), tuple((row.name, row.revision, row.enabled) for row in rows))
        if of == self._of and monotonic() - self._read_at < EVERY:
            return {}
        self._of, self._read_at = of, monotonic()
        return {"ahead": lambda admin: admin.schedules_ahead(start, HOURS)}

    def tell(self, ahead: Ahead, zone: tzinfo) -> None:
        """Take what comes, to be shown by the clock of a zone."""
        self._known, self._zone = ahead, zone
        jobs = sum(hour.runs for hour in ahead.hours)
        left = f", {count(ahead.left_out)} more not looked at" if ahead.left_out else ""
        words = [f"{plural(jobs, 'job')}{left}" if jobs else "", self.way_back]
        self.note = "  ".join(filter(None, words))
        self.redraw()

    def missed(self) -> None:
        """Know that it was not read: it is asked for again, after a while."""
        self._read_at = monotonic() - EVERY + AGAIN

    def drop(self) -> None:
        """Forget what was read."""
        self._known, self._of, self.note = None, None, ""
        self.redraw()

    def body(self, width: int, height: int) -> Sequence[Line]:
        """Return the hours with a bar for each, and the fullest one in words."""
        known = self._known
        if known is None:
            return self.hint(width)
        if not any(hour.runs for hour in known.hours):
            text = "nothing fires within 24 hours: n adds a schedule, p switches one on"
            return [((f"  {part}", "dim"),) for part in prose(text, width - 2)]
        top = max(known.hours, key=lambda hour: hour.schedules)
        if self.look.plain:
            lines = _numbers(known.hours, self._zone, width)
        else:
            lines = _chart(known.hours, self._zone, width, top.schedules)
        return [*lines, *_words(known, top, self._zone, width)]


def _chart(hours: Sequence[AheadHour], zone: tzinfo, cells: int, most: int) -> list[Line]:
    """Return the hours and their bars, two cells for an hour where there is room."""
    wide = 2 if cells >= LEAD + 2 * len(hours) else 1
    step = 2 if wide == 2 else 4
    names = "".join(
        hour.at.astimezone(zone).strftime("%H").ljust(wide * step) for hour in hours[::step]
    )
    bars: list[Span] = [(" " * LEAD, "")]
    for hour in hours:
        full = hour.schedules == most
        sign = BARS[max(1, round(hour.schedules / most * (len(BARS) - 1))) if hour.schedules else 0]
        bars.append((sign * wide, "bold" if full else "" if hour.schedules else "dim"))
    head: Line = ((" h ".ljust(LEAD) + names.rstrip(), "dim"),)
    return [head, tuple(bars)]


def _numbers(hours: Sequence[AheadHour], zone: tzinfo, cells: int) -> list[Line]:
    """Return the hours in which something fires with how many schedules that are, in words."""
    words = [f"{clock(each.at, zone)} {each.schedules:<3}" for each in hours if each.schedules]
    step = max(1, (cells - 2) // 9)
    lines: list[Line] = []
    for at in range(0, len(words), step):
        lines.append(((f"  {''.join(words[at : at + step]).rstrip()}", ""),))
    return lines


def _words(known: Ahead, top: AheadHour, zone: tzinfo, cells: int) -> list[Line]:
    """Return the fullest hour, and the minute in which most start together."""
    busiest = f" busiest {clock(top.at, zone)} ({plural(top.schedules, 'schedule')}"
    busiest += f", {plural(top.runs, 'job')})" if top.runs > top.schedules else ")"
    if known.peak is None or known.together < 2:
        return [((busiest, ""),)]
    crowd = known.together >= CROWD
    peak = f"   {'! ' if crowd else ''}{count(known.together)} start together at "
    peak += clock(known.peak, zone)
    rest = known.together - len(known.names)
    names = ", ".join(known.names) + (f" and {rest:,} more" if rest > 0 else "")
    style = "warn" if crowd else "dim"
    lines: list[Line] = [((busiest, ""), (peak, style))]
    if width(busiest) + width(peak) > cells:
        lines = [((busiest, ""),), ((cut(f" {peak.strip()}", cells), style),)]
    return [*lines, ((cut(f" {names}", cells), "dim"),)] if crowd else lines
