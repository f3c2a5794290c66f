"""A program in a pseudo-terminal of its own, with the screen that a person at it would see."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect
import pyte

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0

# What pyte does not know and would print: kitty's keyboard, queries for modes.
UNKNOWN = re.compile(r"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p")
# Keys that need no dialog, and are dropped within 50 ms of another one.
AT_ONCE = ("p", "P", "Q")
# Seconds without a key after which a form takes Ctrl+X, and a little more.
SEEN = 0.35
# What a dialog asks for; it is dim until it is taken.
ASKED = re.compile(r"y yes   n no|type \S+ and Enter to go")
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*)?\Z")

KEYS = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "space": " ",
    "backspace": "\x7f",
    **{f"ctrl+{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"},
}


def a_child_environment(**changes: str) -> dict[str, str]:
    """Return an environment in which children find the packages and nothing of ours leaks in."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    paths = [str(ROOT / name) for name in ("core", "tui", "themes")] + [str(ROOT)]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        **changes,
    }


class Pty:
    """One program, its keys and its screen; at the end of its `with` it is killed if it runs."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        size: tuple[int, int] = (80, 24),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        columns, rows = size
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        self._held = ""
        self.raw = ""
        self.child = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=dict(env or a_child_environment()),
            cwd=None if cwd is None else str(cwd),
            dimensions=(rows, columns),
            encoding="utf-8",
            codec_errors="replace",
            timeout=PATIENCE,
        )
        self.child.delaybeforesend = None

    @classmethod
    def python(cls, *arguments: str, **options: object) -> Pty:
        """Start this Python with arguments."""
        return cls([sys.executable, *arguments], **options)  # type: ignore[arg-type]  # passed on

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.child.closed:
            return
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()
        self.child.close(force=True)

    # What is seen

    def pump(self, seconds: float = 0.05) -> bool:
        """Take in what the program wrote; False when it has ended and nothing is left."""
        try:
            text = self.child.read_nonblocking(65_536, timeout=seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += text
        text = self._held + text
        self._held = ""
        if cut := UNFINISHED.search(text):
            self._held = text[cut.start() :]
            text = text[: cut.start()]
        self._stream.feed(UNKNOWN.sub("", text))
        return True

    @property
    def text(self) -> str:
        """The screen as text, rows ended by newlines."""
        return "\n".join(row.rstrip() for row in self.screen.display)

    def row_of(self, text: str) -> int:
        """Return the number of the first row that holds a text, or -1."""
        rows = self.text.split("\n")
        return next((number for number, row in enumerate(rows) if text in row), -1)

    def is_bold(self, text: str) -> bool:
        """Return whether a text is on the screen, and begins in bold where it stands first."""
        for y in range(self.screen.lines):
            cells = [self.screen.buffer[y][x] for x in range(self.screen.columns)]
            # The second cell of a wide character holds none.
            at = "".join(cell.data for cell in cells).find(text)
            if at >= 0:
                filled = [cell for cell in cells if cell.data]
                return bool(filled[at].bold)
        return False

    @property
    def takes_answer(self) -> bool:
        """Whether a dialog is on the screen that takes a yes or a number by now."""
        found = ASKED.search(self.text)
        return found is not None and self.is_bold(found[0])

    def wait(self, what: Callable[[], bool], name: str, timeout: float = PATIENCE) -> None:
        """Take in output until something is true; fails with the screen."""
        end = time.monotonic() + timeout
        while not what():
            alive = self.pump()
            if what():
                return
            if not alive or time.monotonic() > end:
                state = "still runs" if alive else "has ended"
                raise AssertionError(f"no {name}; the program {state}; the screen:\n{self.text}")

    def wait_for(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until a text is on the screen."""
        self.wait(lambda: text in self.text, repr(text), timeout)

    def wait_gone(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until a text is not on the screen any more."""
        self.wait(lambda: text not in self.text, f"end of {text!r}", timeout)

    def wait_to_answer(self, text: str) -> None:
        """Wait for a dialog with a text that takes an answer."""
        self.wait(lambda: text in self.text and self.takes_answer, f"question {text!r}")

    # What is done

    def press(self, *keys: str) -> None:
        """Send keys by name, or texts as they are, one after the other.

        What acts at once comes as from a hand: so soon after others it would be a paste. What
        submits a form comes once that was seen.
        """
        for key in keys:
            if key in AT_ONCE:
                self.rest()
            if key == "ctrl+x":
                self.rest(SEEN)
                self.wait_gone("Ctrl+X wait")
            self.send(KEYS.get(key, key))

    def rest(self, seconds: float = 0.1) -> None:
        """Let time pass, while the screen goes on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump()

    def send(self, data: str) -> None:
        """Send text in one packet."""
        self.child.send(data)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal."""
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        self.child.kill(number)

    def stopped(self) -> bool:
        """Return whether the program is stopped by a signal."""
        assert self.child.pid is not None
        asked = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.child.pid, asked) is not None

    # How it ends

    def hang_up(self, timeout: float = PATIENCE) -> int:
        """Take the terminal away, wait for the program's end and return its exit code."""
        process = vars(self.child)["ptyproc"]
        process.fileobj.close()
        process.closed = self.child.closed = True
        process.fd = self.child.child_fd = -1
        end = time.monotonic() + timeout
        while True:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                process.terminated = self.child.terminated = True
                self.child.exitstatus = process.exitstatus = os.waitstatus_to_exitcode(status)
                return int(process.exitstatus)
            if time.monotonic() > end:
                os.kill(process.pid, signal.SIGKILL)
                raise AssertionError("the program still runs without its terminal")
            time.sleep(0.02)

    def ended(self, timeout: float = PATIENCE) -> int:
        """Wait for the program's end and return its exit code, or minus the signal."""
        end = time.monotonic() + timeout
        while self.pump() and time.monotonic() < end:
            pass
        while self.child.isalive():
            if time.monotonic() > end:
                raise AssertionError(f"the program does not end; the screen:\n{self.text}")
            time.sleep(0.02)
        if self.child.exitstatus is not None:
            return int(self.child.exitstatus)
        return -int(self.child.signalstatus or 0)

    def modes_left_on(self) -> list[str]:
        """Return the names of the modes that a program leaves off, but which are on."""
        left = [
            name
            for name, number in {
                "alternate screen": 1049,
                "clicks": 1000,
                "drags": 1002,
                "motion": 1003,
                "focus": 1004,
                "SGR mouse": 1006,
                "pasting": 2004,
                "sizes in band": 2048,
            }.items()
            if number << 5 in self.screen.mode
        ]
        if self.screen.cursor.hidden:
            left.append("hidden cursor")
        with contextlib.suppress(termios.error):
            flags = termios.tcgetattr(self.child.child_fd)[3]
            if not flags & termios.ICANON or not flags & termios.ECHO or not flags & termios.ISIG:
                left.append("raw input")
        return left
