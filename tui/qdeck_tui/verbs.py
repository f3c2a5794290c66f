"""Carries out the verbs of the action table: asks where a dialog is due, writes, and says what came
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol

from qdeck.admin import (
    Action,
    Admin,
    Denied,
    Draft,
    ErrorGroup,
    JobRow,
    Permission,
    QueueRow,
    Target,
    TaskRow,
    WorkerRow,
)
from qdeck_tui.actions import Row, Subject, freeze
from qdeck_tui.dispatch import permitted
from qdeck_tui.format import plural, prose, safe, short_id
from qdeck_tui.screens.base import View
from qdeck_tui.screens.carry import RATE, STOP_AFTER, carry, pace_words
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.dialog import Dialog
from qdeck_tui.widgets.overlay import Sheet

__all__ = ["TOO_FAST", "Verbs"]

TOO_FAST = 0.05
Found = tuple[Subject, Action, Permission]


class _App(Protocol):
    read_only: bool

    @property
    def hasty(self) -> bool: ...

    @property
    def admin(self) -> Admin | None: ...
    @property
    def away(self) -> str: ...
    def say(self, text: str, style: str = "") -> None: ...
    def poll(self) -> None: ...
    def begin_work(self, work: Coroutine[Any, Any, None], failed: str) -> None: ...
    def open_sheet(self, sheet: Sheet) -> None: ...
    def close_sheet(self) -> None: ...
    def update_sheet(self) -> None: ...
    def later(self, delay: float, call: Callable[[], None]) -> None: ...
    def view_now(self) -> View | None: ...


class Verbs:
    """One per app."""

    def __init__(self, app: _App) -> None:
        self._app = app
        self._held: Row | None = None

    # What could be done

    def find(self, row: Row) -> Found | None:
        """Return what a row would act on in the view on screen, with the verb and the permission;
        None for nothing.
        """
        view, admin = self._app.view_now(), self._app.admin
        if view is None or admin is None:
            return None
        subject = view.subject()
        if row.id in ("pause_all", "resume_all"):
            subject = self._all_queues(row)
        elif row.id == "pause":
            subject = self._queue_of(view, subject)
        if subject is None:
            return None
        found = permitted(admin, row, subject)
        return None if found is None else (subject, *found)

    def _all_queues(self, row: Row) -> Subject | None:
        snapshot = getattr(self._app, "snapshot", None)
        queues = getattr(snapshot, "queues", ())
        if not isinstance(queues, tuple):
            return None
        wanted = tuple(q for q in queues if (q.paused is None) == (row.id == "pause_all"))
        return Subject(wanted, scope="all queues") if wanted else None

    def _queue_of(self, view: View, subject: Subject | None) -> Subject | None:
        if subject is not None and any(isinstance(t, QueueRow) for t in subject.targets):
            return subject
        queue = getattr(view, "queue_row", None)
        return None if queue is None else Subject((queue,))

    # Doing it

    def use(self, row: Row, *, typed: bool = False) -> None:
        """Begin a verb: a dialog at once where it asks, else the write after a moment without other
        keys.
        """
        found = self.find(row)
        if found is None:
            self._app.say(f"{row.label}: nothing here to do that to", "warn")
            return
        subject, verb, permission = found
        refused = self._refused(row, permission)
        if refused:
            name = verb.replace("_", " ") if len(row.verbs) > 1 else row.label
            self._app.say(f"{name} refused: {refused}", "warn")
        elif row.ask:
            self._ask(row, subject, verb, permission)
        elif typed:
            self._write(row, subject, verb)
        elif self._app.hasty:
            self._app.say(
                f"{row.key} dropped: it came within 50 ms of another key (a paste?)", "warn"
            )
        else:
            self._held = row
            self._app.later(TOO_FAST, lambda: self._release(row, subject, verb))

    def disturb(self) -> None:
        """Know that another printable key came: a verb that waits for quiet is dropped."""
        if self._held is not None:
            self._app.say(
                f"{self._held.key} dropped: another key came within 50 ms (a paste?)", "warn"
            )
            self._held = None

    def _release(self, row: Row, subject: Subject, verb: Action) -> None:
        if self._held is row:
            self._held = None
            self._write(row, subject, verb)

    def _refused(self, row: Row, permission: Permission) -> str:
        if not permission.allowed:
            return permission.reason or "not allowed"
        if self._app.read_only:
            return "this console is read-only (:rw lets it write)"
        return self._app.away

    def _write(self, row: Row, subject: Subject, verb: Action) -> None:
        async def work() -> None:
            admin = self._app.admin
            if admin is None or row.run is None:
                return
            outcome = await row.run(admin, subject, verb)
            self._report(verb, outcome)
            self._app.poll()

        self._app.begin_work(work(), f"{row.label} failed")

    def _report(self, verb: Action, outcome: object) -> None:
        text = safe(getattr(outcome, "text", "") or verb)
        skipped = getattr(outcome, "skipped", ())
        if skipped:
            text += f" ({len(skipped):,} skipped: {safe(skipped[0].reason)})"
        self._app.say(text, "good" if getattr(outcome, "changed", 0) or not skipped else "warn")

    # With a dialog

    def _ask(self, row: Row, subject: Subject, verb: Action, permission: Permission) -> None:
        go: list[Callable[[], Coroutine[Any, Any, None]]] = []
        undo: list[Callable[[], Coroutine[Any, Any, Any]]] = []

        def answer(yes: bool) -> None:
            self._app.close_sheet()
            if yes and go:
                self._app.begin_work(go[0](), f"{row.label} failed")
            else:
                if undo:
                    self._app.begin_work(undo[0](), "forgetting the draft failed")
                self._app.say(f"{row.label}: no, nothing was done")

        dialog = Dialog(row.label.upper(), changed=self._app.update_sheet, answer=answer)
        self._app.open_sheet(dialog)

        async def prepare() -> None:
            admin = self._app.admin
            if admin is None or row.run is None:
                dialog.fail("not connected")
                return
            try:
                if verb in ("retry", "delete"):
                    draft = await row.run(admin, subject, verb)
                    if not isinstance(draft, Draft):
                        raise Denied(f"{verb} gave no draft")
                    frozen = draft
                    go.append(lambda: self._start(admin, frozen, row, subject))
                    undo.append(lambda: admin.forget(frozen))
                    number, samples = draft.total, draft.samples
                    if number == 0:
                        dialog.fail("nothing to do: no job is in that state any more")
                        return
                else:
                    fixed = subject
                    if row.on == (JobRow,):
                        fixed = replace(subject, refs=await freeze(admin, subject))
                    number = len(fixed.refs if fixed.refs is not None else fixed.targets)
                    samples = ()
                    go.append(lambda: self._run(admin, row, fixed, verb))
            except Exception as error:
                dialog.fail(f"{row.label}: {error}")
                return
            dialog.fill(
                self._sentences(row, subject, number, samples, permission), number,
                all_queues=row.id in ("pause_all", "resume_all"),
            )  # fmt: skip

        self._app.begin_work(prepare(), f"{row.label} failed")

    async def _run(self, admin: Admin, row: Row, subject: Subject, verb: Action) -> None:
        if row.run is not None:
            self._report(verb, await row.run(admin, subject, verb))
            self._app.poll()

    async def _start(self, admin: Admin, draft: Draft, row: Row, subject: Subject) -> None:
        rate, stop_after = _pace(draft.verb, draft.total)
        view = self._app.view_now()

        def stopped() -> None:
            # What was left is marked, so that the next verb is about it.
            mark = getattr(view, "mark", None)
            if mark is not None and subject.selection is None:
                mark(subject.targets)

        await carry(
            self._app, admin, draft, row.label, rate=rate, stop_after=stop_after, stopped=stopped
        )

    def _sentences(
        self,
        row: Row,
        subject: Subject,
        number: int,
        samples: tuple[JobRow, ...],
        permission: Permission,
    ) -> list[Line]:
        first = subject.targets[0] if subject.targets else None
        what = _what(subject, number, first)
        lines: list[Line] = [
            ((part, "bold"),) for part in prose(row.ask.format(what=what) + "?", 70)
        ]
        if subject.hidden:
            lines.append(
                ((f"{subject.hidden:,} of the marks are not shown by the filter", "warn"),)
            )
        if permission.reason:
            lines += [((part, "warn"),) for part in prose(permission.reason, 70)]
        pace = pace_words(*_pace(row.id, number))
        if pace:
            lines.append(((pace, "dim"),))
        if number > 1:
            lines += [
                (((f"  {short_id(job.ref.id)}  {safe(job.task)}  {safe(job.args)}")[:70], "dim"),)
                for job in samples[:3]
            ]
        return lines


def _pace(verb: str, number: int) -> tuple[float | None, int | None]:
    """Return the rate and the stop rule for so many jobs of a verb."""
    return (RATE, STOP_AFTER) if verb == "retry" and number > 1 else (None, None)


def _what(subject: Subject, number: int, first: Target | None) -> str:
    if isinstance(first, WorkerRow):
        if number > 1:
            return plural(number, "marked worker")
        running = plural(first.running, "job") if first.running is not None else "unknown jobs"
        return safe(f"worker {first.host}:{first.pid} ({running} running)")
    if isinstance(first, QueueRow):
        return f"{plural(number, 'queue')} ({subject.scope})"
    if isinstance(first, ErrorGroup) and len(subject.targets) > 1:
        return f"{plural(number, 'dead job')} of {len(subject.targets):,} marked groups"
    if isinstance(first, ErrorGroup):
        return safe(f"{plural(number, 'dead job')} of {first.task} in {first.queue}, {first.type}: "
                    f"{first.message[:80]}")  # fmt: skip
    if isinstance(first, TaskRow):
        return safe(f"{first.task} in {first.queue}")
    if subject.selection is None and number == 1 and isinstance(first, JobRow):
        return safe(f"job {short_id(first.ref.id)} ({first.task} in {first.ref.queue})")
    noun = "marked job" if subject.scope == "marked" else "job"
    scope = f" ({safe(subject.scope)})" if subject.scope not in ("", "marked") else ""
    return f"{plural(number, noun)}{scope}"
