"""What an expression would do, before it is saved: never an exception, always a `Preview`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from qdeck.admin.cronview import Preview
from qdeck.cron import Cron
from qdeck.cronlint import clock_moves, lint
from qdeck.cronwords import describe, describe_field, parse_words
from qdeck.errors import InvalidCron, SettingsError
from qdeck.zone import find_zone

__all__ = ["preview"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def preview(
    text: str,
    zone: str = "UTC",
    others: Iterable[tuple[str, Cron, str | ZoneInfo]] = (),
    now: datetime | None = None,
    count: int = 5,
) -> Preview:
    """Returns what an expression or plain words would do in a zone: the next `count` runs after
    `now` (aware), words, and findings, with `others` as (name, expression, zone).
    """
    expression = parse_words(text) or " ".join(text.split())
    moment = datetime.now(UTC) if now is None else now
    try:
        cron = Cron.parse(expression)
    except InvalidCron as error:
        why = str(error)
        if not text.strip():
            why = "no expression yet; write five fields, @daily, or words such as `mon 9:00`"
        return Preview(False, expression, zone, why, error.field)
    try:
        place = find_zone(zone)
    except SettingsError as error:
        return Preview(False, expression, zone, str(error), "zone")
    runs: list[datetime] = []
    slot = cron.after(moment, place)
    while slot is not None and len(runs) < count:
        runs.append(slot)
        slot = cron.after(slot, place)
    return Preview(
        True,
        expression,
        zone,
        words=describe(cron),
        fields=tuple((field.kind.name, describe_field(field)) for field in cron.fields),
        runs=tuple(runs),
        lint=lint(cron, place, others, moment),
        moved=_after_the_clock(cron, place, moment),
    )


def _after_the_clock(cron: Cron, place: ZoneInfo, now: datetime) -> datetime | None:
    """Returns the first slot after the clock of a zone is next moved; None without such a move."""
    move = next(clock_moves(place, now), None)
    if move is None:
        return None
    return cron.after(_EPOCH + timedelta(seconds=move.start - 1), place)
