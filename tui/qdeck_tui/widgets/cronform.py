"""The editor of a schedule: a form that shows what an expression means while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from qdeck.admin import Lint, Preview, ScheduleSpec
from qdeck_tui.format import age, cut, prose
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.cronstep import PRESETS, legend, step_number
from qdeck_tui.widgets.field import Field
from qdeck_tui.widgets.form import Choice, Form, Text

__all__ = ["CronForm", "run_lines"]

MISFIRES = (("latest", "once when late"), ("skip", "skip"), ("all", "all missed"))
OVERLAPS = (("skip", "skip if still running"), ("allow", "allow"))
LEVELS = {"ok": ("ok  ", "good"), "info": ("i   ", "dim"), "warn": ("!   ", "warn")}


@cache
def _zones() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


class CronForm(Form):
    """Fields of a schedule, `new` ones with a name. `typed` is called when a preview is due, `show`
    takes it; `was` is what is stored, `here` the operator's zone.
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
        tall: Callable[[], bool],
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
        self._now, self._here, self._tall, self._typed = now, here, tall, typed
        self._preset = -1
        self._zone_at = -1
        self._sought = ""
        super().__init__(title, fields, lambda values: (), changed=changed, done=done,
                         closed=closed)  # fmt: skip

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
            self._step(here.field, 1 if key == "up" else -1)
        elif key == "ctrl+t" and isinstance(here, Text):
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
        """Return the fields, what the expression means, its next runs, findings and the change."""
        lines: list[Line] = []
        for at, each in enumerate(self.fields):
            lines.append(self._line(at, each, cells))
            if each.name == "when":
                lines += self._meaning(each, cells)
        shown = self.preview
        if shown is not None and shown.ok:
            lines.append(((f"   NEXT RUNS in {cut(shown.zone, 32)} and here", "title"),))
            lines += run_lines(shown, self._now(), self._here(), 8 if self._tall() else 5)
            lines += self._findings(shown.lint, cells)
        lines += self._change(cells)
        if self.problem:
            lines += [((part, "bad"),) for part in prose(self.problem, cells)]
        else:
            lines.append(((cut(self._hint(), cells), "dim"),))
        return lines

    def _line(self, at: int, each: Text | Choice, cells: int) -> Line:
        here = at == self._at
        head = ((">" if here else " ", "bold"), (f" {each.label:<6}", "bold" if here else ""))
        if isinstance(each, Choice):
            spans: list[tuple[str, str]] = []
            for place, (_, label) in enumerate(each.options):
                sign = "(o)" if place == each.at else "( )"
                spans.append((f"{sign} {label}  ", "bold" if place == each.at else "dim"))
            return (*head, *spans)
        was = self.was.expression if self.was is not None and each.name == "when" else ""
        room = max(8, min(34, cells - 12 - len(was)) if was else cells - 12)
        tail = (("]", "dim"), (f"  was: {was}" if was else "", "dim"))
        return (*head, ("[", "dim"), *each.field.spans(room, here), *tail)

    def _meaning(self, each: Text | Choice, cells: int) -> list[Line]:
        """Return what the expression means, or what is wrong with it."""
        shown = self.preview
        if shown is None:
            return [(("         …", "dim"),)]
        if not shown.ok:
            parts = prose(shown.error, cells - 9)
            return [((f"   {'no' if not at else '':<6}{part}", "bad"),)
                    for at, part in enumerate(parts[:3])]  # fmt: skip
        lines: list[Line] = []
        if self._tall() and isinstance(each, Text):
            lines += [((f"         {part}", "dim"),)
                      for part in legend(each.field.text, shown.fields)]  # fmt: skip
        plain = f"   ({shown.expression})" if shown.expression != each.value else ""
        lines.append((("   ok    ", "good"), (cut(shown.words + plain, cells - 9), "")))
        return lines

    def _findings(self, found: tuple[Lint, ...], cells: int) -> list[Line]:
        """Return the findings, warnings first, as many as there is room for."""
        order = sorted(found, key=lambda each: ("warn", "ok", "info").index(each.level))
        room = len(order) if self._tall() else 2 if self.was is None else 3
        lines: list[Line] = []
        for each in order[:room]:
            sign, style = LEVELS[each.level]
            lines.append((("   ", ""), (sign, style), (cut(each.text, cells - 8), style)))
        return lines

    def _change(self, cells: int) -> list[Line]:
        """Return the old and the new time, where they differ."""
        was, shown = self.was, self.preview
        if was is None or shown is None or not shown.ok:
            return []
        if (was.expression, was.zone) == (shown.expression, shown.zone):
            return []
        old, new = f"- {was.expression}   {was.zone}", f"+ {shown.expression}   {shown.zone}"
        if len(old) + len(new) + 4 <= cells:
            return [((old, "bad"), ("    ", ""), (new, "good"))]
        return [((cut(old, cells), "bad"),), ((cut(new, cells), "good"),)]

    def _hint(self) -> str:
        """Return what helps in the field that has the focus."""
        here = self.fields[self._at]
        if here.name == "when":
            return f"presets ^T: {', '.join(PRESETS)}"
        if here.name == "zone":
            found = _matching(here.value if self._zone_at < 0 else self._sought)
            return f"^T takes: {', '.join(found[:5])}" if found else "no such zone"
        return {
            "args": 'the arguments as JSON: {"scope": "all"}',
            "misfire": "what becomes of slots that were missed while no worker ran",
            "overlap": "what becomes of a slot while the last job is unfinished",
        }.get(here.name, "")

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        keys = [("Ctrl+X", "save"), ("Tab", "field")]
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


def run_lines(shown: Preview, now: datetime, here: tzinfo, number: int) -> list[Line]:
    """Return the next runs in the zone of the schedule and in the operator's."""
    runs = shown.runs[:number]
    place = _place(shown.zone)
    close = any(later - sooner < timedelta(minutes=1) for sooner, later in pairwise(runs))
    clock = "%H:%M:%S" if close or any(run.second for run in runs) else "%H:%M"
    lines: list[Line] = []
    for at, run in enumerate(runs):
        there, mine = run.astimezone(place), run.astimezone(here)
        day = "" if mine.date() == there.date() else mine.strftime("%a ")
        text = f"   {there:%a %d %b {clock} %Z}".ljust(28)
        text += f"{day}{mine:{clock} %Z}".ljust(20)
        note = f"in {age((run - now).total_seconds())}" if at == 0 else ""
        if there.utcoffset() != runs[0].astimezone(place).utcoffset():
            note = "(clock moved)"
        lines.append(((text, ""), (note, "dim")))
    return lines


def _place(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC
