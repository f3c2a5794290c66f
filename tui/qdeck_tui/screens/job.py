"""One job: where it stands, and its live log, error, attempts, payload and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import cast

from qdeck.admin import Failure, JobDetail, JobRef
from qdeck_tui.actions import Subject
from qdeck_tui.format import age, count, duration, short_id, stamp, wrap
from qdeck_tui.poller import LogRead, Read
from qdeck_tui.screens.base import Parts, View, take
from qdeck_tui.screens.columns import STATE_STYLES, seconds_since
from qdeck_tui.screens.dead import DeadView, error_lines
from qdeck_tui.screens.similar import SimilarLine
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.logpane import LogPane
from qdeck_tui.widgets.pane import Pane, TextPane

__all__ = ["JobView"]

SECTIONS = ("Log", "Error", "Attempts", "Payload", "Meta")


class JobView(View):
    """The detail of a job; it opens on the log."""

    view_id = "job"

    def __init__(self, ref: JobRef) -> None:
        super().__init__(short_id(ref.id))
        self.ref = ref
        self.detail: JobDetail | None = None
        self.head = TextPane(f"JOB {ref.id}")
        self.head.reachable = False
        self.log_pane = LogPane("LOG", say=lambda text, style: self.desk.say(text, style))
        self.text = TextPane("")
        self.text.wrapped = True
        self.similar = SimilarLine()
        self.panes: list[Pane] = [self.head, self.log_pane, self.text, self.similar]
        self.text.wanted = False
        self.section = 0
        self._attempt: int | None = None
        self._read = False

    def on_mount(self) -> None:
        """Follow the log. Textual calls the handlers of the base classes by itself."""
        self.desk.follow(self.ref)
        self._show_section()

    def fit_panes(self, width: int, height: int) -> None:
        """Keep the head short."""
        self.head.styles.height = 5 if height >= 22 else 3
        self.log_pane.display = self.log_pane.wanted
        self.text.display = self.text.wanted
        self.similar.styles.height = 1
        self.similar.display = self.similar.wanted

    @property
    def awaiting(self) -> bool:
        """Whether the job has not been read yet."""
        return not self._read and self.head.trouble is None

    def do_why(self) -> None:
        """Say why the job does not run, or how it ended."""
        from qdeck_tui.screens.why import explain

        explain(self.desk, self.ref, None)

    # What is read

    def parts(self) -> Mapping[str, Read]:
        """Ask for the job, and now and then for those that failed like it."""
        return {"job": lambda admin: admin.job(self.ref), **self.similar.parts(self.detail)}

    def show(self, parts: Parts) -> None:
        """Take the job; a new attempt of a finished one makes its log go on."""
        value = parts["job"]
        if not take(self.head, value):
            return
        self._read = True
        if value is None:
            self.head.show([(("there is no record of this job any more", "warn"),)])
            return
        first, self.detail = self.detail is None, cast("JobDetail", value)
        self._show_head(self.detail)
        if self.similar.tell(parts, self.desk):
            self.on_resize()
        if first and self.similar.parts(self.detail):
            self.desk.poll()
        if self.section:
            self._show_section()

    def show_log(self, read: LogRead) -> None:
        """Take lines of the log."""
        if isinstance(read.chunk, Failure):
            self.log_pane.trouble = read.chunk.reason
            self.log_pane.redraw()
            return
        chunk = read.chunk
        self.log_pane.trouble = None
        self.log_pane.total, self.log_pane.ended = chunk.total, chunk.ended
        self.log_pane.add(chunk.lines, read.missed)

    def summary(self) -> str:
        """Return task, queue and state."""
        if self.detail is None:
            return ""
        row = self.detail.row
        return f"{row.task} @ {row.ref.queue}  {row.state.upper()}"

    # Drawing

    def _show_head(self, detail: JobDetail) -> None:
        row, zone = detail.row, self.desk.zone
        tries = f"{'?' if row.attempt is None else row.attempt}/{row.max_attempts or '?'}"
        style = STATE_STYLES.get(row.state, "accent")
        state = f"{row.state.upper()} {tries}"
        if row.cancel_requested and row.state == "running":
            state += "  asked to stop"
        if row.held:
            state += "  HELD: its task is paused"
        steps = [f"queued {_second(row.created_at, zone)}"]
        if row.due_at is not None and row.state in ("scheduled", "retrying"):
            steps.append(f"due {_second(row.due_at, zone)}")
        if row.started_at is not None:
            steps.append(f"run {_second(row.started_at, zone)}")
        if row.finished_at is not None:
            steps.append(f"{row.state} {_second(row.finished_at, zone)}")
        took = ""
        if row.started_at is not None and row.finished_at is not None:
            took = f"  took {duration((row.finished_at - row.started_at).total_seconds())}"
        elif row.started_at is not None and row.state == "running":
            since = seconds_since(row.started_at, self.desk.now) or 0
            took = f"  for {age(since)}"
            if row.usual_p95_s is not None:
                took += f" (usual p95 {duration(row.usual_p95_s)})"
        lines: list[Line] = [
            ((f" {state}", f"{style} bold"), ("  " + " > ".join(steps) + took, "")),
            (
                (f" {row.task}", "bold"),
                (f" in {row.ref.queue}", ""),
                (f"  priority {count(row.priority)}  worker {row.worker or '-'}", "dim"),
            ),
            ((f" args {row.args}", ""),),
        ]
        if row.state == "running" and (row.progress is not None or row.message):
            done = f"{row.progress:.0f}% " if row.progress is not None else ""
            lines.insert(1, ((f" progress {done}{row.message}", "accent"),))
        elif detail.reason or row.error:
            lines.insert(1, ((f" {detail.reason or row.error}", "bad"),))
        self.head.title = f"JOB {row.ref.id}"
        self.head.show(lines)

    def _show_section(self) -> None:
        names = " ".join(
            name.upper() if at == self.section else name.lower() for at, name in enumerate(SECTIONS)
        )
        on_log = self.section == 0
        self.log_pane.title = names
        self.text.title = names
        self.log_pane.wanted, self.text.wanted = on_log, not on_log
        self.log_pane.display, self.text.display = on_log, not on_log
        place = 1 if on_log else 2
        if self.at != place or not self.panes[place].active:
            self.activate(place)
        if not on_log:
            self.text.show(self._section_lines())
        else:
            self.log_pane.redraw()

    def _section_lines(self) -> list[Line]:
        detail, zone = self.detail, self.desk.zone
        if detail is None:
            return [(("reading…", "dim"),)]
        name = SECTIONS[self.section]
        if name == "Error":
            lines = error_lines(detail, max(20, self.size.width - 2))
            return lines or [(("no error: it has not failed", "dim"),)]
        if name == "Attempts":
            return self._attempts(detail)
        if name == "Payload":
            lines = [((part, ""),) for part in (detail.payload or "(empty)").splitlines()]
            if detail.was is not None:
                when = stamp(detail.edited_at, zone)
                lines += [(), ((f"before {detail.edited_by} edited it, {when}:", "dim"),)]
                lines += [((part, "dim"),) for part in detail.was.splitlines()]
            return lines
        row = detail.row
        lines = [
            ((f"id        {row.ref.id}", ""),),
            ((f"created   {stamp(row.created_at, zone)}", ""),),
            ((f"crashes   {count(detail.crashes)}", ""),),
            ((f"log lines {count(detail.log_lines)}", ""),),
            ((f"result    {'-' if detail.result is None else detail.result}", ""),),
            ((f"metadata  {detail.metadata or '-'}", ""),),
        ]
        if detail.error is not None and detail.error.fingerprint:
            lines.append(((f"group     {detail.error.fingerprint}", ""),))
        return lines

    def _attempts(self, detail: JobDetail) -> list[Line]:
        if not detail.attempts:
            return [(("no attempt is recorded yet", "dim"),)]
        lines: list[Line] = []
        for attempt in detail.attempts:
            took = "?"
            if attempt.started_at is not None and attempt.ended_at is not None:
                took = duration((attempt.ended_at - attempt.started_at).total_seconds())
            style = "good" if attempt.outcome == "completed" else "warn"
            lines.append((
                (f"#{attempt.number:<3}", "bold"),
                (f"{stamp(attempt.started_at, self.desk.zone)}  {took:>7}  ", ""),
                (f"{attempt.outcome:<10}", style),
                (f" on {attempt.worker or '?'}  ", "dim"),
            ))  # fmt: skip
            if attempt.error:
                lines += [((f"     {part}", "bad"),) for part in wrap(attempt.error[:500], 70)]
        return lines

    # Rows of the action table

    def subject(self) -> Subject | None:
        """Return this job."""
        return None if self.detail is None else Subject((self.detail.row,))

    def do_previous(self) -> None:
        """Show the section before."""
        self.section = (self.section - 1) % len(SECTIONS)
        self.text.top = 0
        self._show_section()

    def do_following(self) -> None:
        """Show the next section."""
        self.section = (self.section + 1) % len(SECTIONS)
        self.text.top = 0
        self._show_section()

    @property
    def do_similar(self) -> object:
        """Open the group of dead jobs that failed like this one; None where there is none."""
        group = self.similar.group
        return None if group is None else lambda: self.desk.visit(DeadView(group))

    def do_log(self) -> None:
        """Show the log."""
        self.section = 0
        self._show_section()

    @property
    def do_find(self) -> object:
        """Type what to find in the log; there is nothing to find elsewhere."""
        return self._find if self.section == 0 else None

    def _find(self) -> None:
        pane = self.log_pane
        before = pane.needle
        self.desk.ask("find ", before, lambda text: None, pane.search, lambda: pane.search(""))

    @property
    def do_save(self) -> object:
        """Save the kept lines to a file in the working folder."""
        return self._save if self.section == 0 else None

    def _save(self) -> None:
        path = Path(f"qdeck-{short_id(self.ref.id)}.log").absolute()
        try:
            path.write_text(self.log_pane.words(), encoding="utf-8")
        except OSError as error:
            self.desk.say(f"not saved: {error.strerror} {path}", "bad")
            return
        self.desk.say(f"saved to {path}", "good")

    def do_copy(self) -> None:
        """Choose what to copy of the job."""
        from qdeck_tui.widgets.menu import CopyMenu

        choices = [("i", "id", self.ref.id)]
        if self.detail is not None:
            choices.append(("p", "payload", self.detail.payload))
            if self.detail.error is not None:
                choices.append(("e", "error", self.detail.error.traceback
                                or self.detail.error.message))  # fmt: skip
        if self.section == 0:
            choices.append(("l", "log", self.log_pane.words()))
        self.desk.open_sheet(CopyMenu(choices, self.desk))


def _second(at: datetime | None, zone: tzinfo) -> str:
    return "?" if at is None else at.astimezone(zone).strftime("%H:%M:%S")
