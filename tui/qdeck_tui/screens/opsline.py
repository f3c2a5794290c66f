"""The bulk operations that run or have just ended, a line each, and the question that ends one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from qdeck.admin import Operation
from qdeck_tui.desk import Console
from qdeck_tui.format import plural, safe
from qdeck_tui.screens.carry import progress
from qdeck_tui.screens.question import question
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.pane import TextPane

__all__ = ["OperationsLine", "ask_abort", "recent", "told"]

#: How long an operation that has ended is still shown.
_KEPT: Final = timedelta(minutes=5)
_STYLES: Final = {"running": "accent", "undoing": "accent", "done": "good", "undone": "dim"}


class OperationsLine(TextPane):
    """One or two lines of operations; it takes no room where there are none."""

    reachable = False

    def __init__(self) -> None:
        super().__init__("OPERATIONS")
        self.wanted = False
        self.running: Operation | None = None

    def on_mount(self) -> None:
        """Take no room before there is anything to say."""
        self.display = self.wanted

    def tell(self, operations: Sequence[Operation], now: datetime) -> None:
        """Take the operations, newest first."""
        shown = recent(operations, now)[:2]
        self.running = next((each for each in shown if each.state == "running"), None)
        self.wanted = bool(shown)
        self.note = "x aborts" if self.running is not None else ""
        self.styles.height = len(shown) + 1
        self.display = self.wanted
        self.show([told(each) for each in shown])


def recent(operations: Sequence[Operation], now: datetime) -> list[Operation]:
    """Return the operations that run, then those that ended within 5 minutes."""
    going = [each for each in operations if each.state in ("running", "undoing")]
    ended = [
        each
        for each in operations
        if each not in going and each.finished_at is not None and now - each.finished_at < _KEPT
    ]
    return going + ended


def told(operation: Operation) -> Line:
    """Return one line: what it does, how far it is, and what became of the jobs."""
    verb = operation.verb.replace("_", " ")
    if operation.changes:
        verb = f"patch and {verb}" if operation.verb != "patch" else verb
    state = "" if operation.state == "running" else f" {operation.state}"
    words = safe(f" {verb} in {operation.queue or '?'}{state}: {progress(operation)}")
    if operation.reason and operation.state != "running":
        words += safe(f" ({operation.reason})")
    return ((words, _STYLES.get(operation.state, "bad")),)


def ask_abort(desk: Console, operation: Operation) -> None:
    """Ask whether a running operation is to end where it is."""
    if desk.refusal:
        desk.say(f"abort refused: {desk.refusal}", "warn")
        return

    def answer(yes: bool) -> None:
        if not yes:
            desk.say("abort: no, it goes on")
            return

        async def abort() -> None:
            admin = desk.admin
            if admin is not None:
                desk.say((await admin.abort(operation.id)).text, "good")
                desk.poll()

        desk.begin_work(abort(), "abort failed")

    dialog = question(desk, "ABORT", answer)
    verb = operation.verb.replace("_", " ")
    dialog.fill(
        [
            ((f"Abort {verb} of {plural(operation.total, 'job')}?", "bold"),),
            ((f"{operation.done:,} are started; those stay as they are", "dim"),),
            ((f"started by {safe(operation.started_by or operation.actor)}", "dim"),),
        ],
        1,
    )
