"""The acts of the console that ask for words of their own: undo, clear, limits, edits, new jobs.

Each is at hand where the view on screen has something to do it to; what they ask is imported when
they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from qdeck.admin import LATER, JobRow, QueueRow, Target, WorkerRow
from qdeck_tui.actions import Subject
from qdeck_tui.desk import Console
from qdeck_tui.keyboard import Keyboard

__all__ = ["Acts"]

Act = Callable[[], None]


class Acts(Keyboard):
    """The app as far as these acts go; a property is None where there is nothing to act on."""

    @property
    def do_undo(self) -> Act:
        """Take the newest own act back, once it was named."""
        return lambda: _act("undo_last")(cast("Console", self))

    @property
    def do_clear(self) -> Act | None:
        """Clear the queue: the row under the cursor, or the one that is open."""
        queue = self._queue()
        if queue is None:
            return None
        state = getattr(self.view_now(), "state", "pending") if self.depth else "pending"
        state = "pending" if state == "running" else state
        return lambda: _act("clear")(cast("Console", self), queue, state)

    @property
    def do_limits(self) -> Act | None:
        """Set the limits of a queue, or the slots of a worker."""
        target = self._first()
        if isinstance(target, WorkerRow):
            return lambda: _act("slots")(cast("Console", self), target)
        queue = self._queue()
        return None if queue is None else lambda: _act("limits")(cast("Console", self), queue)

    @property
    def do_new_job(self) -> Act | None:
        """Enqueue a job in the queue that is open."""
        view = self.view_now()
        queue = getattr(view, "queue_row", None)
        if not isinstance(queue, QueueRow):
            return None
        rows = getattr(getattr(view, "tasks", None), "rows", ())
        task = getattr(self._first(), "task", "") or getattr(next(iter(rows), None), "task", "")
        return lambda: _act("new_job")(cast("Console", self), queue, task)

    @property
    def do_edit(self) -> Act | None:
        """Edit the payload of the one job under the cursor, or of the one that is open."""
        target = self._first()
        if not isinstance(target, JobRow) or target.state == "running":
            return None
        return lambda: _act("edit")(cast("Console", self), target)

    @property
    def do_again(self) -> Act | None:
        """Enqueue a new job like the one under the cursor."""
        target = self._first()
        if not isinstance(target, JobRow):
            return None
        return lambda: _act("again")(cast("Console", self), target)

    @property
    def do_move(self) -> Act | None:
        """Make waiting jobs due at another time."""
        subject = self._subject()
        target = subject.targets[0] if subject is not None and subject.targets else None
        if subject is None or not isinstance(target, JobRow) or target.state not in LATER:
            return None
        return lambda: _act("move")(cast("Console", self), subject)

    @property
    def do_move_queue(self) -> Act | None:
        """Move waiting jobs to another queue."""
        subject = self._subject()
        target = subject.targets[0] if subject is not None and subject.targets else None
        if subject is None or not isinstance(target, JobRow):
            return None
        if target.state not in ("pending", *LATER):
            return None
        return lambda: _act("move_queue")(cast("Console", self), subject)

    # What they act on

    def _subject(self) -> Subject | None:
        view = self.view_now()
        return None if view is None else view.subject()

    def _first(self) -> Target | None:
        subject = self._subject()
        return subject.targets[0] if subject is not None and subject.targets else None

    def _queue(self) -> QueueRow | None:
        target = self._first()
        if isinstance(target, QueueRow):
            return target
        found = getattr(self.view_now(), "queue_row", None)
        return found if isinstance(found, QueueRow) else None


def _act(name: str) -> Callable[..., None]:
    """Return what asks for the words of an act, importing it now."""
    places = ("asking", "jobasking", "moving")
    for place in places:
        found = getattr(import_module(f"qdeck_tui.screens.{place}"), name, None)
        if found is not None:
            return cast("Callable[..., None]", found)
    raise LookupError(name)
