"""View 5: schedules: what runs next, what became of the last runs, and everything that can be done
to them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, cast

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from qdeck.admin import Admin, Ahead, Outcome, ScheduleAction, ScheduleRow, parse_moment
from qdeck_tui.format import age, cut, plural
from qdeck_tui.poller import Read
from qdeck_tui.screens.base import Parts, take
from qdeck_tui.screens.cronahead import AheadPane
from qdeck_tui.screens.croncolumns import (
    count_late,
    day_clock,
    schedule_columns,
    schedule_match,
    schedule_soonest,
)
from qdeck_tui.screens.cronedit import Editing
from qdeck_tui.screens.cronroom import ABOVE, WIDE, editor_box
from qdeck_tui.screens.cronruns import RunsPane
from qdeck_tui.screens.lists import ListView
from qdeck_tui.screens.question import question
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.listing import Listing

__all__ = ["CronView"]

#: Rows from which there is room for the history and the next 24 hours.
TALL = 30

Write = Callable[[Admin, ScheduleRow], Coroutine[Any, Any, Outcome]]


class CronView(ListView):
    """All schedules, the late and the next ones first; the history of the selected one."""

    view_id = "cron"

    def __init__(self) -> None:
        super().__init__("Cron")
        self.plans: Listing[ScheduleRow] = Listing(
            "SCHEDULES", schedule_columns(lambda: self.desk), lambda r: r.name,
            match=schedule_match, worst=schedule_soonest,
        )  # fmt: skip
        self.plans.empty = ("no schedules: n adds one, and @task.cron(…) declares one in code",)
        self.ahead = AheadPane()
        self.history = RunsPane()
        self.panes = [self.plans, self.ahead, self.history]
        self._full = self.plans.columns
        self._brief = tuple(schedule_columns(lambda: self.desk, brief=True))
        self._box: Widget | None = None
        self._left: Widget | None = None
        self._turned = False
        self._of = ""
        self._edits: dict[str, Editing] = {}

    def body(self) -> Iterable[Widget]:
        """Return one container, which turns with the width."""
        self._left = Vertical(self.plans, self.ahead)
        self._box = (Horizontal if self.app.size.width >= WIDE else Vertical)(
            self._left, self.history, classes="side"
        )
        return [self._box]

    def fit_panes(self, width: int, height: int) -> None:
        """Put the history beside the list on wide screens, below it else; the next 24 hours stand
        below the list, on a low screen in the place of the history when they are asked for.
        """
        if self._box is None or self._left is None:
            return
        wide, tall, edited = width >= WIDE, height >= TALL, self.overlay.dock is not None
        self.plans.columns = self._brief if edited else self._full
        self.ahead.wanted = height >= 20 and (tall or self._turned) and (wide or not edited)
        self.history.wanted = height >= 20 and (tall or not self._turned) and (wide or not edited)
        for pane in (self.ahead, self.history):
            pane.display = pane.wanted
        beside = wide and not edited
        self._box.styles.layout = "horizontal" if beside else "vertical"
        self._box.styles.width = editor_box(width, height)[0] if wide and edited else "100%"
        self._left.styles.width = "5fr" if beside else "100%"
        self._left.styles.height = "100%" if beside else "1fr" if wide or not edited else ABOVE
        self.history.styles.width = "3fr" if beside else "100%"
        self.history.styles.height = "100%" if beside else 7
        self.ahead.styles.height = 6
        self.history.note = "" if tall else "] next 24 h"
        self.ahead.way_back = "" if tall else "] history"

    def on_resize(self) -> None:
        """Keep no room for an editor that was closed because the screen became too small."""
        if self.overlay.sheet is None and self.trail:
            self._beside(())

    def _beside(self, trail: tuple[str, ...]) -> None:
        """Make room for the editor, which the breadcrumbs name, or take it back."""
        self.overlay.dock, self.trail = editor_box if trail else None, trail
        # A click into the list would leave the editor beside another row than its own.
        self.plans.disabled = bool(trail)
        self.fit_panes(*self.app.size)
        if self.zoomed:
            self._zoom()

    def _room(self) -> tuple[int, int]:
        """Return the cells and lines of the editor."""
        _, _, cells, rows = editor_box(*self.app.size)
        return cells - 2, rows - 1

    def summary(self) -> str:
        """Return whose clock the operator's times are told by, while a schedule is edited."""
        zone = self.desk.now.astimezone(self.desk.zone).tzname() or "local"
        return f"zone: {zone}" if self.trail else ""

    def parts(self) -> Mapping[str, Read]:
        """Ask for all schedules, and for what is not known of the selected one or of all."""
        parts: dict[str, Read] = {"schedules": lambda admin: admin.schedules()}
        if self.history.wanted:
            parts |= self.history.parts(self.plans.current)
        if self.ahead.wanted:
            parts |= self.ahead.parts(self.plans.rows, self.desk.now, self.desk.zone)
        return parts

    def show(self, parts: Parts) -> None:
        """Take the schedules."""
        value = parts.get("schedules")
        if value is not None and take(self.plans, value):
            rows = cast("tuple[ScheduleRow, ...]", value)
            self.plans.show(rows)
            off = sum(1 for row in rows if not row.enabled)
            late = count_late(rows)
            words = ", ".join([f"{off} off"] * bool(off) + [f"{late} late"] * bool(late))
            self.plans.title = f"SCHEDULES {len(rows):,}" + (f" ({words})" if words else "")
        if "ahead" in parts:
            if take(self.ahead, parts["ahead"]):
                self.ahead.tell(cast("Ahead", parts["ahead"]), self.desk.zone)
            else:
                self.ahead.missed()
        self.retitle()
        self.history.take(self.plans.current, parts)
        self._show_history()

    def forget(self) -> None:
        """Forget what was read of another server."""
        super().forget()
        self.ahead.drop()
        self._of = ""

    def moved(self) -> None:
        """Show the history of the schedule that the cursor is on now."""
        super().moved()
        self._show_history()

    def _show_history(self) -> None:
        """Show the selected schedule, and read its times where they are not known."""
        row = self.plans.current
        self.history.tell(row, self.desk)
        if row is not None and row.name != self._of:
            self._of = row.name
            if self.history.parts(row):
                self.desk.poll()

    # The two panes that share their place on a low screen

    @property
    def do_following(self) -> Callable[[], None] | None:
        """Show the next 24 hours instead of the history, or the history again."""
        return None if self.app.size.height >= TALL else self._turn

    @property
    def do_previous(self) -> Callable[[], None] | None:
        """Likewise: there are two of them."""
        return self.do_following

    def _turn(self) -> None:
        self._turned = not self._turned
        self.fit_panes(*self.app.size)
        if self.pane is not None and not self.pane.wanted:
            self.activate(0)
        self.desk.changed()

    # What acts act on

    @property
    def _line(self) -> int:
        """The cells that a line of a question has."""
        return min(68, self.app.size.width - 8)

    def _chosen(self) -> tuple[ScheduleRow, ...]:
        """Return the marked schedules, else the one under the cursor."""
        current = self.plans.current
        return tuple(self.plans.marks.values()) or ((current,) if current is not None else ())

    def _refused(self, rows: Sequence[ScheduleRow], verb: ScheduleAction) -> str:
        """Return why an act cannot be done, empty when it can."""
        admin = self.desk.admin
        if not rows or admin is None:
            return "there is no schedule here" if admin is not None else self.desk.refusal
        known = admin.schedule_actions(rows[0])
        permission = known.get(verb)
        if permission is not None and not permission.allowed:
            return permission.reason or "not allowed"
        return self.desk.refusal

    async def _each(self, rows: Sequence[ScheduleRow], write: Write) -> None:
        """Write to one schedule after the other, and say what came of it."""
        texts = []
        for row in rows:
            admin = self.desk.admin
            if admin is None:
                raise OSError(self.desk.refusal or "not connected")
            texts.append((await write(admin, row)).text)
        self.desk.say(texts[-1] if len(texts) == 1 else "; ".join(texts), "good")
        self.desk.poll()

    def _ask(
        self, title: str, rows: Sequence[ScheduleRow], lines: list[Line], write: Write
    ) -> None:
        def answer(yes: bool) -> None:
            if yes:
                self.desk.begin_work(self._each(rows, write), f"{title.lower()} failed")
            else:
                self.desk.say(f"{title.lower()}: no, nothing was done")

        question(self.desk, title, answer).fill(lines, len(rows))

    # Rows of the action table

    def do_open(self) -> None:
        """Open the last job of the schedule under the cursor."""
        row = self.plans.current
        if row is not None and row.last_job is not None:
            self.desk.visit_job(row.last_job)
        elif row is not None:
            self.desk.say(f"{row.name} has no job on record yet; t runs it now, e edits it")

    def do_log(self) -> None:
        """Open the log of the last job."""
        self.do_open()

    def do_edit_schedule(self) -> None:
        """Edit the schedule under the cursor; an edit that met a conflict goes on."""
        row = self.plans.current
        if row is None:
            return
        refused = self._refused((row,), "edit")
        if refused:
            self.desk.say(f"edit refused: {refused}", "warn")
            return
        self._edit(row.name, row)

    def do_new_schedule(self) -> None:
        """Add a schedule."""
        if self.desk.refusal:
            self.desk.say(f"new schedule refused: {self.desk.refusal}", "warn")
            return
        self._edit("", None)

    def _edit(self, name: str, row: ScheduleRow | None) -> None:
        def ended(dropped: bool) -> None:
            if dropped:
                self._edits.pop(name, None)

        kept = self._edits.get(name)
        if kept is None:
            trail = ("new schedule",) if row is None else (cut(row.name, 40), "edit")
            kept = Editing(
                self.desk, row, room=self._room, ended=ended,
                beside=lambda edited: self._beside(trail if edited else ()),
            )  # fmt: skip
            self._edits[name] = kept
        kept.open()

    def do_pause_schedule(self) -> None:
        """Ask until when the schedules are off; one that is off is offered to go on."""
        rows = self._chosen()
        off = bool(rows) and not rows[0].enabled
        refused = self._refused(rows, "enable" if off else "disable")
        if refused:
            self.desk.say(f"off refused: {refused}", "warn")
            return
        name = cut(rows[0].name, 24) if len(rows) == 1 else plural(len(rows), "marked schedule")

        def changed(text: str) -> None:
            self.desk.say(self._until_words(text, off))

        def done(text: str) -> None:
            self._set_off(rows, text.strip(), off)

        self.desk.ask(
            f"{name} off until: ", "on" if off else "", changed, done, lambda: self.desk.say("")
        )
        changed("on" if off else "")

    def _until_words(self, text: str, off: bool) -> str:
        """Return what Enter will do with what is typed after `off until:`."""
        if text.strip() == "on":
            return "Enter: on again, from its next slot after now"
        if not text.strip():
            return "mon 9:00, tomorrow 8:00, +2h; Enter alone: off until it is switched on"
        try:
            until = parse_moment(text, self.desk.now, self.desk.zone)
        except ValueError as error:
            return str(error)
        zone = until.astimezone(self.desk.zone).tzname()
        ahead = age((until - self.desk.now).total_seconds())
        return f"Enter: off until {day_clock(until, self.desk.zone)} {zone}, in {ahead}"

    def _set_off(self, rows: Sequence[ScheduleRow], text: str, off: bool) -> None:
        self.desk.say("")
        if text == "on":
            work = self._each(rows, lambda schedules, row: schedules.enable_schedule(row.name))
            self.desk.begin_work(work, "on failed")
            return
        until = None
        if text:
            try:
                until = parse_moment(text, self.desk.now, self.desk.zone)
            except ValueError as error:
                self.desk.say(f"{error}; nothing was done", "warn")
                return
        work = self._each(rows, lambda schedules, row: schedules.disable_schedule(row.name, until))
        self.desk.begin_work(work, "off failed")

    def do_trigger_schedule(self) -> None:
        """Enqueue the job of the schedules now, once."""
        rows = self._chosen()
        refused = self._refused(rows, "trigger")
        if refused:
            self.desk.say(f"trigger refused: {refused}", "warn")
            return
        lines = _named("Run", rows, "now, once")
        lines += [
            ((f"  {cut(f'{row.task} in {row.queue}', self._line)}", "dim"),) for row in rows[:3]
        ]
        lines.append((("  their slots stay as they are", "dim"),))
        self._ask(
            "RUN NOW", rows, lines, lambda schedules, row: schedules.trigger_schedule(row.name)
        )

    def do_remove_schedule(self) -> None:
        """Remove the schedules with their history."""
        rows = self._chosen()
        refused = self._refused(rows, "remove")
        if refused:
            self.desk.say(f"remove refused: {refused}", "warn")
            return
        lines = _named("Remove", rows, "")
        lines += [
            ((f"  {cut(f'{row.expression}  {row.zone}', self._line)}", "dim"),) for row in rows[:3]
        ]
        lines.append((("  the history goes with it; jobs stay", "dim"),))
        if any(row.declared for row in rows):
            lines.append(
                (("  code declares it: the next worker that starts adds it again", "warn"),)
            )
        self._ask("REMOVE", rows, lines, lambda schedules, row: schedules.remove_schedule(row.name))

    def do_adopt_schedule(self) -> None:
        """Take what the code declares for the schedule under the cursor."""
        row = self.plans.current
        if row is None or not row.drifted:
            self.desk.say("nothing to adopt: code declares what is stored, or nothing", "warn")
            return
        refused = self._refused((row,), "adopt")
        if refused:
            self.desk.say(f"adopt refused: {refused}", "warn")
            return
        lines: list[Line] = [
            ((f"Adopt what code declares for {cut(row.name, 24)}?", "bold"),),
            (
                (f"  {cut(row.expression, 22)} ", "bad"),
                ("→ ", "dim"),
                (cut(row.drifted, 22), "good"),
            ),
        ]
        self._ask("ADOPT", (row,), lines, lambda schedules, r: schedules.adopt_schedule(r.name))


def _named(verb: str, rows: Sequence[ScheduleRow], tail: str) -> list[Line]:
    """Return the first line of a question about schedules."""
    what = cut(rows[0].name, 36) if len(rows) == 1 else plural(len(rows), "marked schedule")
    return [((f"{verb} {what}{f' {tail}' if tail else ''}?", "bold"),)]
