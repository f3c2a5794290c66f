"""The form of a patch: its line comes first, what that makes of jobs below it, then the pace."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qdeck_tui.format import prose
from qdeck_tui.widgets.canvas import Line, Span, line_width
from qdeck_tui.widgets.form import Choice, Form, Text

__all__ = ["PatchForm"]

#: The words before and after each field, and which row it stands on.
_ROWS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("rate", (("rate", "", " /s"), ("stop", "stop after ", " new failures"))),
    ("first", (("canary", "try 1 job", ""), ("resume", "then resume task", ""),
               ("copy", "keep copy (undo)", ""))),
)  # fmt: skip
_NAME = 7
#: Cells of a row's name with its sign, and between two fields of a row.
_HEAD = _NAME + 2
_GAP = 3


class PatchForm(Form):
    """A form whose fields share rows, at the bottom of the screen so that the list stays in sight.

    `shown` returns what the line would do in so many cells, `will` what Ctrl+X leads to.
    """

    low = True

    def __init__(
        self,
        title: str,
        fields: Sequence[Text | Choice],
        notes: Callable[[dict[str, str]], Sequence[str]],
        *,
        shown: Callable[[int], Sequence[Line]],
        will: Callable[[dict[str, str]], str],
        changed: Callable[[], None],
        done: Callable[[dict[str, str]], None],
        closed: Callable[[], None],
    ) -> None:
        super().__init__(title, fields, notes, changed=changed, done=done, closed=closed)
        self._shown, self._will = shown, will

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the line, its differences, pace and choices, and what is wrong."""
        setting = self.fields[0]
        lines: list[Line] = []
        if isinstance(setting, Text):
            here = self.here is setting
            spans = setting.field.spans(max(8, cells - _HEAD - 2), here)
            lines.append((*_head("set", here), ("[", "dim"), *spans, ("]", "dim")))
        for at, line in enumerate(self._shown(cells - _HEAD)):
            lines.append((*_head("" if at else "diff", False), *line))
        for name, members in _ROWS:
            lines += self._row(name, members, cells)
        for at, part in enumerate(prose(self._will(self.values()), cells - _HEAD)):
            lines.append((*_head("" if at else "will", False), (part, "bold")))
        if self.problem:
            lines += [((part, "bad"),) for part in prose(self.problem, cells)]
        for note in self._notes(self.values()):
            lines += [((part, "dim"),) for part in prose(note, cells)]
        return lines

    def _row(self, name: str, members: Sequence[tuple[str, str, str]], cells: int) -> list[Line]:
        """Return fields one beside the other, on more rows where it is narrow."""
        known = {each.name: each for each in self.fields}
        rows: list[list[Span]] = [[]]
        for identifier, before, after in members:
            field = known[identifier]
            here = self.here is field
            spans = _shown(field, before, after, here)
            if rows[-1] and _HEAD + line_width((*rows[-1], *spans)) + _GAP > cells:
                rows.append([])
            gap: Span = (" " * _GAP if rows[-1] else "", "")
            rows[-1] += [gap, (">" if here else " ", "bold"), *spans]
        return [
            ((f"  {'' if at else name:<{_NAME - 1}}", ""), *spans) for at, spans in enumerate(rows)
        ]


def _head(name: str, here: bool) -> tuple[Span, ...]:
    return ((">" if here else " ", "bold"), (f" {name:<{_NAME}}", "bold" if here else ""))


def _shown(field: Text | Choice, before: str, after: str, here: bool) -> list[Span]:
    style = "bold" if here else ""
    if isinstance(field, Choice):
        sign = "[x] " if field.value == "yes" else "[ ] "
        return [(f"{sign}{before}", style)]
    return [(before, style), ("[", "dim"), *field.field.spans(8, here), ("]", "dim"), (after, "")]
