"""The user's own editor: which program that is, and the private file that it is given.

It knows no terminal: whoever asks lends it one.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

__all__ = ["Fds", "edited", "program"]

Fds = tuple[int, int, int]

#: Bytes that are taken back at most, and seconds that an editor has to end by itself.
MOST = 1_048_576
GRACE = 1.0


def program(command: str) -> list[str]:
    """Return the words of an editor's command; raises OSError with a sentence if there is none."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise OSError(f"the editor {command!r} cannot be read: {error}") from None
    if not words:
        raise OSError("no editor is set: export VISUAL or EDITOR, then start the console again")
    if shutil.which(words[0]) is None:
        raise OSError(f"there is no editor {words[0]!r}: set VISUAL or EDITOR to one that is there")
    return words


async def edited(
    words: Sequence[str], text: str, suffix: str, lend: Callable[[], AbstractContextManager[Fds]]
) -> str:
    """Return a text after the user's editor was at it.

    The file is private and gone afterwards. Raises OSError with a sentence where nothing came back.
    """
    folder = tempfile.mkdtemp(prefix="qdeck-")
    path = Path(folder) / f"field{suffix}"
    try:
        _write(path, text)
        with lend() as fds:
            code = await _run([*words, str(path)], fds)
        if code:
            how = f"with code {code}" if code > 0 else f"by signal {-code}"
            raise OSError(f"{Path(words[0]).name} ended {how}; the field is as it was")
        return _read(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
        if len(data) > MOST:
            raise OSError("the file is longer than 1 MiB; the field is as it was")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise OSError("the file is gone; the field is as it was") from None
    except UnicodeDecodeError:
        raise OSError("the file is no UTF-8 text; the field is as it was") from None


async def _run(command: Sequence[str], fds: Fds) -> int:
    """Run an editor on a terminal, in the group that the shell gave it to, and return its code.

    Should the console end meanwhile, the editor is told that the terminal goes away.
    """
    process = _begin(command, fds)
    try:
        return await asyncio.to_thread(process.wait)
    except asyncio.CancelledError:
        with suppress(OSError):
            process.send_signal(signal.SIGHUP)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _begin(command: Sequence[str], fds: Fds) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = fds
    try:
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr)
    except OSError as error:
        raise OSError(f"{command[0]} did not start: {error.strerror}") from None
