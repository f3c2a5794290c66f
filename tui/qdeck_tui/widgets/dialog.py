"""The question before a write, guarded against keys that were typed ahead.

It is open from the moment of its key, says "counting…" until it knows what it asks about, and takes
a yes only once that is painted and 300 ms have passed without a key; until then what it asks for is
dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qdeck_tui.format import count, prose
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.field import Field
from qdeck_tui.widgets.guarded import Guarded

__all__ = ["TYPED_ABOVE", "Dialog"]

TYPED_ABOVE = 100


class Dialog(Guarded):
    """One question. `answer` is called once with True or False; `changed` after each change that is
    to be drawn.
    """

    bare = low = False
    # The name of a profile that is marked production, to be typed instead of a number.
    word = ""

    def __init__(
        self, title: str, *, changed: Callable[[], None], answer: Callable[[bool], None]
    ) -> None:
        super().__init__(changed)
        self.title = title
        self._answer = answer
        self._text: tuple[Line, ...] = ()
        self._wanted = ""
        self._field = Field()
        self._ready = False
        self._started = False
        self._done = False
        self._failed = ""
        self._dropped = 0
        self._wrong = False
        self._foot = 0

    # What it is told

    def fill(
        self, lines: Sequence[Line], number: int, *, always: bool = False, all_queues: bool = False
    ) -> None:
        """Say what is asked, about how many.

        Above 100, and with `always`, the number has to be typed; on a profile marked production its
        name, which is typed for all queues as well.
        """
        self._text = tuple(lines)
        typed = number > TYPED_ABOVE or always or (all_queues and self.word)
        self._wanted = (self.word or str(number)) if typed else ""
        self._ready = True
        self._changed()

    def fail(self, reason: str) -> None:
        """Say why there is nothing to ask; any key but a yes closes it."""
        self._failed = reason
        self._ready = True
        self._changed()

    @property
    def ready(self) -> bool:
        """Whether it knows what it asks."""
        return self._ready

    @property
    def open(self) -> bool:
        """Whether a yes is still to come."""
        return not self._failed and not self._done

    # Keys

    def press(self, key: str, character: str | None) -> None:
        """Take a key: every one ends here."""
        if self._done:
            return
        armed = self.pressed()
        if key == "escape":
            self._end(False)
        elif self._failed:
            if self._painted and key in ("n", "enter", "q"):
                self._end(False)
        elif self._wanted:
            self._type(key, character, armed)
        elif not armed:
            self._drop()
        elif key == "y":
            self._end(True)
        elif key == "n":
            self._end(False)

    def _type(self, key: str, character: str | None, armed: bool) -> None:
        if not (self._started or armed):
            self._drop()
            return
        if key == "enter":
            typed = self._field.text.strip()
            if (typed if self.word else typed.replace(",", "")) == self._wanted:
                self._end(True)
            else:
                self._wrong = bool(typed)
                self._changed()
            return
        if key == "n" and not self._field.text and not self._wanted.startswith("n"):
            self._end(False)
            return
        self._started = True
        self._wrong = False
        self._field.press(key, character)
        self._changed()

    def _drop(self) -> None:
        self._dropped += 1
        self._changed()

    def paste(self, text: str) -> None:
        """Take no pasted answer: a paste is not a decision."""
        self.pressed()
        self._drop()

    def cancel(self) -> None:
        """Answer No, because the screen became too small or the view went away."""
        if not self._done:
            self._end(False)

    def _end(self, yes: bool) -> None:
        self._done = True
        self._answer(yes)

    # Drawing

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the question and how to answer it."""
        if not self._ready:
            return [(("counting…", "dim"),), (), (("Esc no", ""),)]
        if self._failed:
            said: list[Line] = [((part, "bad"),) for part in prose(self._failed, cells)]
            return [*said, (), (("Esc close", "key"),)]
        result: list[Line] = []
        for line in self._text:
            if len(line) == 1:
                result += [((part, line[0][1]),) for part in prose(line[0][0], cells)]
            else:
                result.append(line)
        body = len(result)
        result.append(())
        open_ = self.armed or self._started
        if self._dropped and not self._started:
            result.append(((f"{count(self._dropped)} typed too early, dropped", "warn"),))
        if self._wanted:
            if self.word:
                result.append((("this server is marked production: its name is asked", "warn"),))
            room = max(9, len(self._wanted) + 2)
            ask = f"type {self._wanted} and Enter to go  "
            result.append(((ask, "bold" if open_ else "dim"), ("[", ""),
                           *self._field.spans(room), ("]", ""), ("   Esc no", "")))  # fmt: skip
            if self._wrong:
                what = "name" if self.word else "number"
                result.append(((f"that is not the {what}; nothing was done", "bad"),))
        else:
            key, word = ("key", "") if open_ else ("dim", "dim")
            result.append((("y", key), (" yes   ", word), ("n", key), (" no (Esc)", word)))
        self._foot = len(result) - body
        return result

    def fitted(self, lines: Sequence[Line], rows: int) -> Sequence[Line]:
        """Return the lines in so many rows: samples, which are indented, are left out first, and
        how to answer never.
        """
        kept = list(lines)
        foot = kept[len(kept) - self._foot :]
        kept = kept[: len(kept) - self._foot]
        while len(kept) + len(foot) > rows and kept:
            samples = [at for at, line in enumerate(kept) if line and line[0][0].startswith("  ")]
            kept.pop(samples[-1] if samples else -1)
        return [*kept, *foot]

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        if self._failed or not self._ready:
            return (("Esc", "close"),)
        if self._wanted:
            return ((self._wanted, "type it"), ("Enter", "go"), ("Esc", "no"))
        return (("y", "yes"), ("n", "no"), ("Esc", "no"))
