"""The record of a bulk operation as the operator sees it: its parts in several queues as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from qdeck.admin import ACTIONS, CanaryState, Change, Operation, OperationState
from qdeck.patching import decode_changes
from qdeck.reader import at_ms, number, text

__all__ = ["FAILURES", "FIELDS", "as_changes", "merge"]

#: Counters of runs that failed since the operation started them: how they ended (see work.lua and
#: tend.lua: `f` failed, `u` unknown task, `l` lost), and what became of the job.
FAILURES: Final = (
    "fretrying", "fdead", "fcancelled", "udead", "lpending", "ldead", "lcancelled",
)  # fmt: skip
_AGAIN: Final = ("fdead", "udead", "ldead")
FIELDS: Final = (
    "state", "verb", "total", "done", "ok", "skipped", "actor", "created", "states", "what",
    "started", "finished", "starter", "ender", "reason", "rate", "stop", "canary", "undo_until",
    "undone", "changes", "ccompleted", *FAILURES,
)  # fmt: skip
_ORDER: Final = ("running", "undoing", "draft", "stopped", "aborted", "undone")
_STATES: Final = ("draft", "running", "done", "stopped", "aborted", "undoing", "undone")


def merge(name: str, parts: Mapping[str, Mapping[str, Any]]) -> Operation:
    """Return an operation from its records by queue, at least one; `name` is its whole id."""

    def total(*fields: str) -> int:
        return sum(int(number(part[field]) or 0) for part in parts.values() for field in fields)

    def some(field: str) -> str:
        return next((text(part[field]) for part in parts.values() if part[field]), "")

    states = {text(part["state"]) for part in parts.values()}
    state = next((each for each in _ORDER if each in states), "done")
    rates = [number(part["rate"]) or 0.0 for part in parts.values() if part["rate"]]
    canaries = {text(part["canary"]) for part in parts.values()}
    canary = next((each for each in ("failed", "waiting", "ok") if each in canaries), "")
    verb = some("verb")
    ends = [part["finished"] for part in parts.values()]
    until = [part["undo_until"] for part in parts.values() if part["undo_until"]]
    return Operation(
        name,
        verb if verb in ACTIONS else "delete",
        cast(OperationState, state),
        total("total"),
        total("done"),
        total("ok"),
        total("skipped"),
        some("actor"),
        ", ".join(parts),
        at_ms(some("created")),
        at_ms(some("started")),
        at_ms(max(ends, key=lambda raw: number(raw) or 0)) if all(ends) else None,
        some("starter"),
        some("ender"),
        some("reason"),
        sum(rates) if rates else None,
        total("stop") or None,
        total(*FAILURES),
        total("ccompleted"),
        total(*_AGAIN),
        cast(CanaryState, canary),
        at_ms(min(until, key=lambda raw: number(raw) or 0)) if until else None,
        total("undone") if state in ("undoing", "undone") else None,
        as_changes(some("changes")),
    )


def as_changes(raw: str) -> tuple[Change, ...]:
    """Return stored changes as the operator's door has them."""
    return tuple(
        Change(cast(Literal["set", "unset", "rename"], kind), path, value)
        for kind, path, value in decode_changes(raw)
        if kind in ("set", "unset", "rename")
    )
