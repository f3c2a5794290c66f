"""Whose turn it is in a process that the console shares with CPU-bound threads of a local worker.

A thread that wants the interpreter asks for it after the switch interval, and is one of several
that may get it. The interval is such that the console waits for a short turn only, but has time for
most of an answer in its own; and it gives no turn away between two steps of one answer.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
from time import monotonic

__all__ = ["ConsoleLoop", "Turns", "turns"]

# Seconds of a turn: measured, 0.5 ms is taken away ten times in one answer, 5 ms are long to wait.
TURN = 0.002
# Seconds that the console works at most without looking whether a key came.
LOOK = 0.01


class Turns:
    """Keeps turns short while anybody holds it; otherwise they are as Python makes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before = sys.getswitchinterval()

    @property
    def shared(self) -> bool:
        """Whether threads may compute beside the console."""
        return self._holders > 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(TURN)
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                sys.setswitchinterval(self._before)


turns = Turns()


class _Selector(selectors.DefaultSelector):
    """Looks for nothing between two steps of the loop while threads compute: a look gives the
    interpreter away.
    """

    _looked = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, waiting up to `timeout` seconds, without end for None."""
        if turns.shared:
            if timeout is not None and timeout <= 0 and monotonic() < self._looked + LOOK:
                return []
            found = super().select(timeout)
            self._looked = monotonic()
            return found
        return super().select(timeout)


class ConsoleLoop(asyncio.SelectorEventLoop):
    """The event loop of the console."""

    def __init__(self) -> None:
        super().__init__(_Selector())
