"""How many jobs a minute each worker settles, from what it said it had done a while ago."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from qdeck.admin import WorkerRow

__all__ = ["Pace"]

#: Seconds that are looked back, and that must have passed before a pace is told.
BACK, LEAST = 60.0, 5.0


class Pace:
    """Samples of the counters of workers, over the last minute."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[datetime, int]]] = {}

    def tell(self, workers: Sequence[WorkerRow], now: datetime) -> None:
        """Take the counters of now; who is not there any more is forgotten."""
        known, self._seen = self._seen, {}
        for worker in workers:
            if worker.done is None:
                continue
            samples = known.get(worker.id, deque())
            if samples and worker.done < samples[-1][1]:
                samples.clear()
            if not samples or (now - samples[-1][0]).total_seconds() >= 1.0:
                samples.append((now, worker.done))
            while len(samples) > 2 and (now - samples[1][0]).total_seconds() >= BACK:
                samples.popleft()
            self._seen[worker.id] = samples

    def of(self, worker: WorkerRow) -> float | None:
        """Return jobs a minute; None before it can be told."""
        samples = self._seen.get(worker.id)
        if not samples:
            return None
        (first, before), (last, after) = samples[0], samples[-1]
        seconds = (last - first).total_seconds()
        return (after - before) * 60 / seconds if seconds >= LEAST else None
