"""On which terms a job is enqueued: when, where, how urgent, how often, how many at once.

Owns the frozen `Options` of one enqueue, the names and types of all that may be said (of one
enqueue `Wishes`, of a task `TaskTerms`), and the checks of each term, which both share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from string import Formatter
from typing import Any, Final, Literal, TypedDict, Unpack

import msgspec

from qdeck.backoff import LONGEST_DELAY, BackoffLike, as_backoff
from qdeck.errors import SettingsError
from qdeck.job import parse_priority
from qdeck.options import check_name
from qdeck.payload import no_number

__all__ = [
    "NO_OPTIONS",
    "Kind",
    "Options",
    "TaskTerms",
    "Wishes",
    "check_aware",
    "check_expires",
    "check_key_limit",
    "check_limit_key",
    "check_metadata",
    "check_retries",
    "check_seconds",
    "check_template",
    "check_terms",
    "check_timeout",
    "check_unique",
    "fill_limit_key",
    "make_options",
]

#: A task may ask for this many more runs at most.
MOST_RETRIES: Final = 1_000_000
#: A key of a limit may have this many characters, and let this many jobs run at once.
KEY_CHARACTERS: Final = 200
MOST_OF_A_KEY: Final = 1000
#: A job's metadata may have this many bytes of JSON.
METADATA_BYTES: Final = 64 * 1024


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What one enqueue says differently from its task; None where it says nothing.

    `delay` and `timeout` are seconds, `at` is aware, `expires` is seconds or aware, `priority` is a
    number. `unique` is a key, True for "by arguments", or False for "not this time". At most
    `key_limit` jobs with the same `limit_key` run at once in a queue; "" is no key this time.
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
    limit_key: str | None = None
    key_limit: int | None = None


NO_OPTIONS: Final = Options()

#: Where a handler runs.
Kind = Literal["async", "thread", "process"]


class Wishes(TypedDict, total=False):
    """What may be said of one enqueue, as keywords; None and absent say nothing (see `Options`)."""

    delay: float | None
    at: datetime | None
    queue: str | None
    priority: int | str | None
    expires: float | datetime | None
    unique: bool | str | None
    unique_for: float | None
    metadata: Mapping[str, Any] | None
    max_retries: int | None
    timeout: float | None
    limit_key: str | None
    key_limit: int | None


class TaskTerms(TypedDict, total=False):
    """What may be said of a task and holds for all of its jobs, as keywords; None says nothing."""

    name: str | None
    queue: str | None
    max_retries: int | None
    timeout: float | None
    priority: int | str | None
    backoff: BackoffLike | None
    unique: bool | str | None
    unique_for: float | None
    expires: float | datetime | None
    limit_key: str | None
    key_limit: int | None
    run: Kind | None


def make_options(base: Options = NO_OPTIONS, /, **wishes: Unpack[Wishes]) -> Options:
    """Return `base` with the given options on top; None leaves what `base` says.

    Raises SettingsError naming the option, its value and what is allowed.
    """
    changes = _checked("option", wishes, _OPTION_CHECKS)
    if "delay" in changes and "at" in changes:
        raise SettingsError(
            f"delay {wishes['delay']!r} and at {wishes['at']} exclude each other; give one"
        )
    if "delay" in changes:
        changes["at"] = None
    elif "at" in changes:
        changes["delay"] = None
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
        f"{what} {value!r:.100} is not usable; give seconds from 0 to {LONGEST_DELAY:.0f}"
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
    raise SettingsError(f"timeout {value!r:.100} is not usable; give seconds above 0")


def check_retries(value: object) -> int:
    """Return how many more runs a failed job gets: a whole number from 0 up."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_RETRIES:
        return value
    raise SettingsError(
        f"max_retries {value!r:.100} is not usable; give a whole number from 0 to {MOST_RETRIES}"
    )


def check_aware(what: str, value: object) -> datetime:
    """Return a time that says its zone."""
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value
    raise SettingsError(
        f"{what} {value!r:.100} is not usable; give an aware datetime, "
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
        f"unique {value!r:.100} is not usable; give True (by arguments), or a key of 1 to 1000 "
        "characters"
    )


def check_limit_key(value: object) -> str:
    """Return the key whose jobs are limited together: at most 200 characters, "" for none."""
    if isinstance(value, str) and len(value) <= KEY_CHARACTERS and "\n" not in value:
        return value
    raise SettingsError(
        f"limit_key {value!r:.100} is not usable; give one line of at most {KEY_CHARACTERS} "
        "characters"
    )


def check_key_limit(value: object) -> int:
    """Return how many jobs with one key may run at once: a whole number from 1 to 1000."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_OF_A_KEY:
        return value
    raise SettingsError(
        f"key_limit {value!r:.100} is not usable; give a whole number from 1 to {MOST_OF_A_KEY}"
    )


def check_metadata(value: object) -> dict[str, Any]:
    """Return a job's metadata: a mapping of text to JSON values, at most 64 KiB."""
    try:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise TypeError("the names must be text")
        metadata = dict(value)
        raw = msgspec.json.encode(metadata)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise SettingsError(
            f"metadata {value!r:.100} is not usable: {error}; give a mapping of text to JSON values"
        ) from None
    # What is no number is written like nothing.
    problem = no_number(metadata) if b"null" in raw else ""
    if problem:
        raise SettingsError(f"metadata {problem}")
    if len(raw) > METADATA_BYTES:
        raise SettingsError(
            f"metadata has {len(raw)} bytes, more than the limit of {METADATA_BYTES}; store the "
            "data elsewhere and give a reference"
        )
    return metadata


def check_terms(terms: TaskTerms) -> dict[str, Any]:
    """Return the terms that a task sets for all of its jobs, checked; None and absent ones are
    left out.
    """
    return _checked("term", terms, _TERM_CHECKS)


def _checked(
    what: str, given: Mapping[str, Any], checks: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    """Return what is given and not None, checked, in the order of the checks."""
    if not given.keys() <= checks.keys():
        unknown = next(name for name in given if name not in checks)
        raise TypeError(f"{what} {unknown!r} is not known; there are {', '.join(checks)}")
    return {
        name: check(given[name]) for name, check in checks.items() if given.get(name) is not None
    }


def check_template(
    task: str, template: bool | str, fields: Collection[str], term: str = "unique"
) -> None:
    """Refuse a task's unique or limit key that names something else than its arguments."""
    if not isinstance(template, str):
        return
    try:
        named = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise SettingsError(
            f"task {task!r}: {term} {template!r} is no template: {error}; "
            "write a literal brace twice"
        ) from None
    for name in named:
        root = re.split(r"[.\\[]", name, maxsplit=1)[0]
        if root not in fields:
            raise SettingsError(
                f"task {task!r}: {term} {template!r} names {name!r}; its arguments are: "
                f"{', '.join(fields) or 'none'}"
            )


def fill_limit_key(task: str, template: str, payload: bytes) -> str:
    """Return the limit key of one job, made of its arguments; raises SettingsError."""
    if "{" not in template and "}" not in template:
        return template
    try:
        found = template.format_map(msgspec.json.decode(payload))
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        raise SettingsError(
            f"task {task!r}: limit_key {template!r} does not fit its arguments: "
            f"{type(error).__name__}: {error}; name arguments in braces, write a literal brace "
            "twice"
        ) from None
    return check_limit_key(found)


def _check_run(value: object) -> str:
    if value in ("async", "thread", "process"):
        return str(value)
    raise SettingsError(f"run {value!r} is not known; use 'process', or leave it out")


_OPTION_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "delay": lambda value: check_seconds("delay", value),
    "at": lambda value: check_aware("at", value),
    "queue": lambda value: check_name("queue", value),
    "priority": parse_priority,
    "expires": check_expires,
    "unique": check_unique,
    "unique_for": lambda value: check_seconds("unique_for", value),
    "metadata": check_metadata,
    "max_retries": check_retries,
    "timeout": check_timeout,
    "limit_key": check_limit_key,
    "key_limit": check_key_limit,
}
_TERM_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": lambda value: check_name("task", value),
    "backoff": as_backoff,
    "run": _check_run,
    **{term: _OPTION_CHECKS[term] for term in TaskTerms.__annotations__ if term in _OPTION_CHECKS},
}
