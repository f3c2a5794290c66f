"""Turns the words that views use for styles ("bad", "dim", "cursor") into terminal styles of the
current theme.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.style import Style
from textual.color import Color, ColorParseError

if TYPE_CHECKING:
    from textual.theme import Theme

__all__ = ["Palette"]

_PLAIN = {
    "": Style(),
    "dim": Style(),
    "bold": Style(bold=True),
    "good": Style(),
    "warn": Style(bold=True),
    "bad": Style(bold=True, underline=True),
    "accent": Style(bold=True),
    "title": Style(bold=True),
    "key": Style(bold=True),
    "mark": Style(bold=True),
    "found": Style(reverse=True),
    "rule": Style(),
    "cursor": Style(reverse=True),
    "bar": Style(reverse=True),
}


class Palette:
    """The styles of one theme; without colour only bold, reverse and underline are used."""

    def __init__(self, theme: Theme | None, colour: bool) -> None:
        self._styles = dict(_PLAIN)
        if colour and theme is not None:
            self._styles |= _coloured(theme)
        self.style = lru_cache(maxsize=256)(self._style)

    def _style(self, words: str) -> Style:
        """Return the style of one or more words, the later ones winning; unknown words change
        nothing.
        """
        style = self._styles[""]
        for word in words.split():
            style += self._styles.get(word, Style())
        return style


def _coloured(theme: Theme) -> dict[str, Style]:
    """Return the styles of a theme; what its file leaves out is mixed from its other colours."""

    def colour(value: str | None, otherwise: str) -> Color:
        try:
            return Color.parse(value or otherwise)
        except ColorParseError:
            return Color.parse(otherwise)

    ink = theme.foreground or ("#e0e0e0" if theme.dark else "#202020")
    paper = colour(theme.background, "#121212" if theme.dark else "#f0f0f0")
    text, primary = colour(ink, "#808080"), colour(theme.primary, "#0178d4")

    def front(key: str, otherwise: Color | str | None, *, bold: bool = False) -> Style:
        of = otherwise if isinstance(otherwise, Color) else colour(otherwise, ink)
        of = colour(theme.variables.get(f"qdeck-{key}"), of.hex if not of.ansi else ink)
        return Style(color=of.rich_color, bold=bold or None)

    def ground(key: str, mixed: float) -> Style:
        if theme.ansi:
            return Style(reverse=True)
        of = colour(theme.variables.get(f"qdeck-{key}-ground"), paper.blend(primary, mixed).hex)
        return Style(bgcolor=of.rich_color)

    dim = text if theme.ansi else text.blend(paper, 0.3)
    return {
        "": Style(color=text.rich_color),
        "dim": front("dim", dim) + Style(dim=theme.ansi or None),
        "good": front("good", theme.success),
        "warn": front("warn", theme.warning),
        "bad": front("bad", theme.error, bold=True),
        "accent": front("accent", theme.accent),
        "title": front("title", primary, bold=True),
        "key": front("key", theme.accent, bold=True),
        "mark": front("mark", theme.accent, bold=True),
        "rule": front("rule", dim) + Style(dim=theme.ansi or None),
        "cursor": ground("cursor", 0.35) + Style(bold=True),
        "bar": ground("bar", 0.12),
        "found": ground("found", 0.3) + Style(underline=True),
    }
