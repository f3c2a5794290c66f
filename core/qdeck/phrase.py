"""How numbers, times and names stand in sentences for operators."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

__all__ = ["jobs", "since_when", "some", "span"]


def jobs(number: int) -> str:
    """Return so many jobs."""
    return f"{number:,} job" if number == 1 else f"{number:,} jobs"


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def span(seconds: float) -> str:
    """Return a length of time in its largest unit, in tenths below 2 s and ms below 0.1 s."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    if 0 < seconds < 0.1:
        return f"{max(1, round(seconds * 1000))}ms"
    return f"{int(seconds)}s" if seconds >= 2 or seconds == int(seconds) else f"{seconds:.1f}s"


def since_when(since: datetime | None) -> str:
    """Return since when, as the end of a sentence; empty where that is not known."""
    return f" since {since:%H:%M} UTC" if since is not None else ""
