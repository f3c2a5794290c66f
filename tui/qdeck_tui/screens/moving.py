"""Moves waiting jobs to another queue: its name is typed, a question says how many, and whence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from qdeck.admin import Admin, Denied, Draft, JobRef, JobRow, Selection
from qdeck_tui.actions import Subject, freeze
from qdeck_tui.desk import Console
from qdeck_tui.format import cut, plural, safe, short_id
from qdeck_tui.screens.carry import carry
from qdeck_tui.screens.question import question
from qdeck_tui.screens.writing import CELLS, bold, prepare_ask, refused, write_now
from qdeck_tui.widgets.canvas import Line

__all__ = ["move_queue"]

_TITLE = "MOVE TO QUEUE"


def move_queue(desk: Console, subject: Subject) -> None:
    """Type the queue that waiting jobs are to go to; Enter asks."""
    if refused(desk, "move to queue"):
        return
    number = subject.total if subject.selection is not None else len(subject.targets)
    names = _queues(desk)

    def changed(text: str) -> None:
        name = text.strip()
        fitting = [each for each in names if each.startswith(name)]
        if name in names:
            desk.say(f"Enter: asks whether to move {plural(number or 0, 'job')} to {name}")
        elif fitting:
            desk.say("Tab: " + "  ".join(fitting[:8]) + (" …" if len(fitting) > 8 else ""))
        else:
            desk.say(f"there is no queue {cut(name, 40)} yet; Enter asks whether to begin it")

    def complete(text: str) -> str:
        fitting = [each for each in names if each.startswith(text.strip())]
        return _common(fitting) if fitting else text

    def done(text: str) -> None:
        desk.say("")
        if text.strip():
            _ask(desk, subject, text.strip(), names)
        else:
            desk.say("move to queue: no name was typed; nothing was moved", "warn")

    what = plural(number, "job") if number is not None else "all jobs"
    desk.ask(f"{what} to queue: ", "", changed, done, lambda: desk.say(""), complete)
    changed("")


def _queues(desk: Console) -> tuple[str, ...]:
    """Return the names of the queues that are known."""
    rows = getattr(desk.snapshot, "queues", ())
    return tuple(sorted(row.name for row in rows)) if isinstance(rows, tuple) else ()


def _common(names: Sequence[str]) -> str:
    """Return what all names begin with."""
    first, last = min(names), max(names)
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first if same is None else first[:same]


def _ask(desk: Console, subject: Subject, queue: str, names: Sequence[str]) -> None:
    """Ask before the write; what is meant is frozen now."""
    drafts: list[tuple[Admin, Draft]] = []
    refs: list[JobRef] = []

    def answer(yes: bool) -> None:
        for admin, draft in drafts:
            work = carry(desk, admin, draft, "move") if yes else admin.forget(draft)
            desk.begin_work(work, "move failed")
        if yes and refs:
            write_now(desk, "move", lambda admin: admin.move_queue(tuple(refs), queue))
        elif not yes or not drafts:
            desk.say("move to queue: no, nothing was moved")

    dialog = question(desk, _TITLE, answer)

    async def prepare(admin: Admin) -> None:
        if isinstance(subject.selection, Selection):
            draft = await admin.move_queue(subject.selection, queue)
            drafts.append((admin, draft))
            number, rows = draft.total, draft.samples
        else:
            refs.extend(ref for ref in await freeze(admin, subject) if ref.queue != queue)
            number, rows = len(refs), _rows(subject)
            await admin.move_queue(refs[:1], queue, dry_run=True)
        if not number:
            raise Denied(f"nothing to move: the jobs are in {queue} already, or wait no more")
        dialog.fill(_sentences(subject, queue, number, rows, refs, queue in names), number)

    prepare_ask(desk, dialog, prepare, "move to queue")


def _rows(subject: Subject) -> tuple[JobRow, ...]:
    return tuple(target for target in subject.targets if isinstance(target, JobRow))


def _sentences(
    subject: Subject,
    queue: str,
    number: int,
    rows: Sequence[JobRow],
    refs: Sequence[JobRef],
    known: bool,
) -> list[Line]:
    scope = f" ({subject.scope})" if subject.scope not in ("", "marked") else ""
    noun = "marked job" if subject.scope == "marked" else "job"
    lines = bold(f"Move {plural(number, noun)}{scope} to the queue {queue}?")
    if subject.hidden:
        said = f"{subject.hidden:,} of the marks are not shown by the filter"
        lines.append(((said, "warn"),))
    if not known:
        lines.append(
            ((f"there is no queue {safe(cut(queue, 30))} yet: see that it is served", "warn"),)
        )
    whence = Counter(ref.queue for ref in refs).most_common(4)
    if whence:
        told = ", ".join(f"{safe(name)} {many:,}" for name, many in whence)
        lines.append(((f"from {told}", ""),))
    lines.append((("attempts begin anew; earlier runs and logs stay behind", "dim"),))
    for row in rows[:3]:
        sample = f"  {short_id(row.ref.id)}  {safe(row.task)}  {safe(row.args)}"
        lines.append(((cut(sample, CELLS), "dim"),))
    return lines
