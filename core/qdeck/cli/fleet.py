"""Several worker processes under one parent, which starts again what dies.

Owns the processes and the way signals take to them; runs no job itself. Each child is in a session
of its own, so that Ctrl+C reaches it once, through the parent, and ends with the parent by its
lifeline, however the parent ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

import click

from qdeck.lifeline import VARIABLE, lifeline_for

__all__ = ["Fleet"]

#: Seconds between the death of a child and its next start; doubled while it dies young.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
#: Seconds of life after which a child no longer counts as one that dies young.
GROWN_UP: Final = 10.0


class _Place:
    """One of the fleet's processes, and when the next one may start in its place."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.pause = FIRST_PAUSE
        self.next_start: float | None = 0.0


class Fleet:
    """`count` processes of `python -m qdeck` with the given words; `run` returns their exit code.

    With `recycle` a child that ends by itself is started again as well.
    """

    def __init__(self, count: int, words: Sequence[str], *, recycle: bool) -> None:
        self._words = list(words)
        self._recycle = recycle
        self._places = [_Place() for _ in range(count)]
        self._stopping = False
        self._forward = 0
        self._woken = threading.Event()
        self._line = -1

    def run(self) -> int:
        """Run until all have ended; 0 when each ended by itself or was stopped."""
        watched, self._line = os.pipe()
        before = {number: signal.signal(number, self._signalled) for number in _SIGNALS}
        worst = 0
        try:
            while True:
                worst = max(worst, self._tend(watched))
                if all(p.process is None and p.next_start is None for p in self._places):
                    return worst
                self._woken.wait(0.2)
                self._woken.clear()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._line)
            os.close(watched)

    def _tend(self, watched: int) -> int:
        """Start what is due, note what has ended, pass signals on; returns the worst exit code."""
        worst = 0
        for place in self._places:
            worst = max(worst, self._note_end(place))
            if self._stopping:
                place.next_start = None
            due = place.next_start is not None and place.next_start <= time.monotonic()
            if place.process is None and due:
                self._start(place, watched)
        while self._forward:
            self._forward -= 1
            for place in self._places:
                if place.process is not None:
                    place.process.terminate()
        return worst

    def _start(self, place: _Place, watched: int) -> None:
        environ = {**os.environ, VARIABLE: lifeline_for(watched, leave=False)}
        place.process = subprocess.Popen(
            [sys.executable, "-m", "qdeck", *self._words],
            stdin=subprocess.DEVNULL,
            env=environ,
            pass_fds=(watched,),
            start_new_session=True,
        )
        place.started = time.monotonic()
        place.next_start = None

    def _note_end(self, place: _Place) -> int:
        """Return the exit code that counts for the fleet: of a child that nobody starts again."""
        if place.process is None:
            return 0
        code = place.process.poll()
        if code is None:
            return 0
        pid, place.process = place.process.pid, None
        if self._stopping:
            # One that the signal met before it could listen has ended as it was told to.
            return 0 if code == -signal.SIGTERM else abs(code)
        if code == 0 and not self._recycle:
            return 0
        lived = time.monotonic() - place.started
        place.pause = FIRST_PAUSE if lived > GROWN_UP else min(place.pause * 2, LONGEST_PAUSE)
        wait = 0.0 if code == 0 else place.pause
        place.next_start = time.monotonic() + wait
        if code:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            click.echo(f"qdeck: worker {pid} ended {how}; starting another", err=True)
        return 0

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._forward += 1
        self._woken.set()


_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
