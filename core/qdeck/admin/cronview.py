"""The values of a cron expression before it is saved: what it means, when it runs, what to mind."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qdeck.admin.frozen import dataclass

__all__ = ["Lint", "LintLevel", "Preview"]

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
    `fields` are (name, meaning) in the order of the expression, `runs` the next slots in aware UTC.
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
