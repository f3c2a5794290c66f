"""What a handler sees of its own run.

One class for all kinds of tasks: where the calls go (the worker's buffers, or a pipe out of a child
process) is the sink's business, so a handler is written once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Context", "Sink"]


class Sink(Protocol):
    """Takes what a run reports; never blocks and never raises."""

    def progress(self, percent: float | None, message: str | None) -> None:
        """Take the newest progress; older ones may be dropped."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked this run to stop."""
        ...


class Context:
    """The run that a handler is in. A first parameter of this type is injected.

    `attempt` counts from 1, `max_attempts` is `max_retries + 1`. `state` is what the deck's
    lifespan hook made (None in process tasks). `log` writes to the job's own log. `after` are the
    ids of the jobs that this one waited for, in their order.
    """

    __slots__ = (
        "_sink",
        "after",
        "attempt",
        "job_id",
        "log",
        "max_attempts",
        "metadata",
        "queue",
        "state",
        "task",
    )

    def __init__(
        self,
        *,
        job_id: str,
        task: str,
        queue: str,
        attempt: int,
        max_attempts: int,
        metadata: Mapping[str, Any],
        log: logging.Logger,
        sink: Sink,
        state: Any = None,
        after: tuple[str, ...] = (),
    ) -> None:
        self.job_id = job_id
        self.task = task
        self.queue = queue
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.metadata = metadata
        self.log = log
        self.state = state
        self.after = after
        self._sink = sink

    def progress(self, percent: float | None = None, message: str | None = None) -> None:
        """Report how far the run is: 0 to 100, and a line for the operator. Never waits.

        Values outside the range are clipped; only the newest is kept, sent at most a few times a
        second.
        """
        if percent is not None:
            value = float(percent)
            percent = 0.0 if not value > 0 else min(value, 100.0)
        self._sink.progress(percent, message)

    @property
    def cancelled(self) -> bool:
        """Whether a cancel was asked for; a thread task looks here, others are stopped."""
        return self._sink.cancelled
