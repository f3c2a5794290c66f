"""Schedules that code declares: made where the task is defined, created on the server when absent.

An operator's edit is never overwritten: a declaration that differs from what is stored is kept
beside it, shows as drifted there, and can be adopted. What fires is what is stored, so that an
older revision of the code fires nothing of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from qdeck.errors import SettingsError
from qdeck.options import check_name
from qdeck.plan import CATCH_UP, Declared, Misfire, Overlap, make_plan
from qdeck.schedule import Note, decode_stored, next_after, store
from qdeck.task import TaskSpec
from qdeck.terms import Options

if TYPE_CHECKING:
    from qdeck.link import Link

__all__ = ["CronMark", "declare_all", "declare_cron"]

F = TypeVar("F", bound=Callable[[], Any])
_log = logging.getLogger("qdeck.worker")
_TRIES: Final = 5


class CronMark:
    """What `cron` returns. As a decorator of a function it names the schedule after the function,
    whose answer (a mapping, or None) becomes the payload.
    """

    def __init__(self, spec: TaskSpec, declared: Declared, named: bool, terms: Any) -> None:
        self._spec, self._named, self._terms = spec, named, terms
        self.declared = declared

    def __call__(self, function: F) -> F:
        """Take name and payload from a function, which stays as it is."""
        name = self.declared.name if self._named else function.__name__
        self._spec.plans.drop(self.declared.name)
        self.declared = _declared(self._spec, name, payload=function(), **self._terms)
        self._spec.plans.add(self.declared)
        return function


def declare_cron(
    spec: TaskSpec,
    chosen: Options,
    expression: str,
    *,
    payload: Mapping[str, Any] | None,
    args: Sequence[Any] = (),
    tz: str = "UTC",
    name: str | None = None,
    misfire: Misfire = "latest",
    overlap: Overlap = "allow",
    jitter: float = 0.0,
    catch_up: float = CATCH_UP,
) -> CronMark:
    """Declare a schedule of a task with the options of one enqueue.

    Raises InvalidCron, InvalidPayload or SettingsError.
    """
    terms: dict[str, Any] = {
        "chosen": chosen,
        "expression": expression,
        "zone": tz,
        "misfire": misfire,
        "overlap": overlap,
        "jitter": jitter,
        "catch_up": catch_up,
    }
    made = _declared(spec, name or spec.name, payload=payload, args=args, **terms)
    spec.plans.add(made)
    return CronMark(spec, made, name is not None, terms)


def _declared(
    spec: TaskSpec,
    name: str,
    *,
    chosen: Options,
    expression: str,
    payload: Mapping[str, Any] | None,
    args: Sequence[Any] = (),
    **terms: Any,
) -> Declared:
    if chosen.delay is not None or chosen.at is not None:
        raise SettingsError(
            f"schedule {name!r}: its slots say when; leave out delay and at (there is jitter=)"
        )
    said = msgspec.structs.asdict(chosen)
    options = {
        key: value
        for key, value in said.items()
        if value is not None and key not in ("delay", "at", "queue")
    }
    raw = spec.encode(tuple(args), dict(payload or {}))
    plan = make_plan(
        expression, spec.name, payload=msgspec.json.decode(raw), options=options, **terms
    )
    return Declared(check_name("schedule", name), plan, chosen.queue or spec.queue)


async def declare_all(link: Link, tasks: Iterable[TaskSpec]) -> list[str]:
    """Create the schedules that tasks declare where they are absent; return the names of those.

    Of the others it is kept what the code says now. Raises SettingsError for two of one name.
    """
    made: list[str] = []
    seen: dict[str, str] = {}
    for spec in tasks:
        for declared in spec.plans:
            if declared.name in seen:
                raise SettingsError(
                    f"tasks {seen[declared.name]!r} and {spec.name!r} both declare a schedule "
                    f"{declared.name!r}; give one of them another name with name="
                )
            seen[declared.name] = spec.name
            if await _declare(link, declared):
                made.append(declared.name)
    return made


async def _declare(link: Link, declared: Declared) -> bool:
    name, text = declared.name, declared.plan.text()
    queue = declared.queue or link.settings.default
    for _ in range(_TRIES):
        place = await link.call("HGET", link.shared.schedules, name)
        keys = link.keys(place.decode() if place else queue)
        raw = await link.call("HGET", keys.cron, name)
        if raw is None:
            keys = link.keys(queue)
            await link.call("SADD", link.shared.queues, queue)
            if place is not None:
                await link.call("HSET", link.shared.schedules, name, queue)
            elif not await link.call("HSETNX", link.shared.schedules, name, queue):
                continue
            clock = await link.call("TIME")
            now = int(clock[0]) * 1000 + int(clock[1]) // 1000
            due = next_after(declared.plan, now)
            note = Note("code", "add schedule", f"{declared.plan.expression} {declared.plan.zone}")
            command = store(keys, name, None, text, declared=text, next_slot=due, note=note)
            if await link.execute(command) > 0:
                _log.info("schedule %s is created in queue %s", name, queue)
                return True
            continue
        stored = decode_stored(raw)
        if stored is None:
            _log.warning("schedule %s in queue %s is not readable; save it anew", name, keys.queue)
            return False
        if stored.declared == text:
            return False
        command = store(
            keys,
            name,
            stored.revision,
            stored.spec,
            declared=text,
            enabled=bool(stored.enabled),
            until=stored.until,
            next_slot=None if stored.enabled else 0,
            count=False,
        )
        if await link.execute(command) >= 0:
            if stored.spec != text:
                _log.warning(
                    "schedule %s differs from what the code declares; `qdeck schedule adopt %s` "
                    "replaces what is stored",
                    name,
                    name,
                )
            return False
    _log.warning("schedule %s keeps changing; its declaration is not recorded", name)
    return False
