"""A pane: a title in a rule, and below it text or a table. A pane fails alone and says how old its
data is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from qdeck_tui.format import cut, prose, width, wrap
from qdeck_tui.widgets.canvas import Canvas, Line

__all__ = ["Pane", "TextPane", "rule"]


def rule(title: str, note: str, cells: int, *, active: bool, plain: bool, style: str) -> Line:
    """Return a title line: `── TITLE ─── note ──`; plain has the words only."""
    title = cut(title, max(cells * 6 // 10, cells - width(note) - 10))
    note = cut(note, max(0, cells - width(title) - 8))
    head = (title, f"{style} bold" if active else style)
    if plain:
        return ((("> " if active else "  "), "bold"), head, (f"  {note}" if note else "", "dim"))
    lead = "▸─ " if active else "── "
    tail = f" {note} ──" if note else ""
    dashes = max(0, cells - width(lead) - width(title) - width(tail) - 1)
    return (
        (lead, "bold" if active else "rule"),
        head,
        (" " + "─" * dashes, "rule"),
        (tail[:-2], "dim"),
        (tail[-2:], "rule"),
    )


class Pane(Canvas):
    """A titled pane. `trouble` says why its data could not be read, `None` when it could."""

    DEFAULT_CSS = "Pane { height: 1fr; }"
    titled = True
    reachable = True
    wanted = True

    def __init__(self, title: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title = title
        self.note = ""
        self.trouble: str | None = None
        self.active = False
        self.empty: tuple[str, ...] = ()
        self._told = ("", "")

    @property
    def retitled(self) -> bool:
        """Whether the title says something else than what is drawn."""
        return self._told != (self.title, self.note)

    def draw(self, width: int, height: int) -> Sequence[Line]:
        """Return the title and the body."""
        self._told = (self.title, self.note)
        if not self.titled:
            return self.body(width, height)
        if self.trouble is None:
            title = rule(self.title, self.note, width, active=self.active, plain=self.look.plain,
                         style="title")  # fmt: skip
        else:
            title = rule(f"{self.title} ! {self.trouble}", "", width, active=self.active,
                         plain=self.look.plain, style="bad")  # fmt: skip
        return [title, *self.body(width, height - 1)]

    @abstractmethod
    def body(self, width: int, height: int) -> Sequence[Line]:
        """Return the lines below the title."""

    def hint(self, width: int) -> list[Line]:
        """Return why the pane is empty and which key helps; what failed is told to its end, since
        the title has room for its beginning only.
        """
        if self.trouble is not None:
            return [((f"  {part}", "bad"),) for part in prose(self.trouble, width - 2)]
        return [((f"  {part}", "dim"),) for text in self.empty for part in prose(text, width - 2)]


class TextPane(Pane):
    """Lines of text with its own scroll position; cut at the edge, or wrapped."""

    def __init__(self, title: str = "", *, id: str | None = None) -> None:
        super().__init__(title, id=id)
        self._text: list[Line] = []
        self.top = 0
        self.wrapped = False
        self.length = 0

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the text; the scroll position stays as far as there is text."""
        self._text = list(lines)
        self.redraw()

    def body(self, width: int, height: int) -> Sequence[Line]:
        """Return the visible part."""
        if not self._text:
            self.length = 0
            return self.hint(width)
        lines = self._wrap(width) if self.wrapped else self._text
        self.length = len(lines)
        self.top = max(0, min(self.top, len(lines) - height))
        return lines[self.top : self.top + height]

    def _wrap(self, cells: int) -> list[Line]:
        lines: list[Line] = []
        for line in self._text:
            if len(line) == 1:
                lines += [((part, line[0][1]),) for part in wrap(line[0][0], cells)]
            else:
                lines.append(line)
        return lines

    @property
    def page(self) -> int:
        return max(1, self.size.height - (1 if self.titled else 0))

    def _scroll(self, to: int) -> None:
        self.top = max(0, min(to, self.length - self.page))
        self.redraw()

    def do_down(self) -> None:
        """Scroll one line down."""
        self._scroll(self.top + 1)

    def do_up(self) -> None:
        """Scroll one line up."""
        self._scroll(self.top - 1)

    def do_top(self) -> None:
        """Scroll to the first line."""
        self._scroll(0)

    def do_bottom(self) -> None:
        """Scroll to the last line."""
        self._scroll(self.length)

    def do_page_down(self) -> None:
        """Scroll a page down."""
        self._scroll(self.top + self.page)

    def do_page_up(self) -> None:
        """Scroll a page up."""
        self._scroll(self.top - self.page)

    def do_half_down(self) -> None:
        """Scroll half a page down."""
        self._scroll(self.top + self.page // 2)

    def do_half_up(self) -> None:
        """Scroll half a page up."""
        self._scroll(self.top - self.page // 2)

    def words(self) -> str:
        """Return the whole text, for copying."""
        return "\n".join("".join(text for text, _ in line) for line in self._text)
