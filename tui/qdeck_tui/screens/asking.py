"""What the acts on queues, workers and the record ask, and what they write: undo, clear, limits,
slots.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from qdeck.admin import (
    Admin,
    AuditRow,
    Denied,
    Outcome,
    QueueRow,
    StateName,
    Window,
    WorkerRow,
)
from qdeck_tui.desk import Console
from qdeck_tui.format import age, count, cut, plural, safe, stamp
from qdeck_tui.screens.writing import (
    CELLS,
    ask,
    ask_after,
    bold,
    change_line,
    field_of,
    open_form,
    positive,
    prepare_ask,
    refused,
    whole,
    write_now,
)
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.form import Text

__all__ = ["Clearable", "clear", "limits", "slots", "undo", "undo_last"]

Clearable = StateName
#: Acts of one actor and verb that follow each other within so many seconds are one act.
TOGETHER = 1.5
RECENT = 200


# Undo


def undo_last(desk: Console) -> None:
    """Ask whether to take the newest own act back; what one key did to several goes together."""
    if refused(desk, "undo"):
        return

    async def find(admin: Admin) -> tuple[AuditRow, ...]:
        rows = await admin.audit(Window(0, RECENT))
        mine = [row for row in rows if row.actor == admin.actor and row.undoable and not row.of]
        if not mine:
            raise Denied(f"{admin.actor} did nothing lately that can be taken back; 9 lists all")
        last = mine[:1]
        for row in mine[1:]:
            gap = (last[-1].at - row.at).total_seconds()
            if row.verb != last[0].verb or gap > TOGETHER:
                break
            last.append(row)
        return tuple(last)

    _ask_undo(desk, find, others=False)


def undo(desk: Console, row: AuditRow) -> None:
    """Ask whether to take one act back, whoever did it."""
    if refused(desk, "undo"):
        return

    async def find(admin: Admin) -> tuple[AuditRow, ...]:
        return (row,)

    _ask_undo(desk, find, others=True)


def _ask_undo(
    desk: Console, find: Callable[[Admin], Awaitable[tuple[AuditRow, ...]]], *, others: bool
) -> None:
    found: list[AuditRow] = []

    async def write(admin: Admin) -> Outcome:
        outcomes = [await admin.undo(row.id, others=others) for row in found]
        texts = list(dict.fromkeys(outcome.text for outcome in outcomes))
        more = f"; and {len(texts) - 1} more" if len(texts) > 1 else ""
        return Outcome(f"{texts[0]}{more}", sum(outcome.changed for outcome in outcomes))

    dialog = ask(desk, "UNDO", write)

    async def prepare(admin: Admin) -> None:
        found.extend(await find(admin))
        first = found[0]
        await admin.undo(first.id, others=others, dry_run=True)
        what = first.target if len(found) == 1 else f"{len(found)} targets"
        ago = age((desk.now - first.at).total_seconds())
        lines = bold(f"Undo {first.verb} of {what}?")
        lines.append(((f"  by {safe(first.actor)}, {ago} ago", ""),))
        if first.count is not None and first.count > 1:
            lines.append(((f"  it changed {count(first.count)}: {safe(first.outcome)}", "dim"),))
        if len(found) > 1:
            lines += [((f"  {cut(row.target, CELLS - 4)}", "dim"),) for row in found[:4]]
        if first.actor != admin.actor:
            lines.append((("  it is the act of somebody else", "warn"),))
        if first.undo_until is not None:
            until = stamp(first.undo_until, desk.zone)
            lines.append(((f"  can be taken back until {until}", "dim"),))
        dialog.fill(lines, 1)

    prepare_ask(desk, dialog, prepare, "undo")


# Queues and workers


def clear(desk: Console, queue: QueueRow, state: Clearable) -> None:
    """Ask whether to clear a queue; the number is always typed."""
    if refused(desk, "clear"):
        return
    dialog = ask(desk, "CLEAR", lambda admin: admin.clear(queue.name, state))

    async def prepare(admin: Admin) -> None:
        outcome = await admin.clear(queue.name, state, dry_run=True)
        if not outcome.changed:
            raise Denied(f"{queue.name} has no {state} jobs")
        lines = bold(f"Clear {plural(outcome.changed, f'{state} job')} of {queue.name}?")
        lines.append((("  a copy is kept for 24 h: u takes it back", "dim"),))
        dialog.fill(lines, outcome.changed, always=True)

    prepare_ask(desk, dialog, prepare, "clear")


def limits(desk: Console, queue: QueueRow) -> None:
    """Ask for the limits of a queue."""
    if refused(desk, "limits"):
        return
    note = "Over all workers; empty: no limit."
    fields = (
        Text(
            "limit", "at a time", field_of("" if queue.limit is None else str(queue.limit)), whole
        ),
        Text(
            "rate", "a second", field_of("" if queue.rate is None else f"{queue.rate:g}"), positive
        ),
    )

    def checked(values: dict[str, str]) -> None:
        limit = int(values["limit"]) if values["limit"] else None
        rate = float(values["rate"]) if values["rate"] else None

        async def prepare(admin: Admin) -> list[Line]:
            await admin.set_limits(queue.name, limit, rate, dry_run=True)
            return [
                *bold(f"Set the limits of {queue.name}?"),
                change_line("at a time", queue.limit, limit),
                change_line("a second", queue.rate, rate),
            ]

        ask_after(
            desk, form, "LIMITS", prepare, lambda admin: admin.set_limits(queue.name, limit, rate)
        )

    form = open_form(desk, f"LIMITS OF {queue.name}", fields, note, checked)


def slots(desk: Console, worker: WorkerRow) -> None:
    """Type how many jobs a worker runs at a time; Enter asks it for that."""
    if refused(desk, "slots"):
        return
    now = "" if worker.concurrency is None else str(worker.concurrency)

    def changed(text: str) -> None:
        wrong = whole(text) if text.strip() else "how many jobs it runs at a time"
        desk.say(
            wrong or f"Enter: {worker.id} runs up to {text.strip()} jobs at a time (now {now})"
        )

    def done(text: str) -> None:
        desk.say("")
        wrong = whole(text.strip()) or ("" if text.strip() else "no number")
        if wrong:
            desk.say(f"slots: {wrong}; nothing was asked", "warn")
            return
        write_now(desk, "slots", lambda admin: admin.slots(worker.id, int(text)))

    desk.ask("slots: ", now, changed, done, lambda: desk.say(""))
    changed(now)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
