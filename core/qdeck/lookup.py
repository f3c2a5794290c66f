"""Reading single jobs without scripts: where a job is, and everything that is kept of it.

A job is in exactly one set. Where a server cannot read all of its keys at one moment (a cluster),
a read that found it in no set or in two is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from qdeck.copies import REASON, Copy
from qdeck.job import State
from qdeck.keys import QueueKeys
from qdeck.record import Record, job_from, read_record

__all__ = ["Found", "read_found", "stage"]

_SETS: Final = (
    (State.RUNNING, "lease"),
    (State.PENDING, "ready"),
    (State.SCHEDULED, "scheduled"),
    (State.RETRYING, "retrying"),
    (State.COMPLETED, "completed"),
    (State.DEAD, "dead"),
    (State.CANCELLED, "cancelled"),
)
#: Commands that `stage` puts on a pipeline for each job.
WIDTH: Final = 4 + len(_SETS)


class Found(NamedTuple):
    """One job as read: `state` is None when it is in no set that was looked at."""

    id: str
    queue: str
    state: State | None
    score: float | None
    record: Record | None
    run: dict[bytes, bytes]
    error: bytes | None
    result: bytes | None
    raw: bytes | None

    @property
    def exists(self) -> bool:
        """Whether anything is kept of the job."""
        return self.raw is not None or bool(self.run) or self.state is not None

    def cleared(self, copy: Copy) -> Found:
        """Return what the job reads as while a copy of cleared jobs holds it."""
        run = {**self.run, b"reason": REASON.encode()}
        return self._replace(state=State.CANCELLED, score=float(copy.at), run=run)

    @property
    def silent(self) -> str:
        """The task of a job that does not say how often it is retried; empty where it does."""
        body = self.record.body if self.record else None
        return body.task if body is not None and body.max_retries < 0 else ""

    def job(self, default_retries: int) -> Any:
        """Return the job as a value."""
        return job_from(
            self.id,
            self.queue,
            self.state or State.PENDING,
            self.score,
            self.record,
            self.run,
            self.error,
            self.result,
            default_retries,
        )


def stage(pipe: Any, keys: QueueKeys, job_id: str) -> None:
    """Put the reads of one job on a pipeline (async or not): `WIDTH` commands."""
    pipe.get(keys.job(job_id))
    pipe.hgetall(keys.run(job_id))
    pipe.get(keys.error(job_id))
    pipe.get(keys.result(job_id))
    for _, name in _SETS:
        pipe.zscore(getattr(keys, name), job_id)


def read_found(keys: QueueKeys, job_id: str, answers: Sequence[Any]) -> Found:
    """Read the answers to `stage`. A parked job is told by having a record and no set."""
    raw, run, error, result = (
        None if isinstance(answer, Exception) else answer for answer in answers[:4]
    )
    state, score = None, None
    for (name, _), answer in zip(_SETS, answers[4:WIDTH], strict=True):
        if answer is not None and not isinstance(answer, Exception):
            state, score = name, float(answer)
            break
    return Found(job_id, keys.queue, state, score, read_record(raw), run or {}, error, result, raw)
