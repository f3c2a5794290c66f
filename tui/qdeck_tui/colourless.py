"""Takes every colour out of what is painted, for NO_COLOR: bold, underline and reverse remain.

Textual's own filter turns colours into greys, which are colours to a terminal.
"""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

__all__ = ["Colourless"]

# A background that differs this much from the screen's is there to be seen: it becomes reverse.
SEEN = 3.0
REVERSE = Style(reverse=True)


class Colourless(LineFilter):
    """Removes colours; a background that stands out from the screen's becomes reverse."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = Color.parse("#000000")

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments without colours."""
        screen = self.screen
        return [
            Segment(text, None if style is None else _without(style, screen), control)
            for text, style, control in segments
        ]


@lru_cache(maxsize=2048)
def _without(style: Style, screen: Color) -> Style:
    """Return a style without colours."""
    plain = style.without_color
    if style.bgcolor is None or style.bgcolor.is_default:
        return plain
    shown = Color.from_rich_color(style.bgcolor)
    lighter, darker = sorted((_luminance(shown), _luminance(screen)), reverse=True)
    if (lighter + 0.05) / (darker + 0.05) < SEEN:
        return plain
    return plain + (Style(reverse=False) if style.reverse else REVERSE)


def _luminance(colour: Color) -> float:
    """Return the relative luminance of a colour, 0 to 1, as WCAG 2 defines it."""
    parts = [part / 255 for part in colour.rgb]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
