"""What an expression means, as lines: its words, its next runs, findings about it, and the change
that saving makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

from qdeck.admin import Lint, Preview, ScheduleSpec
from qdeck_tui.format import apart, cut, prose, width
from qdeck_tui.widgets.canvas import Line, Span, line_width

__all__ = ["change_lines", "lint_lines", "meaning_lines", "moved_line", "run_lines"]

SIGNS = {"ok": ("ok ", "good"), "info": ("i ", "dim"), "warn": ("! ", "warn")}
#: What stands first where nothing is to be minded, by code.
FIRST = ("frequency", "rare", "pile-up", "alone")


def meaning_lines(shown: Preview | None, typed: str, cells: int) -> list[Line]:
    """Return an expression in words, with its cron form where plain words were typed, or what is
    wrong with it.
    """
    if shown is None:
        return [(("…", "dim"),)]
    if not shown.ok:
        parts = prose(shown.error, cells - 5)
        return [((f"{'' if at else 'no':<5}{part}", "bad"),) for at, part in enumerate(parts[:3])]
    plain = f"   ({shown.expression})" if shown.expression != typed else ""
    return [(("ok   ", "good"), (cut(shown.words + plain, cells - 5), ""))]


def run_lines(shown: Preview, now: datetime, here: tzinfo, number: int) -> list[Line]:
    """Return the next runs in the zone of the schedule and in the operator's."""
    runs = shown.runs[:number]
    place = _place(shown.zone)
    close = any(later - sooner < timedelta(minutes=1) for sooner, later in pairwise(runs))
    clock = "%H:%M:%S" if close or any(run.second for run in runs) else "%H:%M"
    lines: list[Line] = []
    for at, run in enumerate(runs):
        note = f"in {apart((run - now).total_seconds())}" if at == 0 else ""
        if _offset(run, place) != _offset(runs[0], place):
            note = "(clock moved)"
        lines.append(_run(run, place, here, clock, note))
    return lines


def moved_line(shown: Preview, here: tzinfo) -> list[Line]:
    """Return the first run after the clock of the zone was moved, where that comes later than the
    runs that are shown; nothing where it never is.
    """
    place, run = _place(shown.zone), shown.moved
    if run is None or run in shown.runs:
        return []
    day = f"%Y {'%H:%M:%S' if run.second else '%H:%M'}"
    line = _run(run, place, here, day, "(clock moved)")
    return [(("DST  ", "warn"), *line)]


def _run(run: datetime, place: tzinfo, here: tzinfo, clock: str, note: str) -> Line:
    there, mine = run.astimezone(place), run.astimezone(here)
    day = "" if mine.date() == there.date() else mine.strftime("%a ")
    text = there.strftime(f"%a %d %b {clock} %Z").ljust(22) + "  "
    text += f"{day}{mine.strftime(clock.removeprefix('%Y '))} {mine:%Z}".ljust(14) + "  "
    return ((text, ""), (note, "dim"))


def _offset(run: datetime, place: tzinfo) -> timedelta | None:
    return run.astimezone(place).utcoffset()


def _place(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def lint_lines(found: Iterable[Lint], cells: int) -> list[Line]:
    """Return findings, warnings first: short ones share a line, long ones go on in the next."""
    lines: list[Line] = []
    for each in sorted(found, key=_rank):
        sign, style = SIGNS[each.level]
        spans: tuple[Span, ...] = ((sign, style), (each.text, "warn" if style == "warn" else ""))
        used = line_width(lines[-1]) if lines else cells
        if used + 3 + width(sign + each.text) <= cells:
            lines[-1] = (*lines[-1], ("   ", ""), *spans)
            continue
        first, *rest = prose(each.text, cells - len(sign))
        lines.append((spans[0], (first, spans[1][1])))
        lines += [((" " * len(sign) + part, spans[1][1]),) for part in rest]
    return lines


def _rank(each: Lint) -> tuple[bool, int]:
    place = FIRST.index(each.code) if each.code in FIRST else len(FIRST)
    return each.level != "warn", place


def change_lines(was: ScheduleSpec | None, shown: Preview | None, cells: int) -> list[Line]:
    """Return the old and the new time, where they differ."""
    if was is None or shown is None or not shown.ok:
        return []
    if (was.expression, was.zone) == (shown.expression, shown.zone):
        return []
    old, new = f"- {was.expression}   {was.zone}", f"+ {shown.expression}   {shown.zone}"
    if width(old) + width(new) + 4 <= cells:
        return [((old, "bad"), ("    ", ""), (new, "good"))]
    return [((cut(old, cells), "bad"),), ((cut(new, cells), "good"),)]
