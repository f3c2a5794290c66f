"""What the acts on jobs ask, and what they write: new ones, payloads, times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from qdeck.admin import (
    Admin,
    Change,
    Denied,
    Draft,
    JobRef,
    JobRow,
    JobWishes,
    Operation,
    Outcome,
    QueueRow,
    StateName,
    Window,
    parse_moment,
)
from qdeck_tui.actions import Subject, freeze
from qdeck_tui.desk import Console
from qdeck_tui.format import clock, cut, plural, short_id
from qdeck_tui.screens.writing import (
    CELLS,
    ask,
    ask_after,
    bold,
    field_of,
    open_form,
    positive,
    refused,
    write_now,
)
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.form import Choice, Text

__all__ = ["again", "edit", "move", "new_job"]


def new_job(desk: Console, queue: QueueRow, task: str) -> None:
    """Ask for a new job of a queue."""
    if refused(desk, "new job"):
        return
    arguments = Text(
        "payload", "payload", field_of("{}"), lambda text: "" if text else "a JSON object", "json"
    )
    fields = (
        Text("task", "task", field_of(task), lambda text: "" if text else "the name of a task"),
        arguments,
        Text("delay", "delay, s", field_of(""), positive),
        Text("priority", "priority", field_of(""), _priority),
    )

    def checked(values: dict[str, str]) -> None:
        wishes = JobWishes(
            queue=queue.name,
            delay_s=float(values["delay"]) if values["delay"] else None,
            priority=int(values["priority"]) if values["priority"] else None,
        )
        name, payload = values["task"], values["payload"]

        async def prepare(admin: Admin) -> list[Line]:
            await admin.enqueue_new(name, payload, wishes, dry_run=True)
            return [*bold(f"Enqueue {name} in {queue.name}?"),
                    ((f"  {cut(payload, CELLS - 4)}", "dim"),)]  # fmt: skip

        ask_after(desk, form, "NEW JOB", prepare,
              lambda admin: admin.enqueue_new(name, payload, wishes))  # fmt: skip

    note = "The payload is checked against what the task takes. Priority 0 to 9, empty: its own."
    form = open_form(desk, f"NEW JOB IN {queue.name}", fields, note, checked)

    async def look() -> None:
        if desk.admin is not None:
            arguments.samples = await _samples(desk.admin, queue.name, task)
            desk.update_sheet()

    desk.begin_work(look(), "no samples")


async def _samples(admin: Admin, queue: str, task: str) -> tuple[str, ...]:
    """Return the payloads of a few jobs of a task, the newest completed ones first."""
    found: list[str] = []
    query = f"task:{task}" if task else ""
    for state, reverse in (("completed", True), ("pending", False), ("dead", True)):
        page = await admin.jobs(queue, cast("StateName", state), Window(0, 3, reverse), query)
        for row in page.rows[:3]:
            detail = await admin.job(row.ref)
            if detail is not None and row.task == task:
                found.append(detail.payload)
    return tuple(dict.fromkeys(found))[:5]


def again(desk: Console, job: JobRow) -> None:
    """Ask whether to enqueue a new job like a known one."""
    if refused(desk, "again"):
        return
    dialog = ask(desk, "AGAIN", lambda admin: admin.enqueue_again(job.ref))
    lines = bold(f"Enqueue a new job like {short_id(job.ref.id)} ({job.task} in {job.ref.queue})?")
    lines.append(((f"  {cut(job.args, CELLS - 4)}", "dim"),))
    dialog.fill(lines, 1)


def edit(desk: Console, job: JobRow) -> None:
    """Ask for another payload of one job; a dead or cancelled one may run again with it."""
    if refused(desk, "edit"):
        return
    dead = job.state in ("dead", "cancelled")
    kept = [("", "reading…")]
    payload = Text("payload", "payload", field_of(""), shape="json")
    fields: list[Text | Choice] = [Text("set", "set", field_of(""), _changes, "parts"), payload]
    if dead:
        fields.append(Choice("then", "then", (("retry", "save and retry"), ("save", "save only"))))

    def checked(values: dict[str, str]) -> None:
        before = kept[0][0]
        retry = values.get("then") == "retry"
        made = [before]

        async def prepare(admin: Admin) -> list[Line]:
            if not before:
                raise Denied("the payload has not been read yet")
            made[0] = await _made(admin, job.ref, before, values)
            if made[0] == before and not retry:
                raise Denied("nothing is changed yet")
            if made[0] != before:
                await admin.edit_payload(job.ref, made[0], dry_run=True)
            end = " and retry it" if retry else ""
            return [
                *bold(f"Replace the payload of job {short_id(job.ref.id)}{end}?"),
                ((f"  - {cut(before, CELLS - 6)}", "bad"),),
                ((f"  + {cut(made[0], CELLS - 6)}", "good"),),
                (("  the old one is kept: u takes the edit back", "dim"),),
            ]

        async def write(admin: Admin) -> Outcome:
            outcome = Outcome("the payload is as it was")
            if made[0] != before:
                outcome = await admin.edit_payload(job.ref, made[0])
            if not retry:
                return outcome
            operation = await _run(admin, await admin.retry([job.ref]))
            said = "and it runs again" if operation.ok else "but it was not dead any more"
            return Outcome(f"{outcome.text}, {said}", operation.ok)

        ask_after(desk, form, "EDIT", prepare, write)

    note = 'set: currency = "EUR"   -name takes one away   old -> new renames'
    form = open_form(desk, f"EDIT {short_id(job.ref.id)} {job.task}", fields, note, checked)

    async def read() -> None:
        admin = desk.admin
        detail = None if admin is None else await admin.job(job.ref)
        if detail is None:
            form.fail("the record of this job is gone")
            return
        kept[0] = (detail.payload, "")
        payload.field.put(detail.payload)
        desk.update_sheet()

    desk.begin_work(read(), "reading the payload failed")


async def _made(admin: Admin, ref: JobRef, before: str, values: dict[str, str]) -> str:
    """Return the payload that the form makes: what stands in its field, with the line on top."""
    payload = values["payload"] or before
    if not values["set"]:
        return payload
    if payload != before:
        raise Denied("change the payload in one place: with the set line, or in its field")
    changes = [Change.parse(part) for part in _parts(values["set"])]
    draft = await admin.patch([ref], changes, dry_run=True)
    if not draft.diffs:
        raise Denied("the job is in another state by now")
    diff = draft.diffs[0]
    if diff.problem:
        raise Denied(diff.problem)
    return diff.after


def move(desk: Console, subject: Subject) -> None:
    """Type when waiting jobs are to be due; Enter moves them."""
    if refused(desk, "move"):
        return
    rows = [target for target in subject.targets if isinstance(target, JobRow)]
    number = subject.total if subject.selection is not None else len(rows)
    single = rows[0] if len(rows) == 1 and subject.selection is None else None
    what = f"job {short_id(single.ref.id)}" if single else plural(number or 0, "job")

    def changed(text: str) -> None:
        desk.say(_due_words(desk, text, single))

    def done(text: str) -> None:
        desk.say("")
        try:
            by, to = _due(text, desk.now, desk)
        except ValueError as error:
            desk.say(f"{error}; nothing was moved", "warn")
            return
        said = _due_words(desk, text, single).removeprefix("Enter: ")

        async def write(admin: Admin) -> Outcome:
            refs = subject.selection or await freeze(admin, subject)
            operation = await _run(admin, await admin.move_in_time(refs, to=to, by=by))
            left = operation.total - operation.ok
            tail = f", {left:,} left alone: they had changed" if left else ""
            return Outcome(f"moved {plural(operation.ok, 'job')}: {said}{tail}", operation.ok)

        write_now(desk, "move", write)

    desk.ask(f"{what} due: ", "", changed, done, lambda: desk.say(""))
    changed("")


def _due(text: str, now: datetime, desk: Console) -> tuple[timedelta | None, datetime | None]:
    """Return by how much, or to when; ValueError with one line."""
    words = text.strip()
    if words[:1] in ("+", "-"):
        ahead = parse_moment(f"+{words[1:]}", now, desk.zone) - now
        by = timedelta(seconds=round(ahead.total_seconds()))
        return (by if words[0] == "+" else -by), None
    return None, parse_moment(words, now, desk.zone)


def _due_words(desk: Console, text: str, job: JobRow | None) -> str:
    """Return what Enter will do with what is typed after `due:`."""
    if not text.strip():
        return "+2h, -30m, 16:00, mon 9:00"
    try:
        by, to = _due(text, desk.now, desk)
    except ValueError as error:
        return str(error)
    due = job.due_at if job is not None else None
    if to is None and by is not None:
        to = due + by if due is not None else None
        if to is None:
            return f"Enter: {text.strip()} from when each is due now"
    zone = desk.now.astimezone(desk.zone).tzname()
    before = f"due {clock(due, desk.zone)} → " if due is not None else ""
    day = f"{to.astimezone(desk.zone):%d %b} " if to and to - desk.now > timedelta(hours=20) else ""
    return f"Enter: {before}{day}{clock(to, desk.zone)} {zone}"


async def _run(admin: Admin, draft: Draft) -> Operation:
    """Run a small draft to its end."""
    operation = await admin.start(draft)
    while operation.state == "running":
        operation = await admin.advance(operation.id, operation.queue)
    return operation


def _priority(text: str) -> str:
    return "" if not text or text in "0123456789" else "0 to 9"


def _parts(text: str) -> list[str]:
    return [part for part in (each.strip() for each in text.split(" ; ")) if part]


def _changes(text: str) -> str:
    try:
        for part in _parts(text):
            Change.parse(part)
    except Denied as error:
        return str(error)
    return ""
