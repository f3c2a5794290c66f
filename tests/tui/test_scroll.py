"""Rows that only moved are moved by the terminal, and the rest of the screen is as it should be."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest
from tests.servers import Server
from tests.tui.desk import Desk

from qdeck_tui.delta import Frame, Pen

WIDTH, HEIGHT = 100, 16
LOOKS = (Pen(), Pen("1", "38;2;200;100;50", "48;2;10;20;30"), Pen("", "32", ""))
Row = list[tuple[str, Pen]]


def row(words: str, look: Pen = LOOKS[0]) -> Row:
    """Return a row of cells; a wide letter fills two."""
    cells: Row = []
    for letter in words:
        cells.append((letter, look))
        if letter > "\u2e80":
            cells.append(("", look))
    cells = cells[: WIDTH - 2]
    if cells and cells[-1][0] > "\u2e80":
        cells.pop()
    return cells + [(" ", look)] * (WIDTH - len(cells))


def fresh(number: int) -> Row:
    """Return a row with letters and looks of its own."""
    dice = random.Random(number)
    words = "".join(dice.choice("abcdefgh 漢字0123456789") for _ in range(WIDTH))
    return row(f"{number} {words}", dice.choice(LOOKS))


class Seen:
    """A terminal that shows a frame."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.stream = pyte.Stream(self.screen)
        self.screen.reset_mode(7, private=True)
        self.frame = Frame(WIDTH, HEIGHT)

    def paint(self, rows: list[Row], first: int = 0) -> str:
        """Paint rows from one on, and return what was sent for them."""
        text = self.frame.paint((first + y, 0, list(cells)) for y, cells in enumerate(rows))
        self.stream.feed(text)
        return text

    def cells(self) -> list[list[tuple[object, ...]]]:
        """Return what the terminal shows, with the look of each cell."""
        return [[tuple(self.screen.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


def painted_anew(rows: list[Row]) -> list[list[tuple[object, ...]]]:
    """Return what a terminal shows that was sent everything."""
    seen = Seen()
    seen.paint(rows)
    return seen.cells()


@pytest.mark.parametrize("by", [1, -1, 2, -2, 3])
def test_a_list_that_moves_on_is_scrolled_by_the_terminal(by: int) -> None:
    rows = [fresh(number) for number in range(40)]
    seen = Seen()
    seen.paint(rows[10 : 10 + HEIGHT])
    sent = seen.paint(rows[10 + by : 10 + by + HEIGHT])
    assert ("\x1bM" if by < 0 else "\x1bD") in sent
    assert len(sent) < 250 * abs(by)
    assert seen.cells() == painted_anew(rows[10 + by : 10 + by + HEIGHT])


def test_rows_around_the_list_stay_where_they_are() -> None:
    frame = [row("header"), row("title"), *(fresh(number) for number in range(12)), row("footer")]
    seen = Seen()
    seen.paint([*frame, row("")])
    moved = [*frame[3:14], fresh(99)]
    seen.paint(moved, first=2)
    assert seen.cells() == painted_anew([*frame[:2], *moved, *frame[14:], row("")])


def test_whatever_changes_the_terminal_shows_it() -> None:
    dice = random.Random(7)
    rows = [fresh(number) for number in range(HEIGHT)]
    seen = Seen()
    seen.paint(rows)
    scrolled = 0
    for step in range(300):
        top = dice.randrange(HEIGHT - 6)
        bottom = dice.randrange(top + 5, HEIGHT + 1)
        block = rows[top:bottom]
        by = dice.choice((1, 1, -1, 2, -3, 0))
        new = [fresh(1000 + step * 10 + at) for at in range(abs(by))]
        block = [*block[by:], *new] if by > 0 else [*new, *block[: len(block) + by]]
        if dice.random() < 0.5:
            block[dice.randrange(len(block))] = fresh(5000 + step)
        rows[top:bottom] = block
        scrolled += "r\x1b[" in seen.paint(block, first=top)
        assert seen.cells() == painted_anew(rows), step
    assert scrolled > 100


@pytest.fixture
def desk(valkey: Server, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(valkey, tmp_path)
    yield made
    made.close()


class Tmux:
    """A tmux of its own with one window."""

    def __init__(self, folder: Path) -> None:
        self._words = ("tmux", "-S", str(folder / "tmux"), "-f", "/dev/null")

    def run(self, *words: str, environ: dict[str, str] | None = None) -> str:
        """Run a command of tmux and return what it prints."""
        done = subprocess.run(
            [*self._words, *words], env=environ, capture_output=True, text=True, check=True,
            timeout=20,
        )  # fmt: skip
        return done.stdout

    def screen(self) -> str:
        """Return what the window shows, with its colours."""
        return self.run("capture-pane", "-p", "-e")

    def wait_for(self, text: str) -> None:
        """Wait until a text is shown."""
        end = time.monotonic() + 30
        while text not in (screen := self.run("capture-pane", "-p")):
            assert time.monotonic() < end, screen
            time.sleep(0.05)

    def settled(self) -> str:
        """Return the screen once it changes no more."""
        before, now = "", self.screen()
        while before != now:
            time.sleep(0.3)
            before, now = now, self.screen()
        return now


@pytest.mark.parametrize("term", ["screen-256color", "tmux-256color", "screen"])
def test_a_list_that_scrolls_in_tmux_is_what_a_redraw_shows(
    desk: Desk, tmp_path: Path, term: str
) -> None:
    for number in range(60):
        desk.enqueue("quick", "alpha", number=number)
    tmux = Tmux(tmp_path)
    environ = {**desk.environ, "TERM": term, "PATH": os.environ["PATH"]}
    conf = ("set-option", "-g", "default-terminal", term, ";")
    tmux.run(*conf, "new-session", "-d", "-x", "80", "-y", "24", "-c", str(desk.folder),
             f"{sys.executable} -m qdeck_tui", environ=environ)  # fmt: skip
    try:
        tmux.wait_for("live")
        tmux.run("send-keys", "2")
        tmux.wait_for("IN/M")
        tmux.run("send-keys", "Enter")
        tmux.wait_for('{"number":3}')
        tmux.run("send-keys", "Tab", "Tab", "F")
        tmux.wait_for("frozen")
        for key in ("Down",) * 25 + ("Up",) * 12 + ("j",) * 3:
            tmux.run("send-keys", key)
        tmux.wait_for('{"number":16}')
        scrolled = tmux.settled()
        tmux.run("send-keys", "C-l")
        assert tmux.settled() == scrolled
    finally:
        tmux.run("kill-server")
