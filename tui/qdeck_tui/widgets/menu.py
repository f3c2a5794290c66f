"""Small sheets: the copy menu, the help, and text that is shown without a border to be selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qdeck_tui.format import cut, wrap
from qdeck_tui.widgets.canvas import Line

if TYPE_CHECKING:
    from qdeck_tui.desk import Console

__all__ = ["CopyMenu", "TextSheet"]


class TextSheet:
    """Text to read, or to select with the mouse; any of Esc, Enter and q closes it."""

    def __init__(self, title: str, lines: Sequence[Line], desk: Console) -> None:
        self.title = title
        self._lines = tuple(lines)
        self._desk = desk
        self.skip = 0

    bare = low = False

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the text; lines of one word are wrapped."""
        result: list[Line] = []
        for line in self._lines:
            if len(line) == 1:
                result += [((part, line[0][1]),) for part in wrap(line[0][0], cells)]
            else:
                result.append(line)
        return result

    def press(self, key: str, character: str | None) -> None:
        """Scroll or close."""
        steps = {"j": 1, "down": 1, "k": -1, "up": -1, "pagedown": 15, "pageup": -15,
                 "space": 15, "ctrl+d": 8, "ctrl+u": -8, "g": -9999, "home": -9999,
                 "G": 9999, "end": 9999}  # fmt: skip
        name = character if character and character.isprintable() and character != " " else key
        if name in ("escape", "enter", "q", "?"):
            self._desk.close_sheet()
        elif name in steps:
            self._desk.scroll_sheet(steps[name])

    def paste(self, text: str) -> None:
        """Take nothing."""

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        return (("j k PgUp PgDn", "scroll"), ("Esc", "close"))


class BareText(TextSheet):
    """Text over the whole width without a border, so that the mouse selects nothing else."""

    bare, low = True, False

    def tell(self, sentence: str) -> None:
        """Put a sentence above the text."""
        self._lines = (((sentence, "dim"),), ((" ", ""),), *self._lines)
        self._desk.update_sheet()


class CopyMenu:
    """What to copy, each with its letter."""

    bare = low = False

    def __init__(self, choices: Sequence[tuple[str, str, str]], desk: Console) -> None:
        self.title = "COPY"
        self._choices = tuple(choices)
        self._desk = desk

    def lines(self, cells: int) -> Sequence[Line]:
        """Return one line a choice."""
        return [
            ((key, "key"), (f"  {label:<22}", ""), (cut(text, max(10, cells - 26)), "dim"))
            for key, label, text in self._choices
        ]

    def press(self, key: str, character: str | None) -> None:
        """Copy what a letter stands for; Enter copies the first; anything else closes."""
        self._desk.close_sheet()
        for at, (letter, label, text) in enumerate(self._choices):
            if character == letter or (key == "enter" and at == 0):
                self._desk.copy(label, text)
                return

    def paste(self, text: str) -> None:
        """Take nothing."""

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        return (*((key, label) for key, label, _ in self._choices), ("Esc", "close"))
