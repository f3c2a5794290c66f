"""Schedules as TOML, to live in version control: what is written reads back as the same schedules,
and those are written as the same bytes.

A payload or metadata that TOML cannot hold (null, numbers beyond 64 bits) stands as JSON text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from typing import Any, Final

import msgspec
import tomli_w

from qdeck.admin import Denied, ScheduleRow, ScheduleSpec

__all__ = ["Wanted", "read_plans", "write_plans"]

#: What stands in a table whatever it is, in this order.
_ALWAYS: Final = ("expression", "zone", "task", "queue")
_KNOWN: Final = {
    **{field.name: field for field in fields(ScheduleSpec) if field.name != "name"},
    "enabled": None,
    "disabled_until": None,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule as a text says it."""

    spec: ScheduleSpec
    enabled: bool = True
    until: datetime | None = None


def write_plans(rows: Iterable[ScheduleRow]) -> str:
    """Return schedules as TOML, by name; what has its default is left out."""
    tables: dict[str, Any] = {}
    plain = ScheduleSpec("", "", "")
    for row in sorted(rows, key=lambda row: row.name):
        spec = row.spec
        table: dict[str, Any] = {name: getattr(spec, name) for name in _ALWAYS}
        for name in ("misfire", "overlap", "jitter", "catch_up"):
            if getattr(spec, name) != getattr(plain, name):
                table[name] = getattr(spec, name)
        if not row.enabled:
            table["enabled"] = False
        if row.disabled_until is not None:
            table["disabled_until"] = row.disabled_until
        for name in ("payload", "options"):
            value = dict(getattr(spec, name))
            if value:
                table[name] = value if _fits(value) else msgspec.json.encode(value).decode()
        tables[row.name] = table
    return tomli_w.dumps({"schedules": tables}) if tables else ""


def _fits(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_fits(each) for each in value.values())
    if isinstance(value, list):
        return all(_fits(each) for each in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, (str, float))


def read_plans(text: str) -> list[Wanted]:
    """Return the schedules of a text, in its order; raises Denied naming what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Denied(f"this is no TOML: {error}; nothing was changed") from error
    tables = document.pop("schedules", {})
    if document or not isinstance(tables, dict):
        extra = next(iter(document), "schedules")
        raise Denied(f"{extra!r} is not known; write tables such as [schedules.nightly]")
    return [_read(name, table) for name, table in tables.items()]


def _read(name: str, table: object) -> Wanted:
    if not isinstance(table, dict):
        raise Denied(f"schedule {name}: {table!r:.100} is no table; write [schedules.{name}]")
    for key in table:
        if key not in _KNOWN:
            raise Denied(f"schedule {name}: {key!r} is not known; use {', '.join(_KNOWN)}")
    for key in ("expression", "task"):
        if not isinstance(table.get(key), str):
            raise Denied(f'schedule {name}: {key} is missing; write {key} = "..."')
    enabled, until = table.pop("enabled", True), table.pop("disabled_until", None)
    if not isinstance(enabled, bool):
        raise Denied(f"schedule {name}: enabled = {enabled!r} must be true or false")
    if until is not None and not isinstance(until, datetime):
        raise Denied(f"schedule {name}: disabled_until = {until!r} must be a date and a time")
    for key in ("payload", "options"):
        if isinstance(table.get(key), str):
            table[key] = _json(name, key, table[key])
    _refuse_times(name, "payload", table.get("payload"))
    if isinstance(table.get("options"), dict):
        _refuse_times(name, "options.metadata", table["options"].get("metadata"))
    return Wanted(ScheduleSpec(name, **table), enabled, until)


def _refuse_times(name: str, path: str, value: object) -> None:
    """Raise Denied naming a date or a time, which TOML has and JSON does not."""
    if isinstance(value, (date, time)):
        raise Denied(
            f"schedule {name}: {path} = {value.isoformat()} is a date or a time, which JSON does "
            f'not have; write the text "{value.isoformat()}" in quotes'
        )
    if isinstance(value, dict):
        for key, each in value.items():
            _refuse_times(name, f"{path}.{key}", each)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            _refuse_times(name, f"{path}[{place}]", each)


def _json(name: str, key: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        raise Denied(f"schedule {name}: {key} is neither a table nor JSON: {error}") from error
