"""The base of every widget: lines of styled words, of which only those that changed are painted
again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from qdeck_tui.format import cut, fit, safe, to_ascii, width

if TYPE_CHECKING:
    from qdeck_tui.palette import Palette

__all__ = ["Canvas", "Line", "Look", "Span", "clip", "line_width", "overlay_style"]

Span = tuple[str, str]
Line = tuple[Span, ...]


class Look(Protocol):
    """What the app tells its widgets about how to draw."""

    palette: Palette
    ascii: bool
    plain: bool


def line_width(line: Line) -> int:
    """Return the cells that a line of safe text takes up."""
    return sum(width(text) for text, _ in line)


def clip(line: Line, cells: int) -> Line:
    """Return a line of at most `cells` cells."""
    if line_width(line) <= cells:
        return line
    kept: list[Span] = []
    left = cells
    for text, style in line:
        kept.append((cut(text, left), style))
        left -= width(kept[-1][0])
        if left <= 0:
            break
    return tuple(kept)


def overlay_style(line: Line, cells: int, style: str) -> Line:
    """Return a line padded to `cells` with a style laid over each of its words."""
    used = line_width(line)
    padded = (*line, (" " * (cells - used), "")) if used < cells else line
    return tuple((text, f"{words} {style}") for text, words in padded)


class _Strips:
    """The finished lines of a canvas, in place of what Textual keeps of a widget: that looks at
    borders, padding and filters of every line on the screen each time that one of them changed.
    """

    def __init__(self) -> None:
        self._strips: dict[int, Strip] = {}

    def clear(self) -> None:
        """Forget all lines."""
        self._strips.clear()

    def set_dirty(self, *regions: Region) -> None:
        """Forget the lines of some regions."""
        for region in regions:
            for y in region.line_range:
                self._strips.pop(y, None)

    def render_widget(self, widget: Widget, crop: Region) -> list[Strip]:
        """Return a part of the lines of a canvas."""
        missing = [y for y in crop.line_range if y not in self._strips]
        if missing:
            background = widget.background_colors[1]
            filters = widget.get_line_filters()
            for y in missing:
                strip = widget.render_line(y)
                for each in filters:
                    strip = strip.apply_filter(each, background)
                self._strips[y] = strip
        strips = [self._strips[y] for y in crop.line_range]
        if crop.column_span != (0, widget.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips


class Canvas(Widget):
    """Draws `draw(width, height)`, and repaints the lines that differ from those on the screen.

    All text passes through `safe` here, so nothing that a job wrote can reach the terminal as a
    command.
    """

    can_focus = False
    DEFAULT_CSS = "Canvas { height: 1; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._styles_cache = cast("Any", _Strips())
        self._shown: list[Line] = []
        self._shown_width = -1
        self.painted = 0

    @property
    def size(self) -> Size:
        """All of it, since a canvas has neither border nor padding."""
        return self._size

    @property
    def look(self) -> Look:
        """The app, as far as drawing is concerned."""
        return cast("Look", self.app)

    @abstractmethod
    def draw(self, width: int, height: int) -> Sequence[Line]:
        """Return the lines to show; fewer than `height` are filled up with empty ones."""

    def redraw(self) -> None:
        """Draw again and repaint what changed."""
        if not self.is_attached or not self.size.width or not self.size.height:
            return
        before, same_width = self._shown, self._shown_width == self.size.width
        self._take()
        if not same_width or len(before) != len(self._shown):
            self.refresh()
            return
        wide = self.size.width
        changed = [
            Region(0, y, wide, 1)
            for y, (old, new) in enumerate(zip(before, self._shown, strict=True))
            if old != new
        ]
        if changed:
            self.refresh(*changed)

    def forget(self) -> None:
        """Repaint every line, since the theme or the screen changed."""
        self._shown_width = -1
        self._styles_cache.clear()
        self.redraw()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.redraw()

    def _take(self) -> None:
        wide, high = self.size
        lines = list(self.draw(wide, high))[:high]
        self._shown = lines + [()] * (high - len(lines))
        self._shown_width = wide

    def render_line(self, y: int) -> Strip:
        """Return one line as the compositor wants it."""
        if self._shown_width != self.size.width or len(self._shown) != self.size.height:
            self._take()
        if y >= len(self._shown):
            return Strip.blank(self.size.width)
        self.painted += 1
        return self._strip(self._shown[y], self.size.width)

    def _strip(self, line: Line, cells: int) -> Strip:
        look, left = self.look, cells
        segments = []
        for text, style in line:
            if left <= 0:
                break
            text = safe(text)
            if look.ascii:
                text = to_ascii(text)
            used = width(text)
            if used > left:
                text = fit(text, left)
                text = to_ascii(text) if look.ascii else text
                used = left
            left -= used
            segments.append(Segment(text, look.palette.style(style)))
        if left > 0:
            last = "bar" if line and line[-1][1].endswith("bar") else ""
            segments.append(Segment(" " * left, look.palette.style(last)))
        return Strip(segments, cells)
