"""What the model of a queue forgets of finished jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.core.model import Queue

__all__ = ["trim"]


def trim(queue: Queue, age: int, keep: int) -> int:
    """Return how many finished jobs went."""
    gone = 0
    for state in ("completed", "cancelled", "dead"):
        found = queue.within(state)
        for index, job in enumerate(found):
            over = index < len(found) - keep and job.score <= queue.now - 30_000
            if over or job.score <= queue.now - max(age, 30_000):
                del queue.jobs[job.id]
                gone += 1
    return gone
