"""What programs print, as numbered lines in a ring: written by threads, read by the console.

It never interprets a line: escape sequences in it are the reader's to remove.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from qdeck_tui.local import OutputLine

__all__ = ["OutputLog", "pump"]

KEPT = 5_000
LONGEST = 8_192
IDLE = 0.3


class OutputLog:
    """The last lines of one source; older ones are dropped, and their numbers never come again.

    Files may be told all of them as well.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._lines: deque[OutputLine] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self._count = 0
        self._files: dict[str, list[int]] = {}
        # A file that is slow must not hold up whoever reads.
        self._writing = threading.Lock()

    def add(self, lines: Sequence[str]) -> None:
        """Append lines; longer ones than 8 KiB are cut, but in files."""
        with self._lock:
            for text in lines:
                self._count += 1
                self._lines.append(OutputLine(self._count, text[:LONGEST]))
        if self._files:
            self._write("".join(f"{text}\n" for text in lines).encode("utf-8", "replace"))

    def copy_to(self, path: str) -> None:
        """Append every line from now on to a file, until `leave_file` was called as often; raises
        OSError when it cannot be opened.
        """
        with self._writing:
            if path not in self._files:
                # Without a wait, since a pipe that nobody reads would keep us here for good.
                how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
                self._files[path] = [os.open(Path(path).expanduser(), how, 0o666), 0]
            self._files[path][1] += 1

    def leave_file(self, path: str) -> None:
        """Take back one `copy_to`; a path that is not written to is none."""
        with self._writing:
            known = self._files.get(path)
            if known is not None:
                known[1] -= 1
                if not known[1]:
                    os.close(self._files.pop(path)[0])

    def _write(self, data: bytes) -> None:
        failed = []
        with self._writing:
            for path, (fd, _) in list(self._files.items()):
                left = memoryview(data)
                try:
                    while left:
                        left = left[os.write(fd, left) :]
                except OSError as error:
                    os.close(self._files.pop(path)[0])
                    failed.append(f"log to {path} ends here: {error.strerror}")
        if failed:
            self.add(failed)

    def after(self, number: int = 0) -> tuple[OutputLine, ...]:
        """Return the lines kept whose number is larger."""
        with self._lock:
            missing = self._count - number
            if missing <= 0:
                return ()
            if missing >= len(self._lines):
                return tuple(self._lines)
            return tuple(self._lines[index] for index in range(-missing, 0))


def pump(fd: int, write: Callable[[Sequence[str]], None]) -> None:
    """Read lines from a pipe until its end, hand them on, and close it; a line without an end is
    handed on after 0.3 s of silence."""
    rest = b""
    try:
        while True:
            if rest and not select.select([fd], [], [], IDLE)[0]:
                write([_text(rest)])
                rest = b""
            data = os.read(fd, 65_536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LONGEST:
                lines.append(rest)
                rest = b""
            if lines:
                write([_text(line) for line in lines])
        if rest:
            write([_text(rest)])
    finally:
        os.close(fd)


def _text(line: bytes) -> str:
    """Return a line as text; of one that was written over with carriage returns the last state."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
