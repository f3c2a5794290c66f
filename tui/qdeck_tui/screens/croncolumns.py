"""The columns of schedules, and the words and signs for what became of their runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from qdeck.admin import ScheduleRow, SlotRow
from qdeck_tui.desk import Console
from qdeck_tui.format import age, apart, moment
from qdeck_tui.widgets.table import Cell, Column

__all__ = [
    "LATE",
    "count_late",
    "day_clock",
    "history_signs",
    "is_late",
    "outcome_word",
    "ran_late",
    "schedule_columns",
    "schedule_match",
    "schedule_soonest",
    "was_late",
]

#: Seconds from which a slot that nobody handled is late; workers look once a second.
LATE = 10.0
FAR = 1e12

_SIGNS = {
    "completed": ".",
    "dead": "x",
    "cancelled": "c",
    "missed": "-",
    "overlap": "o",
    "unique": "o",
    "running": "+",
    "pending": "+",
    "scheduled": "+",
    "retrying": "+",
}
_WORDS: dict[str, Cell] = {
    "completed": ("ok", "good"),
    "dead": ("FAIL", "bad"),
    "retrying": ("retrying", "warn"),
    "missed": ("missed", "warn"),
    "overlap": ("overlap", "warn"),
    "unique": ("held", "warn"),
    "cancelled": ("cancelled", "warn"),
}


def day_clock(at: datetime, zone: tzinfo) -> str:
    """Return a weekday and a time: `Mon 23 Nov 09:00`."""
    return at.astimezone(zone).strftime("%a %d %b %H:%M")


def _short_clock(at: datetime, console: Console) -> str:
    """Return a weekday and a time within a week, else a day and a month."""
    near = abs((at - console.now).total_seconds()) < 7 * 86_400
    return at.astimezone(console.zone).strftime("%a %H:%M" if near else "%d %b %y")


def is_late(row: ScheduleRow) -> bool:
    """Whether its next slot is due and nobody handles it."""
    return row.late_s is not None and row.late_s >= LATE


def count_late(rows: Sequence[ScheduleRow]) -> int:
    """Return how many are late now, or were with their last slot."""
    return sum(1 for row in rows if is_late(row) or was_late(row))


def was_late(row: ScheduleRow) -> bool:
    """Whether the last slot of a schedule ran late."""
    return bool(row.history) and ran_late(row.history[0])


def ran_late(slot: SlotRow) -> bool:
    """Whether a slot became a job that ended well, but late."""
    return slot.outcome == "completed" and (slot.late_s or 0.0) >= LATE


def history_signs(history: tuple[SlotRow, ...], number: int) -> str:
    """Return a sign for each of the newest slots, the newest last."""
    return "".join(
        "L" if ran_late(slot) else _SIGNS.get(slot.outcome, "?")
        for slot in reversed(history[:number])
    )


def outcome_word(outcome: str | None) -> Cell:
    """Return what became of a slot in a word."""
    if outcome is None:
        return ("-", "dim")
    return _WORDS.get(outcome, outcome)


def schedule_match(row: ScheduleRow) -> str:
    """Return the text that a filter looks in: the name, and what is odd about it."""
    words = [row.name]
    words += ["off"] if not row.enabled else []
    words += ["late"] if count_late([row]) else []
    words += ["drifted"] if row.drifted else []
    return " ".join(words)


def schedule_soonest(row: ScheduleRow) -> float:
    """Return how soon a schedule wants to be seen: late ones first, then by their next run."""
    if is_late(row):
        return FAR + (row.late_s or 0.0)
    if row.fault:
        return FAR
    at = row.next_slot or row.disabled_until
    return -FAR if at is None else -at.timestamp()


def schedule_columns(
    console: Callable[[], Console], *, brief: bool = False
) -> list[Column[ScheduleRow]]:
    """Return the columns of schedules; `brief` ones leave room for what stands beside the list."""

    def zone(row: ScheduleRow) -> Cell:
        return (row.zone if brief else row.zone.rpartition("/")[2].replace("_", " "), "dim")

    def coming(row: ScheduleRow) -> Cell:
        if not row.enabled:
            return (_off(row, console(), brief), "warn")
        if is_late(row):
            return (f"LATE {age(row.late_s)}", "bad")
        if row.next_slot is None:
            return "?"
        if brief:
            return f"in {apart((row.next_slot - console().now).total_seconds())}"
        return moment(row.next_slot, console().now, console().zone)

    def last(row: ScheduleRow) -> Cell:
        if row.fault:
            return ("FAULT", "bad")
        if was_late(row):
            return (f"LATE {age(row.history[0].late_s)}", "warn")
        return outcome_word(row.last_outcome)

    def note(row: ScheduleRow) -> Cell:
        return ("drifted", "warn") if row.drifted else ("code" if row.declared else "", "dim")

    return [
        Column("NAME", 14, lambda r: r.name, flex=True, keep=10, sort=lambda r: r.name,
               falling=False),
        Column("EXPRESSION", 13, lambda r: r.expression, flex=True, keep=9),
        Column("ZONE", 13 if brief else 8, zone, keep=5, sort=lambda r: r.zone, falling=False),
        Column("NEXT", 12 if brief else 19, coming, keep=8, falling=False,
               sort=lambda r: -schedule_soonest(r)),
        Column("LAST", 8, last, keep=7, sort=lambda r: r.last_outcome or "", falling=False),
        Column("8 RUNS", 8, lambda r: history_signs(r.history, 8), keep=6),
        Column("NOTE", 7, note, keep=2),
        Column("QUEUE", 10, lambda r: r.queue, keep=1, sort=lambda r: r.queue, falling=False),
    ]  # fmt: skip


def _off(row: ScheduleRow, console: Console, brief: bool) -> str:
    """Return that a schedule is off, and until when: `off until Mon 09:00`, brief `off>Mon 09`."""
    until = row.disabled_until
    if until is None:
        return "off"
    at = _short_clock(until, console)
    return f"off>{at.removesuffix(':00')}" if brief else f"off until {at}"
