"""The values of cron expressions before they fire: what one means, when it runs, what to mind, and
what all of them together will start.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qdeck.admin.frozen import dataclass

__all__ = ["Ahead", "AheadHour", "Lint", "LintLevel", "Preview"]

LintLevel = Literal["ok", "info", "warn"]


@dataclass(frozen=True, slots=True)
class Lint:
    """One finding about a schedule: how much it matters, a stable code, and one line of text."""

    level: LintLevel
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What an expression in a zone would do.

    `expression` is the cron form of what was typed (plain words become one). When `ok` is False,
    `error` says why in one line and `field` names the part at fault (`minute`, `hour`, `day`,
    `month`, `weekday`, `second`, `zone`, or "" for the whole); `words`, `fields` and `runs` are
    then empty.
    `fields` are (name, meaning) in the order of the expression, `runs` the next slots in aware UTC,
    `moved` the first slot after the zone's clock is next moved, None where it is not within a year.
    """

    ok: bool
    expression: str
    zone: str
    error: str = ""
    field: str = ""
    words: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    runs: tuple[datetime, ...] = ()
    lint: tuple[Lint, ...] = ()
    moved: datetime | None = None


@dataclass(frozen=True, slots=True)
class AheadHour:
    """One coming hour, from `at` on: how many schedules fire in it, and how many jobs they make."""

    at: datetime
    schedules: int
    runs: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """What all enabled schedules will start, hour by hour.

    `peak` is the minute in which the most of them start `together`, the first of several, and
    `names` are up to 8 of those. `left_out` counts schedules beyond the 1,000 that are looked at.
    """

    hours: tuple[AheadHour, ...]
    peak: datetime | None = None
    together: int = 0
    names: tuple[str, ...] = ()
    left_out: int = 0
