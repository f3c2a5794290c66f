"""One schedule in one queue, under a clock that the test sets."""

from __future__ import annotations

from typing import Any

from tests.core.clocked import START, Bench
from tests.core.yard import LEASE

from qdeck import queue as verbs
from qdeck.keys import queue_keys
from qdeck.record import Body, Settle, encode_body
from qdeck.schedule import Step, Stored, Ticked, decode_stored, read_tick, store, tick

__all__ = ["SLOT", "Plant"]

SLOT = START + 60_000


class Plant:
    """One schedule in one queue: the next slot a minute from now, then one every minute."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.keys = queue_keys(prefix, "q")
        self.bench = Bench(client, self.keys)
        self.run = self.bench.run
        self.turns = 0
        assert self.put(None, next_slot=SLOT) == 1

    def put(self, revision: int | None, spec: str = "{}", **terms: Any) -> int:
        """Store the schedule."""
        answer: int = self.run(store(self.keys, "nightly", revision, spec, **terms))
        return answer

    def body(self, **terms: Any) -> bytes:
        """Return the body of a job."""
        return encode_body(Body("mail", "{}", **terms))

    def tick(
        self,
        *slots: int,
        due: int | None = SLOT,
        revision: int = 1,
        body: bytes | None = None,
        missed: tuple[int, int] = (0, 0),
        **terms: Any,
    ) -> Ticked:
        """Fire slots; the one after them is a minute later."""
        after = max((*slots, due or 0)) + 60_000
        jobs = [(slot, f"job-{slot}", body or self.body()) for slot in slots]
        step = Step(slots, after, *missed)
        return read_tick(self.run(tick(self.keys, "nightly", revision, due, step, jobs, **terms)))

    def pass_to(self, moment: int) -> None:
        """Let time pass up to a moment."""
        self.bench.advance(moment - self.bench.now)

    @property
    def stored(self) -> Stored:
        """The schedule as it stands."""
        return self.stored_as("nightly")

    def stored_as(self, name: str) -> Stored:
        """Return a schedule as it stands."""
        found = decode_stored(self.client.hget(self.keys.cron, name))
        assert found is not None
        return found

    def ids(self, name: str) -> list[str]:
        """Return the jobs of a set."""
        return [raw.decode() for raw in self.client.zrange(self.keys.tag + name, 0, -1)]

    def meta(self, name: str) -> str | None:
        """Return a field of the queue."""
        raw = self.client.hget(self.keys.meta, name)
        return None if raw is None else raw.decode()

    def totals(self) -> dict[str, int]:
        """Return the lifetime totals that concern schedules."""
        found = self.client.hgetall(self.keys.totals)
        return {k.decode(): int(v) for k, v in found.items() if k.startswith(b"cron:")}

    def marker(self) -> float | None:
        """Return the score of the wake marker."""
        score: float | None = self.client.zscore(self.keys.wake, "1")
        return score

    def settle(self, kind: str = "c") -> None:
        """Claim and settle everything."""
        self.turns += 2
        claim = verbs.work(self.keys, "ann", self.turns, 50, LEASE, [])
        jobs = verbs.read_turn(self.run(claim)).claimed
        done = [Settle(job.id, job.fence, kind, "mail", 1.0, "1", 0, "") for job in jobs]
        self.run(verbs.work(self.keys, "ann", self.turns + 1, 0, LEASE, done))
