"""Whatever jobs, workers and schedules are called and say is shown as text, and nothing else."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from tests.tui.pty import Pty, a_child_environment

# What the console itself sends: sequences with parameters, reverse index, modes of the keypad.
OWN = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[DM78=>]")
FOREIGN = ("\x1b]", "\x1bP", "\x1b\\", "\x9b", "\x1b[66;77H", "\x1b[?1337", "\x1b[99m", "\x07")

# From the first screen on: what is pressed, one packet each; every view, pane and dialog.
WALK = (
    *("1", "w", "escape", "tab", "tab", "enter", "]", "]", "]", "]", "escape", "y", "escape"),
    *("2", "enter", "tab", "tab", "y", "escape", "enter", "escape", "escape"),
    *("3", "j", "x", "escape", "enter", "W", "T", "L", "/", "loud", "enter", "n", "]", "]", "]"),
    *("]", "y", "escape", "escape", "4", "r", "escape", "enter", "escape"),
    *("5", "enter", "escape", "e", "escape", "escape", "t", "escape", "D", "escape"),
    *("6", "r", "escape", "D", "escape", "w", "escape", "e", "escape", "escape"),
    *("enter", "space", "space", "r", "escape", "escape", "escape"),
    *("7", "X", "escape", "enter", "escape", "l", "escape"),
    *(":", "find loud", "enter", "escape", "?", "escape", "1"),
)


def settle(pty: Pty) -> None:
    """Take in output until there is none for a moment."""
    quiet = time.monotonic() + 0.12
    end = time.monotonic() + 3
    while time.monotonic() < min(quiet, end):
        size = len(pty.raw)
        pty.pump(0.04)
        if len(pty.raw) != size:
            quiet = time.monotonic() + 0.12


def boxes_hold(pty: Pty) -> bool:
    """Return whether the sides of each box stand below its corners."""
    buffer, wide = pty.screen.buffer, pty.screen.columns
    rows = [[buffer[y][x].data for x in range(wide)] for y in range(pty.screen.lines)]
    for y, row in enumerate(rows):
        if "┌" not in row or "┐" not in row:
            continue
        left, right = row.index("┌"), row.index("┐")
        for below in rows[y + 1 :]:
            if below[left] == "└":
                if below[right] != "┘":
                    return False
                break
            if not below[left] == below[right] == "│":
                return False
    return True


def check_bytes(raw: str) -> None:
    """See that nothing that was received came from a job."""
    for foreign in FOREIGN:
        assert foreign not in raw, repr(foreign)
    rest = OWN.sub("", raw)
    strange = {letter for letter in rest if unicodedata.category(letter)[0] in "CM"}
    assert strange == set()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)], ids=["80x24", "120x40", "60x16"])
def test_no_text_is_a_command_to_the_terminal(size: tuple[int, int]) -> None:
    with Pty.python(
        "-m", "tests.tui.programs.hostile", size=size, env=a_child_environment()
    ) as pty:
        pty.wait_for("live")
        seen = ""
        for key in WALK:
            pty.press(key)
            settle(pty)
            seen += pty.text
            pty.wait(
                lambda: pty.screen.display[0].startswith(" qdeck") and boxes_hold(pty),
                f"whole boxes after {key}",
            )
        check_bytes(pty.raw)
        assert "[bold red]loud[/]" in seen
        pty.press("F")
        pty.wait_for("frozen")
        settle(pty)
        before = pty.screen.display[:-2]
        pty.press("ctrl+l")
        settle(pty)
        pty.wait(lambda: pty.screen.display[:-2] == before, "the same screen")
        pty.press("q")
        assert pty.ended() == 0
        assert pty.modes_left_on() == []


def test_with_ascii_nothing_else_is_sent() -> None:
    env = a_child_environment()
    with Pty.python("-m", "tests.tui.programs.hostile", "--ascii", env=env) as pty:
        pty.wait_for("live")
        for key in ("2", "3", "enter", "6", "r", "escape", "7"):
            pty.press(key)
            settle(pty)
        assert {letter for letter in pty.raw if not letter.isascii()} == set()
        check_bytes(pty.raw)
        pty.press("q")
        assert pty.ended() == 0
