"""The editor of a schedule: a form that shows what an expression means while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from functools import cache
from zoneinfo import available_timezones

from qdeck.admin import Preview, ScheduleSpec
from qdeck_tui.format import cut, prose, width
from qdeck_tui.widgets.canvas import Line, Span, clip, line_width
from qdeck_tui.widgets.cronmeaning import (
    change_lines,
    lint_lines,
    meaning_lines,
    moved_line,
    run_lines,
)
from qdeck_tui.widgets.cronstep import PRESETS, legend, step_number
from qdeck_tui.widgets.field import Field
from qdeck_tui.widgets.form import Choice, Form, Text

__all__ = ["CronForm", "load_zones"]

MISFIRES = (("latest", "run once when late"), ("skip", "skip"), ("all", "run all missed"))
OVERLAPS = (("skip", "skip if still running"), ("allow", "allow"))
#: What the choices are called where there is little room.
BRIEF = {"latest": "once", "skip": "skip", "all": "all", "allow": "allow"}
#: Rows from which there is room for all that is known.
TALL = 30
#: Cells from which zone, task and queue share a line, and from which both choices do.
WIDE, HALF = 76, 62
INDENT = " " * 9
#: Cells of the box of an expression.
LONGEST = 30


@cache
def _zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


def load_zones() -> None:
    """Read the names of all zones, which takes longer than a key may."""
    _zones()


class CronForm(Form):
    """Fields of a schedule, `new` ones with a name. `typed` is called when a preview is due, `show`
    takes it; `was` is what is stored, `here` the operator's zone, `rows` how many lines it has.
    """

    def __init__(
        self,
        title: str,
        spec: ScheduleSpec,
        payload: str,
        *,
        new: bool,
        now: Callable[[], datetime],
        here: Callable[[], tzinfo],
        rows: Callable[[], int],
        typed: Callable[[], None],
        changed: Callable[[], None],
        done: Callable[[dict[str, str]], None],
        closed: Callable[[], None],
    ) -> None:
        misfire = [word for word, _ in MISFIRES].index(spec.misfire)
        overlap = [word for word, _ in OVERLAPS].index(spec.overlap)
        fields: list[Text | Choice] = [
            Text("when", "when", _field(spec.expression)),
            Text("zone", "zone", _field(spec.zone)),
            Text("task", "task", _field(spec.task), lambda text: "" if text else "a task's name"),
            Text("queue", "queue", _field(spec.queue), lambda t: "" if t or new else "a queue"),
            Text("args", "args", _field(payload), shape="json"),
            Choice("misfire", "miss", MISFIRES, misfire),
            Choice("overlap", "lap", OVERLAPS, overlap),
        ]
        if new:
            named = Text("name", "name", _field(spec.name), lambda text: "" if text else "a name")
            fields.insert(0, named)
        self.was = None if new else spec
        self.preview: Preview | None = None
        self._now, self._here, self._rows, self._typed = now, here, rows, typed
        self._preset = -1
        self._zone_at = -1
        self._sought = ""
        super().__init__(title, fields, lambda values: (), changed=changed, done=done,
                         closed=closed)  # fmt: skip

    @property
    def title(self) -> str:
        """What is edited, and whether something of it is not saved."""
        return f"{self._name}  * unsaved" if self._touched else self._name

    @title.setter
    def title(self, title: str) -> None:
        self._name = title

    def show(self, preview: Preview) -> None:
        """Take what the expression means."""
        self.preview = preview
        self._changed()

    def touch(self) -> None:
        """Know that the values differ from what is stored."""
        self._touched = True

    # Keys

    def press(self, key: str, character: str | None) -> None:
        """Take a key; the time and the zone have some of their own."""
        here = self.fields[self._at]
        before = self._asked()
        if here.name == "when" and key in ("up", "down") and isinstance(here, Text):
            self._seen = self.pressed()
            self._step(here.field, 1 if key == "up" else -1)
        elif key == "ctrl+t" and isinstance(here, Text):
            self._seen = self.pressed()
            self._offer(here)
        else:
            if here.name == "zone" and key not in ("tab", "shift+tab", "ctrl+x", "enter"):
                self._zone_at = -1
            super().press(key, character)
        if self._asked() != before:
            self._typed()

    def paste(self, text: str) -> None:
        """Put pasted text into the field."""
        super().paste(text)
        self._typed()

    def take_edited(self, text: str) -> None:
        """Put lines into the field that has the focus."""
        super().take_edited(text)
        self._typed()

    def _asked(self) -> tuple[str, str]:
        values = self.values()
        return values["when"], values["zone"]

    def _step(self, field: Field, by: int) -> None:
        text, at = step_number(field.text, field.at, by)
        if text != field.text:
            field.put(text)
            field.at = at
            self._touched, self.problem = True, ""
        self._changed()

    def _offer(self, here: Text) -> None:
        """Put the next preset, or the next zone that fits, into a field."""
        if here.name == "when":
            self._preset = (self._preset + 1) % len(PRESETS)
            here.field.put(PRESETS[self._preset], fresh=True)
        elif here.name == "zone":
            if self._zone_at < 0:
                self._sought = here.value
            found = _matching(self._sought)
            if not found:
                return
            self._zone_at = (self._zone_at + 1) % len(found)
            here.field.put(found[self._zone_at], fresh=True)
        else:
            return
        self._touched, self.problem = True, ""
        self._changed()

    # Drawing

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the fields, what the expression means, its next runs, findings and the change, in
        as many lines as there are; what helps in a field stands in the last ones.
        """
        rows = self._rows()
        foot = [((part, "bad"),) for part in prose(self.problem, cells)] if self.problem else []
        foot = foot or [((part, "dim"),) for part in self._hint(cells, rows >= TALL)]
        body = self._tall(cells) if rows >= TALL else self._low(cells, rows - len(foot))
        while len(body) + len(foot) > rows and () in body:
            body.remove(())
        body = body[: rows - len(foot)]
        return [*body, *([()] * (rows - len(body) - len(foot))), *foot]

    def _tall(self, cells: int) -> list[Line]:
        """Return everything, with titles and room between the parts."""
        lines: list[Line] = [(), *self._when(cells), *self._legend(), (),
                             *self._meaning(cells), ()]  # fmt: skip
        lines += [self._packed(cells, 30, "zone", tail="  type to search")]
        lines += [self._packed(cells, 0, "task", "queue")]
        lines += [self._packed(cells, 30, "args", tail="  Ctrl+O edit")]
        lines += [self._chosen(cells, False, "misfire"), self._chosen(cells, False, "overlap"), ()]
        shown = self.preview
        if shown is None or not shown.ok:
            return lines
        place = cut(shown.zone, 30)
        number = min(8, len(shown.runs))
        lines.append(_heading(f"NEXT {number} RUNS in {place} and here", cells))
        runs = [*run_lines(shown, self._now(), self._here(), 8), *moved_line(shown, self._here())]
        lines += [((" ", ""), *line) for line in runs]
        lines.append(_heading("LINT", cells))
        lines += [((" ", ""), *line) for line in lint_lines(shown.lint, cells - 1)]
        change = change_lines(self.was, shown, cells - 1)
        if change:
            lines += [_heading("CHANGE", cells), *(((" ", ""), *line) for line in change)]
        return lines

    def _low(self, cells: int, rows: int) -> list[Line]:
        """Return the fields, the next 5 to 8 runs, and of the rest what there is room for."""
        lines = [*self._when(cells), *self._meaning(cells)]
        if cells >= WIDE:
            lines.append(self._packed(cells, 0, "zone", "task", "queue"))
        else:
            lines += [self._packed(cells, 0, "zone"), self._packed(cells, 0, "task", "queue")]
        lines.append(self._packed(cells, 0, "args", tail="  Ctrl+O $EDITOR"))
        if cells >= HALF:
            lines.append(self._chosen(cells, True, "misfire", "overlap"))
        else:
            lines += [self._chosen(cells, True, "misfire"), self._chosen(cells, True, "overlap")]
        shown = self.preview
        if shown is None or not shown.ok:
            return lines
        left = rows - len(lines)
        lint = lint_lines(shown.lint, cells - 8)
        change = change_lines(self.was, shown, cells - 8)
        wanted = min(8, max(5, left - len(lint) - len(change)))
        number = max(1, min(wanted, left - bool(lint)))
        runs = run_lines(shown, self._now(), self._here(), number)
        lines += _labelled("next", runs)
        lines += _labelled("lint", lint[: max(0, left - len(runs))])
        return lines + _labelled("new", change) if len(lines) + len(change) <= rows else lines

    def _find(self, name: str) -> tuple[Text | Choice, bool]:
        """Return a field, and whether it has the focus."""
        at = next(at for at, each in enumerate(self.fields) if each.name == name)
        return self.fields[at], at == self._at

    def _when(self, cells: int) -> list[Line]:
        """Return the expression and what it was, below the name of what is new."""
        was = self.was
        if was is None:
            return [self._packed(cells, LONGEST, each) for each in ("name", "when")]
        zone, _ = self._find("zone")
        old = cut(was.expression, 24) + (f" {cut(was.zone, 20)}" if was.zone != zone.value else "")
        return [self._packed(cells, LONGEST, "when", tail=f"  was: {old}")]

    def _packed(self, cells: int, most: int, *names: str, tail: str = "") -> Line:
        """Return fields of text on one line, each of `most` cells at the most unless that is 0."""
        found = [self._find(name) for name in names]
        heads = [f"{each.label:<6}" if at == 0 else f"{each.label} "
                 for at, (each, _) in enumerate(found)]  # fmt: skip
        room = cells - width(tail) - sum(len(head) + 4 for head in heads)
        weights = [2 if len(names) > 1 and name == "queue" else 3 for name in names]
        spans: list[Span] = []
        for (each, here), head, weight in zip(found, heads, weights, strict=True):
            size = max(6, room * weight // sum(weights))
            size = min(size, most) if most else size
            spans += [(">" if here else " ", "bold"), (f" {head}", "bold" if here else "")]
            spans += [("[", "dim"), *_boxed(each, size, here), ("]", "dim")]
        return (*spans, (tail, "dim"))

    def _chosen(self, cells: int, brief: bool, *names: str) -> Line:
        """Return choices on one line, each with all that it can be."""
        spans: list[Span] = []
        for name in names:
            each, here = self._find(name)
            spans += [(">" if here else " ", "bold"), (f" {each.label:<6}", "bold" if here else "")]
            for place, (word, label) in enumerate(each.options if isinstance(each, Choice) else ()):
                chosen = place == each.at if isinstance(each, Choice) else False
                text = f"{'(o)' if chosen else '( )'} {BRIEF[word] if brief else label}  "
                spans.append((text, "bold" if chosen else "dim"))
        return tuple(spans)

    def _legend(self) -> list[Line]:
        """Return a line for each field of the expression, with what it stands for."""
        shown, (each, _) = self.preview, self._find("when")
        if shown is None or not shown.ok or not isinstance(each, Text):
            return []
        if len(each.field.text) > LONGEST - 2:
            return []
        return [((INDENT + part, "dim"),) for part in legend(each.field.text, shown.fields)]

    def _meaning(self, cells: int) -> list[Line]:
        """Return what the expression means, or what is wrong with it."""
        each, _ = self._find("when")
        lines = meaning_lines(self.preview, each.value, cells - len(INDENT))
        return [((INDENT, ""), *line) for line in lines]

    def _hint(self, cells: int, tall: bool) -> list[str]:
        """Return what helps in the field that has the focus."""
        here = self.fields[self._at]
        if here.name == "when":
            words = "also accepts: @daily, every 15m, mon 9:00"
            if not tall:
                return [cut(f"presets Ctrl+T  {words}", cells)]
            return [*prose(f"presets ^T: {', '.join(PRESETS)}", cells), cut(words, cells)]
        if here.name == "zone":
            found = _matching(here.value if self._zone_at < 0 else self._sought)
            text = f"^T takes: {', '.join(found[:5])}" if found else "no such zone: type to search"
            return [cut(text, cells)]
        text = {
            "args": 'the arguments as JSON: {"scope": "all"}',
            "misfire": "what becomes of slots that were missed while no worker ran",
            "overlap": "what becomes of a slot while the last job is unfinished",
        }.get(here.name, "")
        return [cut(text, cells)]

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        keys = [self.go("save"), ("Tab", "field")]
        here = self.fields[self._at].name
        keys += [("Up/Down", "step number")] if here == "when" else []
        keys += [("Ctrl+T", "presets")] if here in ("when", "zone") else []
        keys += [("Space", "choose")] if here in ("misfire", "overlap") else []
        keys += [("Ctrl+O", "$EDITOR")] if here == "args" else []
        return (*keys, ("Esc", "cancel"))


def _field(text: str) -> Field:
    made = Field()
    made.put(text, fresh=True)
    return made


def _matching(text: str) -> list[str]:
    """Return the zones whose name holds a text, those whose city begins with it first."""
    wanted = text.strip().lower().replace(" ", "_")
    found = [name for name in _zones() if wanted in name.lower()]
    return sorted(found, key=lambda n: (not n.rpartition("/")[2].lower().startswith(wanted), n))


def _boxed(each: Text | Choice, cells: int, here: bool) -> list[Span]:
    """Return a text with the line that is left of its box."""
    line = clip(each.field.spans(cells, here) if isinstance(each, Text) else (), cells)
    return [*line, ("_" * (cells - line_width(line)), "dim")]


def _labelled(label: str, lines: Sequence[Line]) -> list[Line]:
    """Return lines behind a label that stands before the first of them."""
    return [((f"  {'' if at else label:<5} ", ""), *line) for at, line in enumerate(lines)]


def _heading(title: str, cells: int) -> Line:
    return (("── ", "rule"), (title, "title"), (" " + "─" * max(0, cells - len(title) - 4), "rule"))
