"""View 9: bulk operations with their progress, the record of acts with undo, and what happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from qdeck.admin import Admin, AuditRow, Event, JobRef, Operation, Outcome, Window
from qdeck_tui.format import age, count, plural, safe
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.lists import ListView
from qdeck_tui.screens.writing import ask, bold, refused
from qdeck_tui.widgets.listing import Listing
from qdeck_tui.widgets.table import Cell, Column

__all__ = ["OpsView"]

#: Acts and events that are shown; the command line lists more.
SHOWN = 300
STATES = {"running": "warn", "done": "good", "stopped": "bad", "aborted": "bad"}
#: Rows from which there is room for operations and events.
TALL = 34


class OpsView(ListView):
    """Operations above, acts below them; events where there is room."""

    view_id = "ops"

    def __init__(self) -> None:
        super().__init__("Ops")
        self.operations: Listing[Operation] = Listing(
            "OPERATIONS", self._operation_columns(), lambda o: o.id,
            match=lambda o: f"{o.verb} {o.actor} {o.queue} {o.state}",
            worst=lambda o: o.created_at.timestamp() if o.created_at else 0.0,
        )  # fmt: skip
        self.operations.empty = ("no bulk operation on record; r, D and e on groups start one",)
        self.acts: Listing[AuditRow] = Listing(
            "ACTS", self._act_columns(), lambda row: row.id,
            match=lambda row: f"{row.actor} {row.verb} {row.target} {row.outcome}",
            worst=lambda row: row.at.timestamp(),
        )  # fmt: skip
        self.acts.empty = ("nothing on record yet: whatever an operator changes appears here",)
        self.events: Listing[Event] = Listing(
            "EVENTS", self._event_columns(), lambda e: f"{e.at.timestamp()} {e.text}",
            match=lambda e: f"{e.kind} {e.text} {e.actor}", worst=lambda e: e.at.timestamp(),
        )  # fmt: skip
        self.events.empty = ("nothing happened that is worth a line",)
        self.panes = [self.acts, self.operations, self.events]
        self._turned = False

    def fit_panes(self, width: int, height: int) -> None:
        """Give the acts what the operations leave; on a low screen the events stand in their place
        when they are asked for.
        """
        tall = height >= TALL
        self.operations.wanted = height >= 18 and (tall or not self._turned)
        self.events.wanted = height >= 18 and (tall or self._turned)
        for pane in (self.operations, self.events):
            pane.display = pane.wanted
            pane.styles.height = 6 if height < 30 else 9
        self.events.title = "EVENTS" if tall else "EVENTS  (] operations)"
        self._name_operations(0)

    def _name_operations(self, running: int) -> None:
        said = f"  {running} running" if running else ""
        self.operations.title = f"OPERATIONS{said}" + (
            "" if self.app.size.height >= TALL else "  (] events)"
        )

    @property
    def do_following(self) -> Callable[[], None] | None:
        """Show the events in the place of the operations, or these again."""
        return self._turn if 18 <= self.app.size.height < TALL else None

    @property
    def do_previous(self) -> Callable[[], None] | None:
        """Likewise: there are two of them."""
        return self.do_following

    def _turn(self) -> None:
        self._turned = not self._turned
        self.fit_panes(*self.app.size)
        if self.pane is not None and not self.pane.wanted:
            self.activate(self.panes.index(self.events if self._turned else self.operations))
        self.desk.poll()
        self.desk.changed()

    def _operation_columns(self) -> list[Column[Operation]]:
        return [
            Column("VERB", 11, lambda o: safe(o.verb.replace("_", " ")), keep=9),
            Column("STATE", 8, _state, keep=9),
            Column("DONE", 15, _progress, True, keep=9),
            Column("OK", 8, lambda o: count(o.ok), True, keep=7),
            Column("AGAIN", 6, _failed_again, True, keep=6),
            Column("QUEUE", 12, lambda o: safe(o.queue), flex=True, keep=5),
            Column("BY", 14, lambda o: safe(o.actor), keep=4),
            Column("AGE", 5, self._operation_age, True, keep=3),
        ]

    def _act_columns(self) -> list[Column[AuditRow]]:
        return [
            Column("WHEN", 13, lambda row: self._ago(row.at), keep=9,
                   sort=lambda row: row.at.timestamp()),
            Column("ACTOR", 14, lambda row: safe(row.actor), keep=7, sort=lambda row: row.actor,
                   falling=False),
            Column("ACT", 14, _verb, keep=9, sort=lambda row: row.verb, falling=False),
            Column("TARGET", 20, lambda row: safe(row.target), flex=True, keep=8,
                   sort=lambda row: row.target, falling=False),
            Column("COUNT", 9, lambda row: count(row.count), True, keep=5,
                   sort=lambda row: row.count or 0),
            Column("UNDO", 12, _undo, keep=6),
        ]  # fmt: skip

    def _event_columns(self) -> list[Column[Event]]:
        return [
            Column("WHEN", 13, lambda e: self._ago(e.at), keep=9),
            Column("WHAT", 40, lambda e: safe(e.text), flex=True, keep=9),
            Column("BY", 14, lambda e: safe(e.actor), keep=4),
        ]

    def _operation_age(self, operation: Operation) -> Cell:
        made = operation.created_at
        return age((self.desk.now - made).total_seconds()) if made else "?"

    def _ago(self, at: datetime) -> Cell:
        """Return how long ago something was and when, of another day the day and the time."""
        desk = self.desk
        here, now = at.astimezone(desk.zone), desk.now.astimezone(desk.zone)
        if here.date() != now.date():
            return here.strftime("%d %b %H:%M")
        return f"{age(max(0.0, (now - here).total_seconds()))} ago {here:%H:%M}"

    def parts(self) -> Mapping[str, Read]:
        """Ask for operations and acts; for events where they are shown."""
        parts: dict[str, Read] = {
            "operations": lambda admin: admin.operations(),
            "audit": lambda admin: admin.audit(Window(0, SHOWN)),
        }
        if self.events.wanted:
            parts["events"] = lambda admin: admin.events(SHOWN)
        return parts

    def show(self, parts: Parts) -> None:
        """Take what was read."""
        if take(self.operations, parts["operations"]):
            rows = cast("tuple[Operation, ...]", parts["operations"])
            self.operations.show(rows)
            self._name_operations(sum(1 for row in rows if row.state == "running"))
        if take(self.acts, parts["audit"]):
            acts = cast("tuple[AuditRow, ...]", parts["audit"])
            self.acts.show(acts)
            self.acts.title = f"ACTS, the newest {SHOWN}" if len(acts) == SHOWN else "ACTS"
        if "events" in parts and take(self.events, parts["events"]):
            self.events.show(cast("tuple[Event, ...]", parts["events"]))
        self.retitle()

    # Rows of the action table

    def do_open(self) -> None:
        """Open the job that an act was about."""
        row = self.acts.current
        if self.pane is not self.acts or row is None:
            return
        word, _, rest = row.target.partition(" ")
        if word == "job" and rest and row.queue:
            self.desk.visit_job(JobRef(rest.split(" ")[0], row.queue))
        else:
            self.desk.say(safe(f"{row.verb} of {row.target} by {row.actor}: {row.outcome}"))

    def do_undo(self) -> None:
        """Take the act under the cursor back, whoever did it; else the newest own one."""
        from qdeck_tui.screens.asking import undo, undo_last

        row = self.acts.current
        if self.pane is self.operations and self.operations.current is not None:
            _ask_operation(self, self.operations.current)
        elif self.pane is not self.acts or row is None:
            undo_last(self.desk)
        elif not row.undoable:
            why = f"{row.undone_by} took it back" if row.undone_by else "it cannot be taken back"
            self.desk.say(safe(f"undo refused: {why}"), "warn")
        else:
            undo(self.desk, row)

    @property
    def do_abort(self) -> object:
        """End the operation under the cursor, where one is selected that runs."""
        operation = self.operations.current
        if self.pane is not self.operations or operation is None or operation.state != "running":
            return None
        chosen = operation
        return lambda: _ask_abort(self, chosen)


def _ask_abort(view: OpsView, operation: Operation) -> None:
    if refused(view.desk, "abort"):
        return

    async def write(admin: Admin) -> Outcome:
        return await admin.abort(operation.id)

    dialog = ask(view.desk, "ABORT", write)
    lines = bold(
        f"Abort {operation.verb} of {plural(operation.total, 'job')} in {operation.queue}?"
    )
    lines.append(((f"  {count(operation.done)} are done and stay so", "dim"),))
    dialog.fill(lines, 1)


def _ask_operation(view: OpsView, operation: Operation) -> None:
    if refused(view.desk, "undo"):
        return

    async def write(admin: Admin) -> Outcome:
        return await admin.undo_operation(operation.id)

    dialog = ask(view.desk, "UNDO", write)
    if operation.undo_until is None:
        dialog.fail("it kept no copy, still runs, or its time is over: it cannot be taken back")
        return
    lines = bold(f"Undo {operation.verb} of {plural(operation.ok, 'job')} in {operation.queue}?")
    lines.append(((f"  by {safe(operation.actor)}; what changed since stays", "dim"),))
    dialog.fill(lines, operation.ok)


def _state(operation: Operation) -> Cell:
    return (operation.state, STATES.get(operation.state, ""))


def _progress(operation: Operation) -> Cell:
    return f"{count(operation.done)}/{count(operation.total)}"


def _failed_again(operation: Operation) -> Cell:
    again = operation.failed_again
    return (count(again), "bad" if again else "dim")


def _verb(row: AuditRow) -> Cell:
    undo = "undo " if row.of and row.verb != "undo" else ""
    return safe(f"{undo}{row.verb}")


def _undo(row: AuditRow) -> Cell:
    if row.undone_by:
        return (safe(f"by {row.undone_by}"), "dim")
    return ("u", "key") if row.undoable else ("-", "dim")
