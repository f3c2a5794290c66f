"""How much of the processors this process and its children took lately."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Processor", "Spent", "spent"]

#: Readings that are looked back over, and seconds that must lie between the first and the last.
_READINGS: Final = 4
_LEAST: Final = 1.0


class Spent(NamedTuple):
    """Processor seconds that this process took, and each of its living children by process id."""

    own: float
    children: dict[int, float]


class Processor:
    """The share of one processor over the last few readings; thread-safe.

    What a child took is added up between readings, and not when it ends: that would show all of its
    life at once.
    """

    def __init__(
        self,
        read: Callable[[], Spent] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read or spent
        self._clock = clock
        self._lock = threading.Lock()
        self._last = self._read()
        self._total = 0.0
        self._seen = deque([(clock(), 0.0)], maxlen=_READINGS)

    def share(self) -> float | None:
        """Read again; return processor seconds a second (1.0 is one processor all the time), None
        while less than a second was looked at.
        """
        with self._lock:
            now, at = self._read(), self._clock()
            before, self._last = self._last, now
            self._total += max(0.0, now.own - before.own)
            for pid, seconds in now.children.items():
                self._total += max(0.0, seconds - before.children.get(pid, 0.0))
            self._seen.append((at, self._total))
            (first, then), (last, total) = self._seen[0], self._seen[-1]
            return (total - then) / (last - first) if last - first >= _LEAST else None


def spent() -> Spent:
    """Return what was taken until now. Children in a session of their own (servers, other workers)
    are not counted, and none where there is no /proc.
    """
    return Spent(time.process_time(), _children())


def _children() -> dict[int, float]:
    found: dict[int, float] = {}
    with contextlib.suppress(OSError):
        session, ticks = os.getsid(0), os.sysconf("SC_CLK_TCK")
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                for pid in (thread / "children").read_text().split():
                    took = _took(pid, session)
                    if took is not None:
                        found[int(pid)] = took / ticks
    return found


def _took(pid: str, session: int) -> int | None:
    """Return the clock ticks of a process of a session, None for another's or one that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may hold anything; the state follows it.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if int(fields[3]) == session else None
