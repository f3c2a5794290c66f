"""A bulk operation that this console started: it carries it on and says how it goes.

The operation stands on the server; workers go on with it when the console is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from qdeck.admin import Admin, Draft, Operation
from qdeck_tui.format import count, plural

__all__ = ["RATE", "STOP_AFTER", "carry", "pace_words", "progress"]

#: What is offered for jobs that run again: jobs a second, and new failures to stop after.
RATE = 20.0
STOP_AFTER = 10
_SAY_EVERY = 2.0


class _Sayer(Protocol):
    def say(self, text: str, style: str = "") -> None: ...
    def poll(self) -> None: ...


async def carry(
    desk: _Sayer,
    admin: Admin,
    draft: Draft,
    label: str,
    *,
    rate: float | None = None,
    stop_after: int | None = None,
    canary: bool = False,
    keep_copy: bool = True,
    resume: bool = False,
    stopped: Callable[[], None] = lambda: None,
) -> None:
    """Start a draft, do its steps until it ends, and say how far it is and what came of it.

    `stopped` is called where it ends before all its jobs are handled.
    """
    operation = await admin.start(
        draft, rate=rate, stop_after=stop_after, canary=canary, keep_copy=keep_copy, resume=resume
    )
    said = monotonic()
    if rate is not None and draft.total > rate:
        desk.say(f"{label}: it goes on on the server if you disconnect")
        desk.poll()
    while operation.state in ("running", "undoing"):
        try:
            operation = await admin.advance(operation.id, operation.queue)
        except OSError:
            desk.say(f"{label}: the server is away; workers carry it on", "warn")
            return
        if monotonic() - said > _SAY_EVERY:
            said = monotonic()
            desk.say(f"{label}: {progress(operation)}")
    tail = f", {operation.skipped:,} skipped: they had changed" if operation.skipped else ""
    text = f"{label}: {operation.ok:,} of {plural(operation.total, 'job')}{tail}"
    if operation.state == "done":
        desk.say(text, "good")
    else:
        left = operation.total - operation.done
        why = operation.reason or operation.state
        desk.say(f"{label} {operation.state}: {why}; {left:,} were left as they are", "bad")
        stopped()
    desk.poll()


def progress(operation: Operation) -> str:
    """Return how far an operation is, and what became of the jobs that it sent."""
    words = f"{operation.done:,}/{operation.total:,} started"
    if operation.completed is not None:
        words += f", {operation.completed:,} ok, {count(operation.failed_again)} failed again"
    if operation.skipped:
        words += f", {operation.skipped:,} skipped"
    if operation.canary == "waiting":
        words += "; waits for its first job"
    return words


def pace_words(rate: float | None, stop_after: int | None) -> str:
    """Return how fast it goes and when it stops, in words."""
    parts = []
    if rate is not None:
        parts.append(f"{rate:g} a second")
    if stop_after is not None:
        parts.append(f"stops after {plural(stop_after, 'new failure')}")
    return ", ".join(parts)
