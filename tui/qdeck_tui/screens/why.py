"""The sheet that says why: the verdict's causes, and what keeps a queue or a job from running."""

from __future__ import annotations

from collections.abc import Sequence

from qdeck.admin import Cause, Explanation, Failure, JobRef, Verdict
from qdeck_tui.desk import Console
from qdeck_tui.format import clock, prose, safe, short_id
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.menu import TextSheet

__all__ = ["explain"]

#: Causes that nobody needs to act on.
CALM = frozenset({"ahead", "moving", "running", "finished", "empty", "not due", "waiting"})


class WhySheet(TextSheet):
    """Sentences, of which some come later; `w` closes it too."""

    def tell(self, lines: Sequence[Line]) -> None:
        """Show other lines."""
        self._lines = tuple(lines)
        self._desk.update_sheet()

    def press(self, key: str, character: str | None) -> None:
        """Scroll or close."""
        if character == "w":
            self._desk.close_sheet()
        else:
            super().press(key, character)


def explain(desk: Console, target: str | JobRef | None, verdict: Verdict | Failure | None) -> None:
    """Open the sheet at once, and fill in the causes of a target when they have come.

    `target` is the name of a queue, or a job; None explains the verdict only.
    """
    about = "" if target is None else target if isinstance(target, str) else short_id(target.id)
    head = _verdict(desk, verdict)
    sheet = WhySheet(f"WHY {safe(about)}".rstrip(), _with(head, [(("asking…", "dim"),)]), desk)
    desk.open_sheet(sheet)
    if target is None:
        sheet.tell(head or [(("nothing here to explain", "dim"),)])
        return
    asked = target

    async def fill() -> None:
        admin = desk.admin
        if admin is None:
            sheet.tell(_with(head, [(("not connected", "bad"),)]))
            return
        try:
            found = await admin.explain(asked)
        except Exception as error:
            sheet.tell(_with(head, [((safe(str(error)) or type(error).__name__, "warn"),)]))
        else:
            sheet.tell(_with(head, _causes(found)))

    desk.begin_work(fill(), "explaining failed")


def _with(head: Sequence[Line], rest: Sequence[Line]) -> list[Line]:
    return [*head, (), *rest] if head else [*rest]


def _verdict(desk: Console, verdict: Verdict | Failure | None) -> list[Line]:
    if verdict is None:
        return []
    if isinstance(verdict, Failure):
        return [((safe(verdict.reason), "bad"),)]
    since = f" since {clock(verdict.since, desk.zone)}" if verdict.since else ""
    lines: list[Line] = [((f"VERDICT: {verdict.word}{since}", "title"), ("", ""))]
    for cause in verdict.causes:
        lines.append(((f"  {safe(cause)}", ""),))
    if not verdict.causes:
        lines.append((("  nothing waits too long, nothing keeps failing", "dim"),))
    return lines


def _causes(found: Explanation) -> list[Line]:
    lines: list[Line] = []
    for number, cause in enumerate(found.causes):
        lines += [()] * bool(number)
        lines += _cause(cause)
    return lines


def _cause(cause: Cause) -> list[Line]:
    style = "" if cause.word in CALM else "bad"
    lines: list[Line] = [((part, f"{style} bold".strip()),) for part in prose(safe(cause.text), 68)]
    if cause.next_step:
        lines += [((f"  {part}", "accent"),) for part in prose(safe(cause.next_step), 66)]
    return lines
