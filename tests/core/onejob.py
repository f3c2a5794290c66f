"""Single steps with the one job of a yard, for tests that read like a story."""

from __future__ import annotations

from typing import Any

from tests.core.yard import ERROR, FINE, LEASE, Yard

from qdeck import queue as verbs
from qdeck.record import Body, Settle, encode_body, read_record

__all__ = ["end", "enqueue", "field", "lose", "marker", "place", "tend", "work"]


def enqueue(yard: Yard, job_id: str = FINE, max_size: int = 0, **terms: Any) -> bytes:
    """Enqueue one job; return the word of the answer."""
    body = encode_body(Body("mail", "{}", **terms))
    word: bytes = yard.run(verbs.enqueue(yard.keys, max_size, [job_id, body]))[1]
    return word


def work(
    yard: Yard, want: int = 0, settles: list[Settle] | None = None, worker: str = "ann"
) -> verbs.Turn:
    """Settle and claim."""
    yard.counter += 1
    command = verbs.work(yard.keys, worker, yard.counter, want, LEASE, settles or [])
    return verbs.read_turn(yard.run(command))


def end(yard: Yard, fence: int, kind: str = "f", value: Any = 0) -> str:
    """Settle the one job as a worker does that runs it once more by default; return the state it
    led to.
    """
    record = read_record(yard.client.get(yard.keys.job(FINE)))
    retries = record.body.max_retries if record and record.body.max_retries >= 0 else 1
    settle = Settle(FINE, fence, kind, "mail", 1.0, value, retries, None, *ERROR)
    return work(yard, 0, [settle]).settled[0]


def tend(yard: Yard) -> list[str]:
    """Look after the queue; return the ids that were taken back."""
    return verbs.read_tend(yard.run(verbs.tend(yard.keys, LEASE, 1)))[2]


def marker(yard: Yard) -> float | None:
    """Return the score of the wake marker; None where there is none."""
    score: float | None = yard.client.zscore(yard.keys.wake, "1")
    return score


def field(yard: Yard, name: str) -> str | None:
    """Return a field of the job's run."""
    raw = yard.client.hget(yard.keys.run(FINE), name)
    return None if raw is None else raw.decode()


def place(yard: Yard) -> str:
    """Return the one set that holds the job."""
    (found,) = yard.places()[FINE]
    return found


def lose(yard: Yard) -> list[str]:
    """Let the lease end while others are seen, and look after the queue."""
    yard.wait(20)
    return tend(yard)
