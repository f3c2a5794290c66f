"""The form that starts a local worker: below the list, with the command that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from qdeck_tui.format import cut, prose, width
from qdeck_tui.widgets.canvas import Line, Span, line_width
from qdeck_tui.widgets.form import Choice, Form, Text

__all__ = ["StartForm", "command"]

#: Which fields share a row where there is room, and the cells of those that hold a number.
ROWS = (("app", "queues"), ("slots", "count", "kind"), ("env", "log"), ("on_exit",))
NUMBERS = {"slots": 5, "count": 4}
LEAST = 12
GO = "Ctrl+X start"
HINTS = {
    "app": "module:deck or path/to/file.py[:deck]",
    "queues": "names with commas, empty for the default ones",
    "slots": "jobs that each worker runs at a time",
    "count": "workers to start, 1 to 16",
    "env": "a file of NAME=value lines for the environment of a child process",
    "log": "memory, or a file that every line is appended to as well",
    "kind": "Space: where it runs",
    "on_exit": "Space: what becomes of it when the console exits",
}


class StartForm(Form):
    """A form whose fields share rows. `means` says what the choices lead to."""

    low = True

    def __init__(
        self,
        fields: Sequence[Text | Choice],
        means: Callable[[dict[str, str]], str],
        *,
        changed: Callable[[], None],
        done: Callable[[dict[str, str]], None],
        closed: Callable[[], None],
    ) -> None:
        super().__init__("START A LOCAL WORKER", fields, lambda values: (means(values),),
                         changed=changed, done=done, closed=closed)  # fmt: skip

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the fields, the command, what the choices mean, and what helps or is wrong."""
        values, known = self.values(), {each.name: each for each in self.fields}
        lines: list[Line] = []
        for names in ROWS:
            lines += self._row([known[name] for name in names], cells)
        lines.append(self._command(values, cells))
        for note in self._notes(values):
            lines += [((part, "dim"),) for part in prose(note, cells)]
        if self.problem:
            return [*lines, *(((part, "bad"),) for part in prose(self.problem, cells))]
        return [*lines, ((cut(HINTS[self.here.name], cells), "dim"),)]

    def _command(self, values: dict[str, str], cells: int) -> Line:
        """Return the command, where it is too long with the end of the app's name only."""
        room = max(LEAST, cells - len(GO) - 2)
        text = f"runs: {command(values)}"
        if (over := width(text) - room) > 0:
            text = f"runs: {command({**values, 'app': values['app'][over + 1 :]}, lead='…')}"
        text = cut(text, room)
        return ((text + " " * (room + 2 - width(text)), ""), (GO, "bold" if self.armed else "dim"))

    def _row(self, fields: Sequence[Text | Choice], cells: int) -> list[Line]:
        """Return fields one beside the other, those of text as wide as there is room; on a row each
        where they would be too narrow.
        """
        free = cells
        for each in fields:
            free -= line_width(self._cell(each, NUMBERS.get(each.name, 0))) + 2
        wide = sum(isinstance(each, Text) and each.name not in NUMBERS for each in fields)
        if len(fields) > 1 and free + 2 < wide * LEAST:
            return [line for each in fields for line in self._row([each], cells)]
        room = (free + 2) // wide if wide else 0
        line: list[Span] = []
        for each in fields:
            line += [("  ", "")] if line else []
            line += self._cell(each, NUMBERS.get(each.name, room))
        return [tuple(line)]

    def _cell(self, each: Text | Choice, room: int) -> Line:
        here = each is self.here
        head: Line = ((">" if here else " ", "bold"), (f"{each.label} ", "bold" if here else ""))
        if isinstance(each, Text):
            spans = each.field.spans(room, here)
            used = line_width(spans)
            return (*head, ("[", "dim"), *spans, ("_" * max(0, room - used), "dim"), ("]", "dim"))
        return (*head, *(
            (f"{' ' if at else ''}({'o' if at == each.at else ' '}) {label}",
             "bold" if at == each.at else "dim")
            for at, (_, label) in enumerate(each.options)
        ))  # fmt: skip


def command(values: Mapping[str, str], lead: str = "") -> str:
    """Return the command that starts the same workers by hand; `lead` stands before the app."""
    words = ["-q", queues] if (queues := _listed(values["queues"])) else []
    words += ["-c", values["slots"]]
    if values["count"] not in ("", "1"):
        words += ["--processes", values["count"]]
    app = shlex.quote(values["app"]) if values["app"] else "APP"
    return f"qdeck worker {lead}{app} {shlex.join(words)}"


def _listed(queues: str) -> str:
    return ",".join(name.strip() for name in queues.split(",") if name.strip())
