"""One line of typed text with a cursor, as a plain value machine: prompts, forms and dialogs feed
it keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdeck_tui.format import safe
from qdeck_tui.widgets.canvas import Span

__all__ = ["Field"]


@dataclass(slots=True)
class Field:
    """Typed text. `fresh` means that the whole is selected: the next character replaces it."""

    text: str = ""
    at: int = 0
    fresh: bool = False

    def put(self, text: str, *, fresh: bool = False) -> None:
        """Replace the text, with the cursor at its end."""
        self.text, self.at, self.fresh = text, len(text), fresh and bool(text)

    def insert(self, text: str) -> None:
        """Put text in at the cursor, as a paste or a character does; line breaks end it."""
        text = safe(text.splitlines()[0]) if text.splitlines() else ""
        if self.fresh:
            self.put("")
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def press(self, key: str, character: str | None) -> bool:
        """Take a key; return whether it meant anything here."""
        if character is not None and character.isprintable() and key != "tab":
            self.insert(character)
            return True
        if key in ("backspace", "ctrl+h"):
            if self.fresh:
                self.put("")
            elif self.at:
                self.text = self.text[: self.at - 1] + self.text[self.at :]
                self.at -= 1
        elif key == "delete":
            self.text = self.text[: self.at] + self.text[self.at + 1 :]
        elif key == "left":
            self.at = max(0, self.at - 1)
        elif key == "right":
            self.at = min(len(self.text), self.at + 1)
        elif key in ("home",):
            self.at = 0
        elif key in ("end", "ctrl+e"):
            self.at = len(self.text)
        elif key == "ctrl+u":
            self.put("")
        elif key == "ctrl+w":
            head = self.text[: self.at].rstrip()
            head = head[: head.rfind(" ") + 1]
            self.text, self.at = head + self.text[self.at :], len(head)
        else:
            return False
        self.fresh = False
        return True

    def spans(self, cells: int, focused: bool = True) -> tuple[Span, ...]:
        """Return the text as it is to be drawn, the part around the cursor when it is too long."""
        text = safe(self.text)
        start = max(0, self.at - cells + 2)
        shown = text[start : start + cells]
        if not focused:
            return ((shown, ""),)
        if self.fresh:
            return ((shown, "found"), (" ", ""))
        here = self.at - start
        return (
            (shown[:here], ""),
            (shown[here : here + 1] or " ", "found"),
            (shown[here + 1 :], ""),
        )
