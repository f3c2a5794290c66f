"""Keeps what jobs, operators and servers wrote from commanding the terminal that shows it.

Only a terminal is guarded: what goes to a file or a pipe stays as it is, byte for byte. What the
locale has no character for is written as an escape, wherever it goes.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from typing import TextIO

__all__ = ["Visible", "guard"]

#: Words that print what programs of the user print, colours included.
OPEN = ("worker", "queue:work")
#: Control characters but newline and tab, marks without width, and marks that turn the direction.
_COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


class Visible(io.TextIOWrapper):
    """A text stream to a terminal that shows `?` for each character that would command it."""

    def write(self, text: str) -> int:
        """Write a text without commands; return the number of its characters."""
        return super().write(_COMMANDS.sub("?", text))


def guard(words: Sequence[str]) -> None:
    """Let stdout and stderr take any text, and no command from it where they are terminals."""
    if not set(OPEN).intersection(words[:1]):
        sys.stdout = _guarded(sys.stdout)
        sys.stderr = _guarded(sys.stderr)


def _guarded(stream: TextIO) -> TextIO:
    """Return a stream, or what guards the terminal that it writes to."""
    # A program that was started without the stream has None in its place.
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
    if not stream.isatty():
        return stream
    stream.flush()
    return Visible(
        stream.buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )
