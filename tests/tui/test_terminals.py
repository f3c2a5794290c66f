"""Small, odd and old terminals."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.pty import Pty

SGR = re.compile(r"\x1b\[([0-9;]*)m")


@pytest.fixture
def desk(valkey: Server, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(valkey, tmp_path)
    for number in range(30):
        made.enqueue("quick", "alpha", number=number)
    yield made
    made.close()


def walk(pty: Pty) -> None:
    """Look at a few views and a dialog, scroll a list, and leave."""
    pty.press("2")
    pty.wait_for("alpha")
    pty.press("enter")
    pty.wait_for("JOBS PENDING")
    pty.press("tab", "tab")
    for _ in range(26):
        pty.press("down")
    pty.wait_for('{"number":26}')
    pty.press("x")
    pty.wait_for("y yes")
    pty.press("escape")
    pty.wait_for("nothing was done")
    pty.press("escape", "escape")
    pty.wait_for("2Queues")
    pty.press("q")
    assert pty.ended() == 0
    assert pty.modes_left_on() == []


def colours(raw: str) -> set[str]:
    """Return the kinds of colours that were written: none, 16, 256, true."""
    found = set()
    for codes in SGR.findall(raw):
        parts = codes.split(";")
        if "38" in parts or "48" in parts:
            at = parts.index("38") if "38" in parts else parts.index("48")
            found.add({"2": "true", "5": "256"}[parts[at + 1]])
        elif any(re.fullmatch(r"[349][0-7]|10[0-7]", part) for part in parts):
            found.add("16")
    return found


@pytest.mark.parametrize(
    ("term", "kinds"),
    [
        ("linux", {"16"}),
        ("screen", {"16"}),
        ("xterm-16color", {"16"}),
        ("xterm", {"16"}),
        ("vt220", {"16"}),
        ("tmux-256color", {"256"}),
        ("screen-256color", {"256"}),
        ("xterm-256color", {"256"}),
    ],
)
def test_each_terminal_gets_the_colours_that_it_has(desk: Desk, term: str, kinds: set[str]) -> None:
    with desk.opened(TERM=term, COLORTERM="") as pty:
        walk(pty)
        assert colours(pty.raw) <= kinds
        if term == "linux":
            assert pty.raw.isascii()


@pytest.mark.parametrize("term", ["linux", "screen-256color", "xterm-256color"])
def test_without_colour_none_is_written_on_any_of_them(desk: Desk, term: str) -> None:
    with desk.opened(TERM=term, NO_COLOR="1") as pty:
        walk(pty)
        assert colours(pty.raw) == set()


def test_in_a_locale_without_utf8_only_ascii_is_written(desk: Desk) -> None:
    with desk.opened(LANG="C", LC_ALL="C") as pty:
        walk(pty)
        assert pty.raw.isascii()


def whole(pty: Pty) -> bool:
    rows = pty.text.split("\n")
    read = "reading…" not in pty.text
    return read and rows[0].startswith(" qdeck") and "command" in rows[-1]


@pytest.mark.parametrize(
    "size", [(60, 16), (62, 18), (80, 24), (132, 43), (300, 80)], ids=lambda size: str(size[0])
)
def test_every_size_has_header_list_and_footer(desk: Desk, size: tuple[int, int]) -> None:
    with desk.opened(size=size) as pty:
        for key in "12346789":
            pty.press(key)
            pty.wait(lambda: whole(pty), "header, first reading and footer")
        pty.press("?")
        pty.wait_for("HELP")
        pty.press("escape", "1")
        pty.wait_for("VERDICT")
        pty.press("q")
        assert pty.ended() == 0


def test_below_the_smallest_size_only_quit_is_taken(desk: Desk) -> None:
    with desk.opened() as pty:
        pty.press("2")
        pty.wait_for("alpha")
        pty.press("D")
        pty.resize(59, 16)
        pty.wait_for("too small: 60x16 at least")
        pty.press("1", "x", "enter", ":")
        pty.resize(80, 24)
        pty.wait_for("alpha")
        assert "2Queues" in pty.text
        pty.resize(80, 15)
        pty.wait_for("too small")
        pty.press("q")
        assert pty.ended() == 0
        assert pty.modes_left_on() == []


def test_the_size_changes_back_and_forth_and_everything_is_drawn(desk: Desk) -> None:
    with desk.opened(size=(200, 60)) as pty:
        pty.press("2")
        pty.wait_for("alpha")
        for size in ((80, 24), (60, 16), (200, 60), (80, 24)):
            pty.resize(*size)
            pty.wait(lambda: "? help" in pty.text.split("\n")[-1], f"footer at {size}")
            pty.wait_for("alpha")
        # Larger again before the console has drawn for the smaller size.
        for gap in (0.002, 0.004, 0.006, 0.012):
            pty.resize(60, 16)
            time.sleep(gap)
            pty.resize(80, 24)
            pty.wait(lambda: "? help" in pty.text.split("\n")[-1], f"footer after {gap} s")
        pty.press("q")
        assert pty.ended() == 0
