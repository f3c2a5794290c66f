"""What is said about a schedule: when, in which zone, which task with which payload and options.

Owns the frozen `Plan`, its checks and its JSON, as the server and TOML files keep it. Knows no
server and no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec

from qdeck.cron import Cron
from qdeck.errors import InvalidPayload, SettingsError
from qdeck.options import check_name
from qdeck.payload import refuse_no_numbers
from qdeck.terms import Options, check_seconds, make_options
from qdeck.zone import find_zone

__all__ = [
    "CATCH_UP",
    "Declared",
    "Misfire",
    "Overlap",
    "Plan",
    "Plans",
    "decode_plan",
    "make_plan",
]

Misfire = Literal["skip", "latest", "all"]
Overlap = Literal["allow", "skip"]
#: Seconds for which missed slots are made up for with `misfire="all"`.
CATCH_UP: Final = 3600.0
#: What an enqueue by a schedule may say; when and where is the schedule's.
_OPTIONS: Final = (
    "priority",
    "expires",
    "unique",
    "unique_for",
    "metadata",
    "max_retries",
    "timeout",
)
#: A schedule may be this large as JSON.
_BYTES: Final = 1024 * 1024


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule without its name, its queue and its state; `jitter` and `catch_up` are seconds."""

    expression: str
    task: str
    zone: str = "UTC"
    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    misfire: Misfire = "latest"
    overlap: Overlap = "allow"
    jitter: float = 0.0
    catch_up: float = CATCH_UP

    @property
    def cron(self) -> Cron:
        """The parsed expression; raises InvalidCron."""
        return Cron.parse(self.expression)

    def check(self) -> None:
        """Raise InvalidCron or SettingsError where slots cannot be computed here."""
        Cron.parse(self.expression)
        find_zone(self.zone)

    def terms(self, **more: Any) -> Options:
        """Return its options for one enqueue, with more of them."""
        return make_options(**self.options | more)

    def text(self) -> str:
        """Return it as JSON that is equal for equal plans."""
        return msgspec.json.encode(self, order="deterministic").decode()


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule as code declares it; without a queue it is the task's, or the default one."""

    name: str
    plan: Plan
    queue: str | None = None


class Plans:
    """The schedules that code declares for one task."""

    def __init__(self) -> None:
        self._found: dict[str, Declared] = {}

    def add(self, declared: Declared) -> None:
        """Take a declaration; raises SettingsError where its name is taken."""
        if declared.name in self._found:
            raise SettingsError(
                f"task {declared.plan.task!r} has a schedule {declared.name!r} already; give one "
                "of them another name with name="
            )
        self._found[declared.name] = declared

    def drop(self, name: str) -> None:
        """Forget a declaration."""
        del self._found[name]

    def __iter__(self) -> Iterator[Declared]:
        return iter(self._found.values())


_decode = msgspec.json.Decoder(Plan).decode


def decode_plan(text: str | bytes) -> Plan:
    """Return a stored plan; raises SettingsError where it is not readable."""
    try:
        return _decode(text)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"the stored schedule is not readable: {error}; save it anew") from None


def make_plan(
    expression: str,
    task: str,
    *,
    zone: str = "UTC",
    payload: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    misfire: str = "latest",
    overlap: str = "allow",
    jitter: float = 0.0,
    catch_up: float = CATCH_UP,
) -> Plan:
    """Return a plan whose parts have all been checked.

    Raises InvalidCron naming the field, InvalidPayload, or SettingsError naming the part.
    """
    cron = Cron.parse(_text("cron expression", expression))
    find_zone(_text("zone", zone))
    plan = Plan(
        expression=cron.expression,
        task=check_name("task", task),
        zone=zone,
        payload=_payload(task, payload or {}),
        options=_options(options or {}),
        misfire=_word("misfire", misfire, Misfire),
        overlap=_word("overlap", overlap, Overlap),
        jitter=check_seconds("jitter", jitter),
        catch_up=check_seconds("catch_up", catch_up),
    )
    size = len(plan.text())
    if size > _BYTES:
        raise InvalidPayload(
            f"the schedule of task {task} has {size} bytes, more than {_BYTES}; store the data "
            "elsewhere and give a reference"
        )
    return plan


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{what} {value!r} is not usable; give text")
    return value


def _word(what: str, value: object, kind: Any) -> Any:
    if value not in get_args(kind):
        raise SettingsError(f"{what} {value!r} is not known; use {' or '.join(get_args(kind))}")
    return value


def _payload(task: str, given: object) -> dict[str, Any]:
    try:
        if not isinstance(given, Mapping):
            raise TypeError("it is no object of arguments")
        # What is no number would be written as null.
        refuse_no_numbers(task, given)
        value = msgspec.json.decode(msgspec.json.encode(dict(given)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidPayload(
            f'the payload {given!r:.100} is not usable: {error}; give JSON such as {{"to": "a"}}'
        ) from None
    return dict(value)


def _options(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SettingsError(f"options {given!r:.100} are not usable; give names and values")
    for name in given:
        if name not in _OPTIONS:
            raise SettingsError(
                f"a schedule has no option {name!r:.100}; it may have {', '.join(_OPTIONS)}"
            )
    if isinstance(given.get("expires"), (datetime, str)):
        raise SettingsError("expires of a schedule is counted from each slot's job; give seconds")
    chosen = make_options(**given)
    return {name: value for name in _OPTIONS if (value := getattr(chosen, name)) is not None}
