"""The terminal around the console: what it can show, and keeping it away from everybody else.

It runs before Textual is imported and imports nothing of it. `Terminal.take` leaves this process
with /dev/null for input and a pipe for output, so that what a job or its children print or read
touches neither screen nor keys; `give_back` undoes that. What opens /dev/tty itself is not stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import sys
import termios
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from qdeck_tui.output import pump

__all__ = ["Terminal", "needs_ascii", "prepare_environment", "refusal"]

# Every mode that the console or Textual may have switched on, in the order in which to end them.
MODES_OFF = (
    "\x1b[?2026l\x1b[?2004l\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"
    "\x1b[?1004l\x1b[?7h\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
)


def refusal(
    environ: Mapping[str, str], *, stdin: bool | None = None, stdout: bool | None = None
) -> str | None:
    """Return one sentence if no console can be shown here, else None."""
    stdin = os.isatty(0) if stdin is None else stdin
    stdout = os.isatty(1) if stdout is None else stdout
    if not (stdin and stdout):
        return (
            "qdeck: the console needs a terminal for input and output;"
            " `qdeck --help` lists the commands that do not"
        )
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        return (
            f"qdeck: the console cannot be drawn on TERM={term or '(not set)'};"
            " set TERM to what your terminal is, or use the commands of `qdeck --help`"
        )
    return None


def needs_ascii(environ: Mapping[str, str], utf8_mode: bool | None = None) -> bool:
    """Return whether to draw with ASCII only: on the Linux console or a locale without UTF-8.

    `utf8_mode` is whether Python switched it on by itself, which it does in the C locale.
    """
    if environ.get("TERM", "") == "linux":
        return True
    if utf8_mode is None:
        utf8_mode = bool(sys.flags.utf8_mode) and not environ.get("PYTHONUTF8")
    if utf8_mode:
        return True
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next((environ[name] for name in names if environ.get(name)), "C")
    return "utf-8" not in locale.lower() and "utf8" not in locale.lower()


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Set what Textual reads when it is imported: nothing animates, few frames over a slow line."""
    environ["TEXTUAL_ANIMATIONS"] = "none"
    environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
    environ.setdefault("TEXTUAL_FPS", "15" if environ.get("SSH_CONNECTION") else "30")
    for name in ("TEXTUAL_DRIVER", "TEXTUAL", "TEXTUAL_LOG", "TEXTUAL_DEBUG"):
        environ.pop(name, None)


class TerminalFile:
    """The terminal as the file that Textual's writer thread writes to.

    It drops what is written once the terminal is gone or given up, so that nothing waits for it.
    """

    def __init__(self, fd: int, *, blocking: bool) -> None:
        self._fd = fd
        self._piece = 256 if blocking else 65_536
        self._parts: list[str] = []
        self.gone = False

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        data = "".join(self._parts).encode("utf-8", "replace")
        self._parts.clear()
        self.send(data)

    def send(self, data: bytes) -> None:
        """Write bytes, and wait until the terminal has taken them or is gone."""
        while data and not self.gone:
            try:
                # A terminal behind a stalled line takes nothing; then look now and then whether
                # it has been given up meanwhile.
                if select.select([], [self._fd], [], 0.2)[1]:
                    data = data[os.write(self._fd, data[: self._piece]) :]
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                self.gone = True


class Terminal:
    """The one terminal of this process, taken from its standard streams.

    `write` receives the lines that anything here prints while the terminal is taken, in a thread.
    """

    def __init__(self, write: Callable[[Sequence[str]], None]) -> None:
        self._write = write
        self._saved: list[int] = []
        self._modes: list[Any] | None = None
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()
        self.drawn = False
        self.fd = -1
        self.own = False
        self.file = TerminalFile(-1, blocking=True)

    def take(self) -> None:
        """Keep the terminal for the console alone; standard input is empty and output is lines."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._saved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (0, 1, 2)]
        self._modes = termios.tcgetattr(self._saved[0])
        self.fd, self.own = _reopen(self._saved[0])
        self.file = TerminalFile(self.fd, blocking=not self.own)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        reading, writing = os.pipe()
        os.dup2(null, 0)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(null)
        os.close(writing)
        self._reader = threading.Thread(
            target=pump, args=(reading, self._write), name="qdeck-output", daemon=True
        )
        self._reader.start()

    def give_back(self) -> None:
        """Return the terminal and the standard streams as they were found; again does nothing."""
        with self._lock:
            if not self._saved:
                return
            saved, self._saved = self._saved, []
            self.restore()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            for fd, kept in enumerate(saved):
                os.dup2(kept, fd)
                os.close(kept)
            # A child may hold the other end open, so the reader is not waited for long.
            if self._reader is not None and self._reader is not threading.current_thread():
                self._reader.join(0.2)
            self.file.gone = True
            os.close(self.fd)

    def restore(self) -> None:
        """End every mode that is still on and set the terminal's attributes as they were."""
        self.file.gone = True
        if self.drawn:
            self.drawn = False
            with contextlib.suppress(OSError):
                if select.select([], [self.fd], [], 0.2)[1]:
                    os.write(self.fd, MODES_OFF.encode())
        if self._modes is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)

    @property
    def streams(self) -> tuple[int, int, int]:
        """The standard streams as they were found, for a program that the terminal is lent to."""
        stdin, stdout, stderr = self._saved
        return stdin, stdout, stderr

    def clean(self) -> None:
        """End what another program left on, and drop the keys that it did not read."""
        self.file.send(MODES_OFF.encode())
        if self._modes is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(self.fd, termios.TCIFLUSH)

    def size(self) -> tuple[int, int]:
        """Return columns and rows; 80 by 24 where the terminal does not say."""
        try:
            columns, rows = os.get_terminal_size(self.fd)
        except OSError:
            columns = rows = 0
        return columns or 80, rows or 24


def _reopen(fd: int) -> tuple[int, bool]:
    """Return a descriptor of the same terminal, and whether it is one of our own.

    One of our own never waits, without the shell that shares the others noticing. A terminal
    without a name here, as in some containers, is shared.
    """
    with contextlib.suppress(OSError):
        flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        own = os.open(os.ttyname(fd), flags)
        if os.fstat(own).st_rdev == os.fstat(fd).st_rdev and os.isatty(own):
            return own, True
        os.close(own)
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10), False
