"""On which terms a job is enqueued: when, where, how urgent, how often, and once only.

Owns the frozen `Options` of one enqueue and the checks of each term, which tasks share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from string import Formatter
from typing import Any, Final

import msgspec

from qdeck.backoff import LONGEST_DELAY, as_backoff
from qdeck.errors import SettingsError
from qdeck.job import parse_priority
from qdeck.options import check_name

__all__ = [
    "NO_OPTIONS",
    "Options",
    "check_aware",
    "check_expires",
    "check_metadata",
    "check_retries",
    "check_seconds",
    "check_template",
    "check_terms",
    "check_timeout",
    "check_unique",
    "make_options",
]

#: A task may ask for this many more runs at most.
MOST_RETRIES: Final = 1_000_000
#: A job's metadata may have this many bytes of JSON.
METADATA_BYTES: Final = 64 * 1024


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What one enqueue says differently from its task; None where it says nothing.

    `delay` and `timeout` are seconds, `at` is aware, `expires` is seconds or aware, `priority` is a
    number. `unique` is a key, True for "by arguments", or False for "not this time".
    """

    delay: float | None = None
    at: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    expires: float | datetime | None = None
    unique: bool | str | None = None
    unique_for: float | None = None
    metadata: dict[str, Any] | None = None
    max_retries: int | None = None
    timeout: float | None = None


NO_OPTIONS: Final = Options()


def make_options(
    base: Options = NO_OPTIONS,
    *,
    delay: float | None = None,
    at: datetime | None = None,
    queue: str | None = None,
    priority: int | str | None = None,
    expires: float | datetime | None = None,
    unique: bool | str | None = None,
    unique_for: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    max_retries: int | None = None,
    timeout: float | None = None,
) -> Options:
    """Return `base` with the given options on top; None leaves what `base` says.

    Raises SettingsError naming the option, its value and what is allowed.
    """
    changes: dict[str, Any] = {}
    if delay is not None:
        changes["delay"] = check_seconds("delay", delay)
        changes["at"] = None
    if at is not None:
        if delay is not None:
            raise SettingsError(f"delay {delay!r} and at {at} exclude each other; give one")
        changes["at"] = check_aware("at", at)
        changes["delay"] = None
    if queue is not None:
        changes["queue"] = check_name("queue", queue)
    if priority is not None:
        changes["priority"] = parse_priority(priority)
    if expires is not None:
        changes["expires"] = check_expires(expires)
    if unique is not None:
        changes["unique"] = check_unique(unique)
    if unique_for is not None:
        changes["unique_for"] = check_seconds("unique_for", unique_for)
    if metadata is not None:
        changes["metadata"] = check_metadata(metadata)
    if max_retries is not None:
        changes["max_retries"] = check_retries(max_retries)
    if timeout is not None:
        changes["timeout"] = check_timeout(timeout)
    return msgspec.structs.replace(base, **changes) if changes else base


def check_seconds(what: str, value: object) -> float:
    """Return seconds from 0 up to ten years; SettingsError for NaN, infinity and anything else."""
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 <= value <= LONGEST_DELAY
    ):
        return float(value)
    raise SettingsError(
        f"{what} {value!r} is not usable; give seconds from 0 to {LONGEST_DELAY:.0f}"
    )


def check_timeout(value: object) -> float:
    """Return a timeout in seconds, above 0."""
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 < value <= LONGEST_DELAY
    ):
        return float(value)
    raise SettingsError(f"timeout {value!r} is not usable; give seconds above 0")


def check_retries(value: object) -> int:
    """Return how many more runs a failed job gets: a whole number from 0 up."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_RETRIES:
        return value
    raise SettingsError(
        f"max_retries {value!r} is not usable; give a whole number from 0 to {MOST_RETRIES}"
    )


def check_aware(what: str, value: object) -> datetime:
    """Return a time that says its zone."""
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value
    raise SettingsError(
        f"{what} {value!r} is not usable; give an aware datetime, "
        "such as datetime.now(UTC) + timedelta(minutes=5)"
    )


def check_expires(value: object) -> float | datetime:
    """Return when a job that has not started is given up: seconds from its enqueue, or a time."""
    if isinstance(value, datetime):
        return check_aware("expires", value)
    return check_seconds("expires", value)


def check_unique(value: object) -> bool | str:
    """Return a unique key, True for one made of the arguments, or False."""
    if isinstance(value, bool) or (isinstance(value, str) and 0 < len(value) <= 1000):
        return value
    raise SettingsError(
        f"unique {value!r} is not usable; give True (by arguments), or a key of 1 to 1000 "
        "characters"
    )


def check_metadata(value: object) -> dict[str, Any]:
    """Return a job's metadata: a mapping of text to JSON values, at most 64 KiB."""
    try:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise TypeError("the names must be text")
        metadata = dict(value)
        size = len(msgspec.json.encode(metadata))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise SettingsError(
            f"metadata {value!r:.100} is not usable: {error}; give a mapping of text to JSON values"
        ) from None
    if size > METADATA_BYTES:
        raise SettingsError(
            f"metadata has {size} bytes, more than the limit of {METADATA_BYTES}; store the data "
            "elsewhere and give a reference"
        )
    return metadata


def check_terms(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms that a task sets for all of its jobs, checked; None and absent ones are
    left out.

    Knows `name, queue, max_retries, timeout, priority, backoff, unique, unique_for, expires, run`.
    """
    checks: dict[str, Callable[[Any], Any]] = {
        "name": lambda value: check_name("task", value),
        "queue": lambda value: check_name("queue", value),
        "max_retries": check_retries,
        "timeout": check_timeout,
        "priority": parse_priority,
        "backoff": as_backoff,
        "unique": check_unique,
        "unique_for": lambda value: check_seconds("unique_for", value),
        "expires": check_expires,
        "run": _check_run,
    }
    return {
        term: check(given[term]) for term, check in checks.items() if given.get(term) is not None
    }


def check_template(task: str, unique: bool | str, fields: Collection[str]) -> None:
    """Refuse a task's unique key that names something else than its arguments."""
    if not isinstance(unique, str):
        return
    try:
        named = [name for _, name, _, _ in Formatter().parse(unique) if name is not None]
    except ValueError as error:
        raise SettingsError(
            f"task {task!r}: unique {unique!r} is no template: {error}; write a literal brace twice"
        ) from None
    for name in named:
        root = re.split(r"[.\\[]", name, maxsplit=1)[0]
        if root not in fields:
            raise SettingsError(
                f"task {task!r}: unique {unique!r} names {name!r}; its arguments are: "
                f"{', '.join(fields) or 'none'}"
            )


def _check_run(value: object) -> str:
    if value in ("async", "thread", "process"):
        return str(value)
    raise SettingsError(f"run {value!r} is not known; use 'process', or leave it out")
