"""What to mind about a schedule: how often it fires, changes of the clock, traps, and company."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from qdeck.admin.cronview import Lint
from qdeck.cron import Cron
from qdeck.cronfield import Field
from qdeck.zone import Stretch, find_zone, timeline

__all__ = ["clock_moves", "lint"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_YEAR = 365 * _DAY
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

#: So many others at one instant are worth a warning.
_CROWD = 5
#: The coming runs that are compared with those of others.
_COMPARED = 5


def lint(
    cron: Cron,
    zone: str | ZoneInfo,
    others: Iterable[tuple[str, Cron, str | ZoneInfo]] = (),
    now: datetime | None = None,
) -> tuple[Lint, ...]:
    """Returns findings about a schedule, how often it fires first.

    `others` are (name, expression, zone) of the other schedules; `now` is aware. Raises
    `SettingsError` for an unknown zone.
    """
    moment = datetime.now(UTC) if now is None else now.astimezone(UTC)
    place = find_zone(zone) if isinstance(zone, str) else zone
    first = cron.after(moment, place)
    if first is None:
        return (Lint("warn", "never", "never fires within 50 years"),)
    return (
        _frequency(cron, moment),
        *_either(cron),
        *_uneven(cron),
        *_short_months(cron),
        *_clock(cron, place, moment),
        *_company(cron, place, others, moment),
    )


def _frequency(cron: Cron, now: datetime) -> Lint:
    """Returns how often it fires, in the largest unit that is the same all year."""
    daily = cron.an_hour * len(cron.field("hour").values)
    day, month, weekday = map(cron.field, ("day", "month", "weekday"))
    if month.any and day.any and not weekday.any and weekday.values:
        count, unit = daily * len(weekday.values), "week"
    elif month.any and day.any and weekday.any:
        count, unit = daily, "day"
        if daily == 24 * cron.an_hour and daily > 24:
            count, unit = cron.an_hour, "hour"
    elif month.any and weekday.any and all(each <= 28 for each in day.values):
        count, unit = daily * max(1, len(day.values) + day.last), "month"
    else:
        days = Cron.parse(" ".join(["0 0", *(part.plain for part in cron.fields[-3:])]))
        count, unit = daily * sum(1 for _ in days.slots(now, now + _YEAR, "UTC", 400)), "year"
    if not count:
        return Lint("info", "rare", "fires in some years only")
    times = "once" if count == 1 else f"{count:,} times"
    return Lint("ok", "frequency", f"fires {times} {'an' if unit == 'hour' else 'a'} {unit}")


def _either(cron: Cron) -> Iterator[Lint]:
    """Yields the trap that a day and a weekday together mean either."""
    day, weekday = cron.field("day"), cron.field("weekday")
    plain = not any(mark in weekday.plain + day.plain for mark in "#w")
    if not day.any and not weekday.any and plain:
        names = ", ".join(_WEEKDAYS[each] for each in weekday.values) or weekday.text
        yield Lint(
            "warn",
            "day-or-weekday",
            f"day {day.text} OR weekday: fires on day {day.text} of the month and on every {names}",
        )


def _uneven(cron: Cron) -> Iterator[Lint]:
    """Yields steps that do not divide what they step through."""
    for field, unit in ((cron.field(name), name) for name in ("second", "minute", "hour")):
        size = field.kind.high + 1
        if field.step < 2 or not field.text.startswith(("*/", "0/")) or "," in field.text:
            continue
        if field.step >= size:
            yield Lint(
                "warn", "step", f"{unit} {field.text} fires at {unit} 0 only: the step is too large"
            )
        elif size % field.step:
            rest = size - field.values[-1]
            whole = {"second": "minute", "minute": "hour", "hour": "day"}[unit]
            yield Lint(
                "warn",
                "uneven",
                f"{unit} {field.text} is uneven: after {unit} {field.values[-1]} the next is"
                f" {rest} {unit}{'s' if rest > 1 else ''} later, at each full {whole}",
            )
    day = cron.field("day")
    if day.step > 1 and day.text.startswith(("*/", "1/")):
        yield Lint("info", "uneven", f"day {day.text} starts again on day 1 of each month")


def _short_months(cron: Cron) -> Iterator[Lint]:
    """Yields days that some months do not have."""
    day, month = cron.field("day"), cron.field("month")
    if month.values == (2,):
        return
    if day.values and not day.any and day.interval is False and cron.field("weekday").any:
        short = [each for each in day.values if each > _least(month)]
        if short and not day.last:
            yield Lint(
                "warn", "short-month", f"no run in months without day {short[0]}; L is the last day"
            )


def _least(month: Field) -> int:
    """Returns the least number of days of the months of a field."""
    lengths = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return min(lengths[number - 1] for number in month.values)


def clock_moves(zone: ZoneInfo, now: datetime) -> Iterator[Stretch]:
    """Yields what begins with each change of the clock within a year."""
    line = timeline(zone)
    moment, last = (int((each - _EPOCH).total_seconds()) for each in (now, now + _YEAR))
    while moment < last:
        stretch = line.stretch(moment)
        if stretch.start > moment - 1 and stretch.offset != stretch.before:
            yield stretch
        moment = stretch.end


def _clock(cron: Cron, zone: ZoneInfo, now: datetime) -> Iterator[Lint]:
    """Yields how the next changes of the clock touch it."""
    days = []
    touched = False
    for change in clock_moves(zone, now):
        at = _EPOCH + timedelta(seconds=change.start)
        day = at.astimezone(zone).date().isoformat()
        days.append(day)
        low, high = sorted((change.start + change.before, change.start + change.offset))
        walls = _walls(cron, low, high)
        if not walls:
            continue
        touched = True
        time = walls[0].strftime("%H:%M")
        if change.offset > change.before:
            after = at.astimezone(zone).strftime("%H:%M %Z")
            merged = _at(cron, at, zone) and _walls(cron, high, high + 1)
            what = f"runs at {after}, " + ("as it does anyway" if merged else "once")
            if cron.steady:
                what = "keeps its pace over the gap"
            mild = cron.steady or merged
            text = f"{time} does not exist on {day}: {what}"
            yield Lint("info" if mild else "warn", "dst-gap", text)
        else:
            text = f"{time} comes twice on {day}: " + (
                "fires in both passes" if cron.repeats else "runs the first time only"
            )
            yield Lint("info" if cron.repeats else "warn", "dst-twice", text)
    if days and not touched:
        yield Lint("ok", "dst", f"not affected by the clock changes of {' and '.join(days)}")


def _walls(cron: Cron, low: int, high: int) -> list[datetime]:
    """Returns the first wall time of an expression in [low, high), in seconds."""
    start = _EPOCH + timedelta(seconds=low)
    end = _EPOCH + timedelta(seconds=high)
    return list(cron.slots(start, end, "UTC", 1))


def _company(
    cron: Cron,
    zone: ZoneInfo,
    others: Iterable[tuple[str, Cron, str | ZoneInfo]],
    now: datetime,
) -> Iterator[Lint]:
    """Yields the coming instant that most others share, or that none of them shares the next."""
    known = [(each, find_zone(at) if isinstance(at, str) else at) for _, each, at in others]
    most, when = 0, now
    slots = list(cron.slots(now, now + _YEAR, zone, _COMPARED))
    for slot in slots:
        count = sum(1 for each, at in known if _at(each, slot, at))
        if count > most:
            most, when = count, slot
    if most:
        schedules = "1 other schedule starts" if most == 1 else f"{most} other schedules start"
        day = "" if when - now < _DAY else f" on {when:%Y-%m-%d}"
        yield Lint(
            "warn" if most >= _CROWD else "info", "pile-up", f"{schedules} at {when:%H:%M} UTC{day}"
        )
    elif known and slots:
        yield Lint("ok", "alone", f"no other schedule starts at {slots[0]:%H:%M} UTC")


def _at(cron: Cron, slot: datetime, zone: ZoneInfo) -> bool:
    """Whether an expression fires at an instant; looks at the cheap fields first."""
    wall = slot.astimezone(zone)
    hours, minutes, seconds = cron.clocks
    if wall.minute not in minutes or wall.hour not in hours or wall.second not in seconds:
        return False
    return cron.after(slot - timedelta(seconds=1), zone) == slot
