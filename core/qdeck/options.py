"""What each setting may hold: one row a setting, and the rules for names.

Owns the parsing of a raw value (text from the environment, TOML or Python) into its type; knows no
source and no precedence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdeck.errors import SettingsError

__all__ = [
    "CHECKS",
    "CONNECTIONS",
    "OPTIONS",
    "Limit",
    "Parse",
    "check_limits",
    "check_name",
    "check_thresholds",
]

CONNECTIONS = ("embedded", "memory", "redis", "sync")

Parse = Callable[[str, Any], Any]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_TASK = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_WORDS = {"true": True, "1": True, "yes": True, "on": True}
_WORDS |= {"false": False, "0": False, "no": False, "off": False}
_DAY = 86400.0
_YEARS = 3650 * _DAY


@dataclass(frozen=True, slots=True)
class Limit:
    """A queue's ceilings over all workers: jobs running at once, and starts a second."""

    limit: int | None = None
    rate: float | None = None


def check_name(kind: str, value: object) -> str:
    """Returns a queue, prefix, task or schedule name that is allowed; raises SettingsError.

    Letters, digits and `_ . -`, in task and schedule names also `:`; 1 to 100 characters.
    """
    pattern, extra = (_TASK, " :") if kind in ("task", "schedule") else (_NAME, "")
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        raise SettingsError(
            f"{kind} name {shown} is not usable: write 1 to 100 letters, digits and _ . -{extra}"
        )
    return value


def _wrong(label: str, raw: Any, allowed: str) -> SettingsError:
    shown = repr(raw) if len(repr(raw)) <= 100 else repr(raw)[:97] + "..."
    return SettingsError(f"{label} = {shown} must be {allowed}")


def _number(low: float, high: float) -> Parse:
    def parse(label: str, raw: Any) -> float:
        value = math.nan
        if isinstance(raw, (int, float, str)) and not isinstance(raw, bool):
            try:
                value = float(raw)
            except (ValueError, OverflowError):
                value = math.nan
        if not low <= value <= high:
            raise _wrong(label, raw, f"a number from {low:.9g} to {high:.9g}")
        return value

    return parse


def _whole(low: int, high: int) -> Parse:
    def parse(label: str, raw: Any) -> int:
        value = None
        text = "" if isinstance(raw, bool) else str(raw).strip()
        if re.fullmatch(r"[+-]?[0-9]{1,18}(\.0+)?", text):
            value = int(text.partition(".")[0])
        if value is None or not low <= value <= high:
            raise _wrong(label, raw, f"a whole number from {low} to {high}")
        return value

    return parse


def _flag(label: str, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower()
    if not isinstance(raw, (str, int)) or word not in _WORDS:
        raise _wrong(label, raw, "one of true, false, 1, 0, yes, no, on, off")
    return _WORDS[word]


def _one_of(*words: str, none: bool = False) -> Parse:
    def parse(label: str, raw: Any) -> str | None:
        word = raw.strip().lower() if isinstance(raw, str) else raw
        if none and word == "none":
            return None
        if word not in words:
            raise _wrong(label, raw, f"one of {', '.join((*words, 'none') if none else words)}")
        return str(word)

    return parse


def _name(kind: str) -> Parse:
    def parse(label: str, raw: Any) -> str:
        try:
            return check_name(kind, raw.strip() if isinstance(raw, str) else raw)
        except SettingsError as error:
            raise SettingsError(f"{label}: {error}") from None

    return parse


def _list(label: str, raw: Any) -> tuple[str, ...]:
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise _wrong(label, raw, "text, or a list of texts")
    return tuple(item.strip() for item in items if item.strip())


def _queues(label: str, raw: Any) -> tuple[str, ...]:
    found = _list(label, raw)
    for item in found:
        queue, colon, weight = item.partition(":")
        _name("queue")(label, queue)
        if colon and not (re.fullmatch(r"[0-9]{1,4}", weight) and 1 <= int(weight) <= 1000):
            raise _wrong(label, item, "queue or queue:weight with a weight from 1 to 1000")
    return found


def _path(label: str, raw: Any) -> Path:
    if not isinstance(raw, (str, Path)):
        raise _wrong(label, raw, "a path")
    return Path(raw).expanduser()


OPTIONS: Mapping[str, Parse] = {
    "connection": _one_of(*CONNECTIONS),
    "default": _name("queue"),
    "prefix": _name("prefix"),
    "name": _queues,
    "block_timeout": _number(0.05, 300),
    "max_concurrent": _whole(1, 10_000),
    "workers": _whole(1, 256),
    "enabled": _flag,
    "max_retries": _whole(0, 1000),
    "retry_backoff": _number(0, _DAY),
    "timeout": _number(0.01, 30 * _DAY),
    "lease": _number(0.1, 3600),
    "grace": _number(0, _DAY),
    "durability": _one_of("replica", "fsync", none=True),
    "allow_eviction": _flag,
    "keep_completed": _number(0, _YEARS),
    "keep_completed_max": _whole(0, 10_000_000),
    "keep_dead": _number(0, _YEARS),
    "keep_dead_max": _whole(0, 10_000_000),
    "unknown_task_grace": _number(0, _YEARS),
    "max_size": _whole(0, 1_000_000_000),
    "log_budget": _whole(0, 1 << 40),
    "stuck_exit": _number(0, _DAY),
    "server_binary": _path,
    "app": _list,
}


def check_limits(raw: Any, place: str) -> dict[str, Limit]:
    """Returns the limits by queue; `raw` maps queue to Limit or to a table of limit and rate."""
    if not isinstance(raw, Mapping):
        raise SettingsError(f"limits in {place} must be tables: [limits.<queue>]")
    found = {}
    for queue, value in raw.items():
        label = f"limits.{queue} in {place}"
        _name("queue")(label, queue)
        table = {"limit": value.limit, "rate": value.rate} if isinstance(value, Limit) else value
        if not isinstance(table, Mapping) or set(table) - {"limit", "rate"}:
            raise _wrong(
                label, value, "a table with limit (jobs at once) and rate (starts a second)"
            )
        limit, rate = table.get("limit"), table.get("rate")
        found[queue] = Limit(
            None if limit is None else _whole(1, 1_000_000)(f"{label}: limit", limit),
            None if rate is None else _number(0.001, 1_000_000)(f"{label}: rate", rate),
        )
    return found


#: What `qdeck check` compares with: beyond `warn_x` is a warning, beyond `x` critical.
CHECKS: Mapping[str, Parse] = {
    name: parse
    for thing, parse in (
        ("age", _number(0, _YEARS)),
        ("dead", _whole(0, 1_000_000_000)),
        ("lost", _whole(0, 1_000_000)),
        ("late", _number(0, _YEARS)),
        ("pending", _whole(0, 1_000_000_000)),
        ("failing", _number(0, 1)),
    )
    for name in (f"warn_{thing}", thing)
} | {"paused": _one_of("ok", "warning", "critical")}


def check_thresholds(raw: Any, place: str) -> dict[str, Any]:
    """Returns the thresholds of `[check]`; raises SettingsError for one that is not known."""
    if not isinstance(raw, Mapping):
        raise SettingsError(f"check in {place} must be a table")
    for name in raw:
        if name not in CHECKS:
            raise SettingsError(
                f"unknown threshold {name!r} in [check] of {place} (allowed: "
                f"{', '.join(sorted(CHECKS))})"
            )
    return {name: CHECKS[name](f"check.{name} in {place}", value) for name, value in raw.items()}
