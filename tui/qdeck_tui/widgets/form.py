"""A form of a few fields: Tab moves, Space turns a choice, Ctrl+X submits, Esc on a changed form
asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qdeck_tui.format import prose
from qdeck_tui.spread import Shape, field_text, file_text, flaw
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.field import Field
from qdeck_tui.widgets.guarded import Guarded

__all__ = ["Choice", "Form", "Text"]


@dataclass(slots=True)
class Text:
    """A field of text. `check` returns what is wrong with it, empty when nothing is; `shape` is how
    it stands in the file of an editor, `samples` what Ctrl+T puts in, one after the other.
    """

    name: str
    label: str
    field: Field = field(default_factory=Field)
    check: Callable[[str], str] = lambda text: ""
    shape: Shape = "line"
    samples: tuple[str, ...] = ()
    sample_at: int = -1

    @property
    def value(self) -> str:
        """What stands in it."""
        return self.field.text.strip()


@dataclass(slots=True)
class Choice:
    """One of a few words."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    at: int = 0

    @property
    def value(self) -> str:
        """The word that is chosen."""
        return self.options[self.at][0]


class Form(Guarded):
    """Fields of which one has the focus. `done` gets the values once they are all right.

    Ctrl+X counts from the first pause after it was painted: what was typed ahead of it fills its
    fields at most.
    """

    bare = low = False

    def __init__(
        self,
        title: str,
        fields: Sequence[Text | Choice],
        notes: Callable[[dict[str, str]], Sequence[str]],
        *,
        changed: Callable[[], None],
        done: Callable[[dict[str, str]], None],
        closed: Callable[[], None],
    ) -> None:
        super().__init__(changed)
        self.title = title
        self.fields = tuple(fields)
        self.problem = ""
        self._notes = notes
        self._done, self._closed = done, closed
        self._seen = False
        self._at = 0
        self._touched = False
        self._leaving = False
        self._select()

    def begin(self) -> None:
        """Know that it is laid over a view, and not seen there yet."""
        super().begin()
        self._seen = False

    @property
    def armed(self) -> bool:
        """Whether Ctrl+X would be taken now."""
        return self._seen or super().armed

    def _select(self) -> None:
        here = self.fields[self._at]
        if isinstance(here, Text):
            here.field.put(here.field.text, fresh=True)

    def values(self) -> dict[str, str]:
        """Return what stands in the fields."""
        return {each.name: each.value for each in self.fields}

    @property
    def here(self) -> Text | Choice:
        """The field that has the focus."""
        return self.fields[self._at]

    def to_edit(self) -> str | None:
        """Return the text of the field that has the focus as lines; None where it has none."""
        here = self.here
        return file_text(here.shape, here.field.text) if isinstance(here, Text) else None

    def take_edited(self, text: str) -> None:
        """Put lines into the field that has the focus, and say what is wrong with them."""
        here = self.here
        if not isinstance(here, Text):
            return
        if text.rstrip() != file_text(here.shape, here.field.text).rstrip():
            here.field.put(field_text(here.shape, text))
            self._touched = True
        wrong = flaw(here.shape, text) or here.check(here.value)
        self.problem = f"{here.label}: {wrong}" if wrong else ""
        self._changed()

    def fail(self, problem: str) -> None:
        """Say what is wrong; the form stays open."""
        self.problem = problem
        self._changed()

    def press(self, key: str, character: str | None) -> None:
        """Take a key; every one ends here."""
        here = self.fields[self._at]
        leaving, self._leaving = self._leaving, False
        self._seen = self.pressed()
        if key == "escape":
            if self._touched and not leaving:
                self._leaving = True
                self.problem = "changed: Esc again drops it, any other key goes on"
            else:
                self._closed()
                return
        elif key == "ctrl+x":
            if self._seen:
                self._submit()
                return
            self.problem = "Ctrl+X was typed too early, dropped: press it again"
        elif key == "ctrl+t":
            self._take_sample(here)
        elif key in ("tab", "down", "enter", "shift+tab", "up"):
            step = -1 if key in ("shift+tab", "up") else 1
            self._at = (self._at + step) % len(self.fields)
            self._select()
        elif isinstance(here, Choice):
            if key in ("space", "right", "left"):
                step = -1 if key == "left" else 1
                here.at = (here.at + step) % len(here.options)
                self._touched = True
        elif here.field.press(key, character):
            self._touched = True
            self.problem = ""
        self._changed()

    def _take_sample(self, here: Text | Choice) -> None:
        """Put the next sample into a field."""
        if not isinstance(here, Text) or not here.samples:
            self.problem = "no samples for this field"
            return
        here.sample_at = (here.sample_at + 1) % len(here.samples)
        sample = here.samples[here.sample_at]
        # A value that is still to be typed is typed between its quotes.
        here.field.put(sample, fresh=not sample.endswith('""'))
        here.field.at -= sample.endswith('""')
        self._touched, self.problem = True, ""

    def paste(self, text: str) -> None:
        """Put pasted text into the field."""
        self._seen = self.pressed()
        here = self.fields[self._at]
        if isinstance(here, Text):
            here.field.insert(text)
            self._touched = True
            self._changed()

    def _submit(self) -> None:
        for at, each in enumerate(self.fields):
            wrong = each.check(each.value) if isinstance(each, Text) else ""
            if wrong:
                self._at = at
                self._select()
                self.fail(f"{each.label}: {wrong}")
                return
        self._done(self.values())

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the fields, what the choices mean, and what is wrong."""
        lines: list[Line] = []
        name = max(11, *(len(each.label) + 1 for each in self.fields))
        room = max(8, cells - 5 - name)
        for at, each in enumerate(self.fields):
            here = at == self._at
            head = (
                (">" if here else " ", "bold"),
                (f" {each.label:<{name}}", "bold" if here else ""),
            )
            if isinstance(each, Text):
                lines.append((*head, ("[", "dim"), *each.field.spans(room, here), ("]", "dim")))
                continue
            spans: list[tuple[str, str]] = []
            for place, (_, label) in enumerate(each.options):
                sign = "(o)" if place == each.at else "( )"
                style = "bold" if place == each.at else "dim"
                spans += [(f"{sign} {label}  ", style)]
            lines.append((*head, *spans))
        lines.append(())
        for note in self._notes(self.values()):
            lines += [((part, "dim"),) for part in prose(note, cells)]
        if self.problem:
            lines += [((part, "bad"),) for part in prose(self.problem, cells)]
        return lines

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        own = [("Space", "choose")]
        if isinstance(self.here, Text):
            own = [("Ctrl+O", "$EDITOR")]
            own += [("Ctrl+T", "samples")] if self.here.samples else []
        return (self.go("go"), ("Tab", "field"), *own, ("Esc", "close"))

    def go(self, word: str) -> tuple[str, str]:
        """Return what Ctrl+X does, for the footer."""
        return ("Ctrl+X", word if self.armed else "wait")
