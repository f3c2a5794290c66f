"""What handlers log and print, on its way to their jobs' logs.

A context variable says which run is speaking, so concurrent jobs do not mix. Lines wait in the
run's own bounded buffer until the worker stores them; nothing here blocks, raises or sends.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections import deque
from contextvars import ContextVar
from typing import Any, Final, Protocol, TextIO

import msgspec

__all__ = ["LINE_BYTES", "LogBuffer", "current_log", "install", "uninstall"]

#: A longer line is cut.
LINE_BYTES: Final = 8192
#: Lines that wait in a run's buffer at most; the oldest give way and are counted.
WAITING_LINES: Final = 2000
#: Bytes that wait in a run's buffer at most.
WAITING_BYTES: Final = 1024 * 1024

current_log: ContextVar[LogBuffer | None] = ContextVar("qdeck_log", default=None)

_pack = msgspec.msgpack.Encoder().encode


class Listener(Protocol):
    """Is told when a buffer has its first waiting line; from any thread."""

    def __call__(self, buffer: LogBuffer, /) -> object: ...


class LogBuffer:
    """The lines of one run that are not stored yet; `said` tells whether there ever was one."""

    __slots__ = (
        "_bytes",
        "_dropped",
        "_lines",
        "_listener",
        "_lock",
        "_partial",
        "attempt",
        "job_id",
        "owner",
        "said",
    )

    def __init__(self, job_id: str, attempt: int, listener: Listener, owner: object = None) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.owner = owner
        self.said = False
        self._listener = listener
        self._lines: deque[tuple[str, float, str]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._partial: dict[str, str] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether lines wait."""
        return bool(self._lines or self._partial)

    @property
    def waiting(self) -> int:
        """How many lines wait."""
        return len(self._lines)

    def add(self, level: str, text: str) -> None:
        """Take a message of one or several lines."""
        now = time.monotonic()
        if not text.isascii():
            # Lone surrogates, as undecodable file names hold them, cannot be stored.
            text = text.encode("utf-8", "replace").decode("utf-8")
        with self._lock:
            self.said = True
            first = not self._lines
            for line in text.splitlines() or [""]:
                if len(line) > LINE_BYTES // 4:
                    line = _cut(line)
                self._lines.append((level, now, line))
                self._bytes += len(line) + 40
            while len(self._lines) > WAITING_LINES or self._bytes > WAITING_BYTES:
                self._bytes -= len(self._lines.popleft()[2]) + 40
                self._dropped += 1
        if first:
            self._listener(self)

    def feed(self, level: str, text: str) -> None:
        """Take printed text; a line counts when it ends."""
        with self._lock:
            text = self._partial.pop(level, "") + text
            head, newline, tail = text.rpartition("\n")
            if tail:
                self._partial[level] = tail[-LINE_BYTES:]
        if newline:
            self.add(level, head)

    def take(self, most: int = 500) -> bytes | None:
        """Return up to `most` waiting lines as one part for the log script; None without any."""
        with self._lock:
            if not self._lines:
                return None
            now = time.monotonic()
            flat: list[Any] = []
            if self._dropped:
                flat += ("warning", 0, f"({self._dropped} older lines came too fast to be kept)")
                self._dropped = 0
            while self._lines and len(flat) < 3 * most:
                level, at, line = self._lines.popleft()
                self._bytes -= len(line) + 40
                flat += (level, int((now - at) * 1000), line)
        return _pack((self.job_id, self.attempt, flat))

    def finish(self) -> None:
        """Count unfinished printed lines as lines; the run has ended."""
        partial, self._partial = self._partial, {}
        for level, text in partial.items():
            self.add(level, text)


def _cut(line: str) -> str:
    raw = line.encode("utf-8", "replace")
    if len(raw) <= LINE_BYTES:
        return raw.decode("utf-8", "replace")
    return raw[: LINE_BYTES - 3].decode("utf-8", "ignore") + "…"


class _Handler(logging.Handler):
    """Sends the records of whoever speaks within a run to that run's buffer."""

    def emit(self, record: logging.LogRecord) -> None:
        buffer = current_log.get()
        if buffer is None:
            return
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
        except Exception as error:
            text = f"(a log call failed: {type(error).__name__}: {error})"
        buffer.add(record.levelname.lower(), text)


class _Below(logging.Filter):
    """Keeps handlers that stood before from seeing more than they did."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self._level


class _Bytes:
    """The binary side of a stream, for `sys.stdout.buffer.write`."""

    def __init__(self, level: str, stream: Any) -> None:
        self._level = level
        self._stream = stream

    def write(self, data: Any) -> int:
        raw = bytes(data)
        buffer = current_log.get()
        if buffer is not None:
            buffer.feed(self._level, raw.decode("utf-8", "replace"))
        written = self._stream.write(raw)
        return len(raw) if written is None else int(written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr`: passes text on, and to the run that printed it."""

    def __init__(self, level: str, stream: TextIO) -> None:
        self.level = level
        self.stream = stream

    def write(self, text: str) -> int:
        buffer = current_log.get()
        if buffer is not None:
            buffer.feed(self.level, text)
        try:
            return self.stream.write(text)
        except UnicodeEncodeError:
            encoding = self.stream.encoding or "ascii"
            return self.stream.write(text.encode(encoding, "replace").decode(encoding))
        except OSError:
            # A worker whose own output nobody reads any more fails no job that prints.
            if buffer is None:
                raise
            return len(text)

    def flush(self) -> None:
        self.stream.flush()

    @property
    def buffer(self) -> Any:
        return _Bytes(self.level, self.stream.buffer)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True


_lock = threading.Lock()
_users = 0
_handler = _Handler()
_root_level: int | None = None
_filters: list[tuple[logging.Handler, _Below]] = []


def install() -> None:
    """Begin to listen to `logging` and the standard streams; counted, so several may ask for it.

    INFO and above is heard even where the root logger would not pass it on; handlers that stood
    before see no more than they did.
    """
    global _users, _root_level
    with _lock:
        _users += 1
        if _users > 1:
            return
        root = logging.getLogger()
        if root.level == logging.NOTSET or root.level > logging.INFO:
            _root_level = root.level
            for handler in root.handlers:
                below = _Below(root.level)
                handler.addFilter(below)
                _filters.append((handler, below))
            root.setLevel(logging.INFO)
        logging.getLogger("qdeck.job").setLevel(logging.DEBUG)
        root.addHandler(_handler)
        sys.stdout = _Stream("out", sys.stdout)
        sys.stderr = _Stream("err", sys.stderr)


def uninstall() -> None:
    """End one `install`; the last one puts everything back."""
    global _users, _root_level
    with _lock:
        _users -= 1
        if _users > 0:
            return
        root = logging.getLogger()
        root.removeHandler(_handler)
        if _root_level is not None:
            root.setLevel(_root_level)
            _root_level = None
        while _filters:
            handler, below = _filters.pop()
            handler.removeFilter(below)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _Stream):
                setattr(sys, name, stream.stream)
