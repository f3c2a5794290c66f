"""The live log of a job: a ring of lines of which only the visible ones are drawn, at most four
times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from time import monotonic

from qdeck.admin import LogLine
from qdeck_tui.format import age, count, cut, plural, wrap
from qdeck_tui.widgets.canvas import Line, Span
from qdeck_tui.widgets.pane import Pane

__all__ = ["LogPane"]

# Lines that are kept, and how many more may gather before the oldest are dropped.
KEPT = 20_000
SLACK = 2_000
# Characters that are kept at most, whatever the number of lines.
KEPT_TEXT = 16_000_000
PAINT_EVERY = 0.25
LONGEST = 4_000
TIMES = ("utc", "local", "relative", "off")
LEVELS = ("all", "info", "warning", "error")
RANKS = {"debug": 0, "info": 1, "out": 1, "err": 2, "warning": 2, "error": 3, "critical": 3}
WORDS = {"warning": "WARN", "critical": "CRIT"}
STYLES = {"warning": "warn", "err": "warn", "error": "bad", "critical": "bad", "debug": "dim"}


class LogPane(Pane):
    """Follows the end until the operator moves; `g` and `G` are the ends, `G` follows again."""

    def __init__(self, title: str, *, say: Callable[[str, str], None]) -> None:
        super().__init__(title)
        self._say = say
        self._lines: list[LogLine] = []
        self._passing: list[LogLine] = []
        self._characters = 0
        self.total: int | None = None
        self.dropped = 0
        self.top = 0
        self.following = True
        self.wrapping = False
        self.times = "utc"
        self.level = "all"
        self.needle = ""
        self.ended = False
        self.attempts = 0
        self._hit: int | None = None
        self._painted_at = 0.0
        self._due = False
        self.empty = ("no line yet: what the job logs and prints appears here",)

    # What it is told

    def add(self, lines: Sequence[LogLine], missed: int = 0) -> None:
        """Take more lines, drawn with the next paint; the oldest go once there are many.

        Where the server trimmed some before they could be read, a line of its own says how many.
        """
        if missed and lines:
            verb = "was" if missed == 1 else "were"
            said = f"{plural(missed, 'line')} {verb} trimmed by the server"
            lines = [replace(lines[0], level="warning", text=said), *lines]
        for line in lines:
            self._lines.append(line)
            self._characters += len(line.text)
            self.attempts = max(self.attempts, line.attempt)
            if self._passes(line):
                self._passing.append(line)
        if len(self._lines) > KEPT + SLACK:
            self._trim(len(self._lines) - KEPT)
        while self._characters > KEPT_TEXT and len(self._lines) > 1:
            self._trim(max(1, len(self._lines) // 10))
        self.soon()

    def _trim(self, number: int) -> None:
        """Drop the oldest lines, and keep what is on screen where it is."""
        seen = sum(1 for line in self._lines[:number] if self._passes(line))
        self._characters -= sum(len(line.text) for line in self._lines[:number])
        del self._lines[:number]
        del self._passing[:seen]
        self.dropped += number
        self.top = max(0, self.top - seen)
        if self._hit is not None:
            self._hit = self._hit - seen if self._hit >= seen else None

    def restart(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._characters = 0
        self._passing = []
        self.top = self.dropped = 0
        self._hit = None
        self.following = True
        self.soon()

    def soon(self) -> None:
        """Draw now, or in a quarter of a second after the last time."""
        if self._due:
            return
        wait = PAINT_EVERY - (monotonic() - self._painted_at)
        if wait <= 0:
            self._paint()
        else:
            self._due = True
            # A timer of Textual is never called when the process rests longer than it is to wait.
            asyncio.get_running_loop().call_later(wait, self._paint)

    def _paint(self) -> None:
        self._due = False
        self._painted_at = monotonic()
        self.redraw()

    def _passes(self, line: LogLine) -> bool:
        return RANKS.get(line.level, 1) >= LEVELS.index(self.level)

    # Drawing

    @property
    def _room(self) -> int:
        return max(1, self.size.height - 1)

    def body(self, width: int, height: int) -> Sequence[Line]:
        """Return the visible lines."""
        self.note = self._state()
        if not self._passing:
            return self.hint(width)
        if self.following:
            return self._tail(width, height)
        self.top = max(0, min(self.top, len(self._passing) - 1))
        lines: list[Line] = []
        for at in range(self.top, len(self._passing)):
            lines += self._draw(at, width, height)
            if len(lines) >= height:
                break
        return lines[:height]

    def _tail(self, width: int, height: int) -> list[Line]:
        lines: list[Line] = []
        at = len(self._passing)
        while at > 0 and len(lines) < height:
            at -= 1
            lines[0:0] = self._draw(at, width, height)
        self.top = at
        return lines[-height:]

    def _draw(self, at: int, cells: int, height: int) -> list[Line]:
        line = self._passing[at]
        style = STYLES.get(line.level, "")
        head: list[Span] = []
        stamp = self._time(line)
        if stamp:
            head.append((stamp + " ", "dim"))
        head += [
            (f"{WORDS.get(line.level, line.level.upper()[:5]):<5} ", style),
            (f"#{line.attempt} ", "dim"),
        ]
        used = sum(len(text) for text, _ in head)
        room = max(10, cells - used)
        if not self.wrapping:
            return [(*head, *self._mark(cut(line.text, room), style, at))]
        parts = wrap(line.text[: min(LONGEST, room * height)], room)
        lines: list[Line] = [(*head, *self._mark(parts[0], style, at))]
        lines += [((" " * used, ""), *self._mark(part, style, at)) for part in parts[1:]]
        return lines

    def _mark(self, text: str, style: str, at: int) -> list[Span]:
        if not self.needle:
            return [(text, style)]
        if at == self._hit:
            style = f"{style} bold"
        spans: list[Span] = []
        low, needle, start = text.lower(), self.needle.lower(), 0
        while (found := low.find(needle, start)) >= 0:
            spans += [(text[start:found], style), (text[found : found + len(needle)], "found")]
            start = found + len(needle)
        return [*spans, (text[start:], style)]

    def _time(self, line: LogLine) -> str:
        if self.times == "off":
            return ""
        if self.times == "relative":
            first = self._lines[0].at if self._lines else line.at
            return f"{'+' + age((line.at - first).total_seconds()):>5}"
        zone: tzinfo | None = UTC if self.times == "utc" else None
        return line.at.astimezone(zone).strftime("%H:%M:%S.%f")[:-3]

    def _state(self) -> str:
        kept = len(self._lines)
        words = [
            "follow ON" if self.following else "follow off",
            "wrap on" if self.wrapping else "",
            f"times {self.times}",
            f"level >={self.level}" if self.level != "all" else "",
            f"find {self.needle}" if self.needle else "",
            f"{count(kept)} of {count(self.total)} lines" if self.total and self.total > kept
            else plural(kept, "line"),
            "ended" if self.ended else "",
            f"{count(self.dropped)} older dropped" if self.dropped else "",
        ]  # fmt: skip
        return "  ".join(word for word in words if word)

    # Moving

    def _go(self, to: int) -> None:
        """Move by hand: the next search begins at the top of the screen."""
        self._hit = None
        self._show(to)

    def _show(self, to: int) -> None:
        self.following = False
        self.top = max(0, min(to, len(self._passing) - 1))
        self.redraw()

    def do_down(self) -> None:
        """Go one line down; at the end it follows again."""
        if not self.following:
            self._go(min(self.top + 1, max(0, len(self._passing) - self._room)))

    def do_up(self) -> None:
        """Go one line up, which ends following."""
        self._go(self.top - 1)

    def do_top(self) -> None:
        """Go to the oldest line kept."""
        self._go(0)

    def do_bottom(self) -> None:
        """Go to the end and follow it."""
        self.following = True
        self._hit = None
        self.redraw()

    def do_page_down(self) -> None:
        """Go a page down."""
        if self.top + 2 * self._room >= len(self._passing):
            self.do_bottom()
        else:
            self._go(self.top + self._room)

    def do_page_up(self) -> None:
        """Go a page up."""
        self._go(self.top - self._room)

    def do_half_down(self) -> None:
        """Go half a page down."""
        if not self.following:
            self._go(self.top + self._room // 2)

    def do_half_up(self) -> None:
        """Go half a page up."""
        self._go(self.top - self._room // 2)

    # Keys of the log

    def do_follow(self) -> None:
        """Follow the end, or stop."""
        self.following = not self.following
        self.redraw()

    def do_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self.wrapping = not self.wrapping
        self.redraw()

    def do_times(self) -> None:
        """Show times another way."""
        self.times = TIMES[(TIMES.index(self.times) + 1) % len(TIMES)]
        self.redraw()

    def do_level(self) -> None:
        """Show lines from the next level up."""
        self.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]
        self._passing = [line for line in self._lines if self._passes(line)]
        self._hit = None
        self.top = min(self.top, max(0, len(self._passing) - 1))
        self.redraw()

    def search(self, needle: str) -> None:
        """Look for text from the top of the screen on."""
        self.needle = needle
        self._hit = None
        if needle:
            start = max(0, self.top - 1) if not self.following else -1
            self._seek(start, 1, lambda line: needle.lower() in line.text.lower(), needle)
        else:
            self.redraw()

    def do_find_next(self) -> None:
        """Go to the next hit."""
        self._again(1)

    def do_find_back(self) -> None:
        """Go to the hit before."""
        self._again(-1)

    def _again(self, step: int) -> None:
        if not self.needle:
            self._say("nothing to find yet: / asks for it", "warn")
            return
        needle = self.needle.lower()
        start = self._hit if self._hit is not None else self._edge(step)
        self._seek(start, step, lambda line: needle in line.text.lower(), self.needle)

    def _edge(self, step: int) -> int:
        """Return where a search begins without a hit: before the top line, or after the last."""
        if step > 0:
            return self.top - 1
        return len(self._passing) if self.following else self.top

    def do_error_next(self) -> None:
        """Go to the next error."""
        start = self._hit if self._hit is not None else self._edge(1)
        self._seek(start, 1, lambda line: RANKS.get(line.level, 1) >= 3, "an error")

    def do_error_back(self) -> None:
        """Go to the error before."""
        start = self._hit if self._hit is not None else self._edge(-1)
        self._seek(start, -1, lambda line: RANKS.get(line.level, 1) >= 3, "an error")

    def _seek(self, start: int, step: int, fits: Callable[[LogLine], bool], what: str) -> None:
        places = range(start + step, len(self._passing) if step > 0 else -1, step)
        hit = next(
            (at for at in places if 0 <= at < len(self._passing) and fits(self._passing[at])), None
        )
        if hit is None:
            side = "below" if step > 0 else "above"
            self._say(f"{what} is not {side}", "warn")
            self.redraw()
            return
        self._hit = hit
        inside = self.top <= hit < self.top + self._room
        self._show(self.top if inside and not self.wrapping else hit)

    # Saving and copying

    def words(self) -> str:
        """Return all kept lines as plain text with full times."""
        return "".join(
            f"{_iso(line.at)} {line.level.upper():<7} #{line.attempt} {line.text}\n"
            for line in self._lines
        )


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
