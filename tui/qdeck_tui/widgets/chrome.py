"""The lines around every view: header, tabs or breadcrumbs, status and footer. Each is one line and
draws itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.events import Click
from textual.message import Message

from qdeck.admin.frozen import dataclass
from qdeck_tui.format import cut, width
from qdeck_tui.widgets.canvas import Canvas, Line, Span

__all__ = ["Footer", "Header", "HeaderState", "Status", "Tabs", "TooSmall"]

# How many hints at the end of the footer stay longest: prompt, help, and the way out.
ALWAYS = 3


@dataclass(frozen=True, slots=True)
class HeaderState:
    """What the header says. `live` is false with the reason in `note` when data is old; `server` is
    what a wide screen has room for.
    """

    label: str = "connecting"
    rights: str = "rw"
    live: bool = False
    note: str = ""
    rtt: str = ""
    clock: str = ""
    frozen: bool = False
    profile: str = ""
    profile_style: str = ""
    production: bool = False
    server: str = ""


class Header(Canvas):
    """Server, rights, liveness, round trip and the time in minutes."""

    state = HeaderState()

    def tell(self, state: HeaderState) -> None:
        """Show another state."""
        self.state = state
        self.redraw()

    def draw(self, width_: int, height: int) -> Sequence[Line]:
        """Return the one line: what matters most stays on narrow screens."""
        state = self.state
        left: list[Span] = [(" qdeck", "bold"), ("  ", "")]
        if state.profile:
            mark = (" PRODUCTION" if width_ >= 100 else "!") if state.production else ""
            left += [(cut(state.profile, 24) + mark, f"{state.profile_style} bold"), (" ", "")]
        left.append((state.rights, "key"))
        sign: Span = ("● live", "good") if state.live else (f"○ {state.note or 'no data'}", "bad")
        if state.frozen:
            sign = ("= frozen", "warn")
        right = f"{state.rtt}  {state.clock} " if width_ >= 50 else f"{state.clock} "
        room = width_ - sum(width(text) for text, _ in left) - 4 - width(sign[0]) - width(right)
        left += [("  ", ""), (cut(state.label, max(8, room)), ""), ("  ", "")]
        if state.server and room - width(state.label) > width(state.server) + 2:
            left += [(state.server, "dim"), ("  ", "")]
        left.append(sign)
        gap = width_ - sum(width(text) for text, _ in left) - width(right)
        if gap < 1:
            left = [*left[:-1], (cut(sign[0], max(6, width(sign[0]) + gap - 1)), sign[1])]
            gap = width_ - sum(width(text) for text, _ in left) - width(right)
        return [(*left, (" " * max(1, gap), ""), (right, "dim"))]


class Tabs(Canvas):
    """The views with their numbers, or the way back when something was opened from one."""

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__()
        self.tabs: tuple[tuple[str, str, str, str], ...] = ()
        self.current = ""
        self.crumbs: tuple[str, ...] = ()
        self.summary = ""
        self._places: list[tuple[int, int, str]] = []

    def tell(
        self,
        tabs: tuple[tuple[str, str, str, str], ...],
        current: str,
        crumbs: tuple[str, ...],
        summary: str,
    ) -> None:
        """Show tabs as (id, key, label, badge), or `crumbs` when there is more than one."""
        self.tabs, self.current, self.crumbs, self.summary = tabs, current, crumbs, summary
        self.redraw()

    def draw(self, cells: int, height: int) -> Sequence[Line]:
        """Return the one line."""
        self._places = []
        if len(self.crumbs) > 1:
            way = cut(" > ".join(self.crumbs), cells - 2)
            room = cells - width(way) - 4
            summary = cut(self.summary, room) if room > 8 else ""
            gap = cells - 2 - width(way) - width(summary)
            return [((f" {way}", "bold"), (" " * gap, ""), (summary + " ", "dim"))]
        line: list[Span] = [(" ", "")]
        at = 1
        used = sum(width(f"{key}{label}{badge}") for _, key, label, badge in self.tabs)
        gap = 3 if used + 3 * len(self.tabs) < cells else 1
        for identifier, key, label, badge in self.tabs:
            word = f"{key}{label}{badge}"
            style = "bold cursor" if identifier == self.current else "bad" if "!" in badge else ""
            shown = f"[{word}]" if self.look.plain and identifier == self.current else word
            line += [(shown, style), (" " * gap, "")]
            self._places.append((at, at + width(shown), key))
            at += width(shown) + gap
        return [tuple(line)]

    def on_click(self, event: Click) -> None:
        """Switch to the tab under the pointer."""
        for start, end, key in self._places:
            if start <= event.x < end:
                self.post_message(self.Chosen(key))


class Status(Canvas):
    """The last thing that happened, in one line."""

    text = ""
    style = ""

    def tell(self, text: str, style: str = "") -> None:
        """Show a sentence, or nothing."""
        self.text, self.style = text, style
        self.redraw()

    def draw(self, cells: int, height: int) -> Sequence[Line]:
        """Return the one line."""
        return [((" " + cut(self.text, cells - 2), self.style),)] if self.text else [()]


class Footer(Canvas):
    """The keys that work now, as many as fit; or the prompt while something is typed."""

    def __init__(self) -> None:
        super().__init__()
        self.hints: tuple[tuple[str, str], ...] = ()
        self.typing: Line | None = None

    def tell(self, hints: tuple[tuple[str, str], ...], typing: Line | None = None) -> None:
        """Show keys as (key, label), or the line that is being typed."""
        self.hints, self.typing = hints, typing
        self.redraw()

    def draw(self, cells: int, height: int) -> Sequence[Line]:
        """Return the one line; without room the hints before the last few go first."""
        if self.typing is not None:
            return [self.typing]
        kept = list(self.hints)
        while kept and sum(len(k) + len(label) + 3 for k, label in kept) > cells + 1:
            kept.pop(-1 - ALWAYS if len(kept) > ALWAYS else -1)
        line: list[Span] = [(" ", "")]
        for key, label in kept:
            line += [(key, "key"), (f" {label}", ""), ("  ", "")]
        return [tuple(line[:-1])]


class TooSmall(Canvas):
    """Covers a screen on which nothing else can be shown."""

    DEFAULT_CSS = """
    TooSmall { layer: over; display: none; position: absolute; width: 100%; height: 100%; }
    """

    def draw(self, cells: int, height: int) -> Sequence[Line]:
        """Return the sentence."""
        return [((" too small: 60x16 at least. q quits", "bold"),)]
