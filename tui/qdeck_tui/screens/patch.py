"""Patch and retry: the form with the changes and the pace, the question with what they would make
of the jobs, and the operation that follows a yes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from typing import Any

from qdeck.admin import Admin, Denied, Draft, ErrorGroup, JobRef, JobRow, Selection
from qdeck_tui.actions import Subject, freeze
from qdeck_tui.desk import Console
from qdeck_tui.format import count, cut, drain, plural, prose, safe, short_id
from qdeck_tui.screens.carry import RATE, STOP_AFTER, carry, pace_words
from qdeck_tui.screens.changes import as_object, changes_of, flaw_of, shown_diff, value_text
from qdeck_tui.screens.question import question
from qdeck_tui.screens.trial import Trial, newest
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.field import Field
from qdeck_tui.widgets.form import Choice, Text
from qdeck_tui.widgets.patchform import PatchForm

__all__ = ["open_patch", "patch_handler"]

_YES_NO = (("yes", "yes"), ("no", "no"))
_TITLE = "PATCH AND RETRY"
_NOTES = (
    "args.name = value    -args.name    args.old -> new    several with ;",
    "Ctrl+X freezes the jobs and asks; what dies later is not among them.",
)


def open_patch(desk: Console, subject: Subject, what: str) -> None:
    """Open the form for the dead jobs of a subject, which are named in words."""
    refusal = desk.refusal or _denied(desk, subject)
    if refusal:
        desk.say(f"patch refused: {refusal}", "warn")
        return
    trial = Trial(desk)
    setting = Text("changes", "set", Field(), flaw_of, "parts")
    fields = (
        setting,
        Text("rate", "rate /s", _field(f"{RATE:g}"), _rate),
        Text("stop", "stop after", _field(str(STOP_AFTER)), _stop),
        Choice("canary", "try 1 first", _YES_NO),
        Choice("resume", "then resume", _YES_NO),
        Choice("copy", "keep copy", _YES_NO),
    )

    def changed() -> None:
        trial.typed(setting.value)
        desk.update_sheet()

    def closed() -> None:
        trial.end()
        desk.close_sheet()

    def done(values: dict[str, str]) -> None:
        closed()
        _ask(desk, subject, values, what)

    form = PatchForm(
        f"{_TITLE}  {what}", fields, lambda values: _NOTES,
        shown=trial.lines, will=lambda values: _will(subject, values),
        changed=changed, done=done, closed=closed,
    )  # fmt: skip
    desk.open_sheet(form)

    async def look() -> None:
        admin = desk.admin
        if admin is None:
            return
        refs = await newest(admin, subject)
        setting.samples = await _samples(admin, subject, refs)
        trial.start(refs)
        desk.update_sheet()

    desk.begin_work(look(), "no samples")


async def _samples(admin: Admin, subject: Subject, refs: Sequence[JobRef]) -> tuple[str, ...]:
    """Return lines that could be wanted: what is missing comes first."""
    first = subject.targets[0]
    missing: list[str] = []
    if isinstance(first, ErrorGroup):
        with suppress(Denied):
            found = await admin.shared(first)
            missing = [fact.name for fact in found.facts if fact.kind == "missing"]
    detail = await admin.job(refs[0]) if refs else None
    if detail is None:
        return ()
    known = as_object(detail.payload)
    lines = [f'args.{name} = ""' for name in missing if name not in known]
    return (*lines, *(f"args.{name} = {value_text(value)}" for name, value in known.items()))


def _will(subject: Subject, values: dict[str, str]) -> str:
    """Return what Ctrl+X leads to: how many jobs, where, and about how long that takes."""
    number: int | None = subject.total
    queues = {target.queue for target in subject.targets if isinstance(target, ErrorGroup)}
    if subject.selection is None:
        sizes = [
            target.count if isinstance(target, ErrorGroup) else 1 for target in subject.targets
        ]
        number = None if None in sizes else sum(size or 0 for size in sizes)
        queues |= {target.ref.queue for target in subject.targets if isinstance(target, JobRow)}
    elif subject.selection.queue is not None:
        queues = {subject.selection.queue}
    where = f" in {safe(min(queues))}" if len(queues) == 1 else ""
    rate = _number(values["rate"])
    if number == 1:
        return f"change 1 job, start it{where} at once"
    said = f"change {count(number)} jobs, start {count(number)}{where}"
    if rate is None:
        return f"{said}, as fast as it goes"
    return f"{said}, about {_length(number / rate)}" if number else f"{said}, {rate:g}/s"


def _length(seconds: float) -> str:
    return f"{ceil(seconds)} s" if seconds < 120 else drain(seconds)


def _denied(desk: Console, subject: Subject) -> str:
    """Return why the jobs may not be retried, empty where they may."""
    if desk.admin is None:
        return "not connected"
    permission = desk.admin.actions(subject.targets[0]).get("retry")
    if permission is None:
        return "only dead and cancelled jobs can be patched and retried"
    return "" if permission.allowed else permission.reason or "not allowed"


def _ask(desk: Console, subject: Subject, values: dict[str, str], what: str) -> None:
    """Ask before the write: the jobs are frozen now, and no others are meant."""
    drafts: list[tuple[Admin, Draft]] = []

    def answer(yes: bool) -> None:
        for admin, draft in drafts:
            work: Any = _go(desk, admin, draft, values) if yes else admin.forget(draft)
            desk.begin_work(work, "patch and retry failed")
        if not yes or not drafts:
            desk.say("patch and retry: no, nothing was done")

    dialog = question(desk, _TITLE, answer, low=True)

    async def prepare() -> None:
        admin = desk.admin
        if admin is None:
            dialog.fail("not connected")
            return
        try:
            draft = await admin.patch(
                await _jobs(admin, subject), changes_of(values["changes"]), retry=True
            )
        except Exception as error:
            dialog.fail(f"patch and retry: {error}")
            return
        drafts.append((admin, draft))
        if not draft.total:
            dialog.fail("nothing to do: no job is dead any more")
        elif draft.invalid == draft.total:
            problem = draft.diffs[0].problem if draft.diffs else "its task refuses it"
            dialog.fail(f"no job would take it: {problem}")
        else:
            dialog.fill(_sentences(draft, values, what), draft.total)

    desk.begin_work(prepare(), "patch and retry failed")


async def _jobs(admin: Admin, subject: Subject) -> Any:
    """Return the jobs as a description where there is one, so that the server freezes them."""
    if subject.selection is not None:
        return subject.selection
    if len(subject.targets) == 1 and isinstance(subject.targets[0], ErrorGroup):
        group = subject.targets[0]
        return Selection("dead", group.queue, group.fingerprint)
    return await freeze(admin, subject)


async def _go(desk: Console, admin: Admin, draft: Draft, values: dict[str, str]) -> None:
    many = draft.total > 1
    await carry(
        desk,
        admin,
        draft,
        "patch and retry",
        rate=_number(values["rate"]) if many else None,
        stop_after=int(values["stop"]) if many and values["stop"] else None,
        canary=many and values["canary"] == "yes",
        keep_copy=values["copy"] == "yes",
        resume=many and values["canary"] == values["resume"] == "yes",
    )


def _sentences(draft: Draft, values: dict[str, str], what: str) -> list[Line]:
    said = f"Patch and retry {plural(draft.total, 'dead job')} of {what}?"
    lines: list[Line] = [((part, "bold"),) for part in prose(said, 70)]
    if draft.warning:
        lines += [((part, "warn"),) for part in prose(safe(draft.warning), 70)]
    counts = f"{draft.changed or 0:,} change, {draft.unchanged or 0:,} stay the same"
    lines.append(
        ((counts, ""), (f", {draft.invalid or 0:,} invalid", "bad" if draft.invalid else ""))
    )
    for diff in draft.diffs:
        lines.append(((f" {short_id(diff.ref.id)} ", "dim"), (cut(shown_diff(diff), 60), "")))
    pace = pace_words(_number(values["rate"]), int(values["stop"]) if values["stop"] else None)
    if draft.total > 1:
        if values["canary"] == "yes":
            lines.append((("tries one job first, and goes on if it completes", "dim"),))
        if pace:
            lines.append(((pace, "dim"),))
    if values["copy"] == "yes":
        lines.append((("can be undone for 24 hours", "dim"),))
    return lines


def _field(text: str) -> Field:
    made = Field()
    made.put(text, fresh=True)
    return made


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _rate(text: str) -> str:
    value = _number(text)
    good = not text or (value is not None and 0 < value <= 1_000_000)
    return "" if good else "jobs a second, or empty for as fast as it goes"


def _stop(text: str) -> str:
    good = not text or (text.isdecimal() and 0 < int(text) <= 1000)
    return "" if good else "new failures from 1 to 1,000, or empty for never"


def patch_handler(desk: Console, subject: Subject | None, what: str) -> Callable[[], None] | None:
    """Return what opens the form, None where nothing is meant."""
    if subject is None or not subject.targets:
        return None
    chosen = subject
    return lambda: open_patch(desk, chosen, what)
