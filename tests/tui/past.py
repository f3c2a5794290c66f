"""How a queue got where it is: the engine's own scripts under an earlier clock, with the real
results and errors of the tasks; and one completed job copied very often.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import redis
from tests.core.clocked import Bench

from qdeck import Deck
from qdeck import queue as verbs
from qdeck.outcome import Failed, encode_result, failed_from
from qdeck.producer import Batch, entry_of
from qdeck.queue import Claimed
from qdeck.record import Settle, decode_record
from qdeck.task import Call

__all__ = ["Past"]

#: What is copied, a thousand at a time: the keys of one job, under ids that differ in their last
#: ten characters, and its place among the completed.
_COPY: Final = """
local completed, id = KEYS[1], ARGV[1]
local from, to = tonumber(ARGV[2]), tonumber(ARGV[3])
local first, step = tonumber(ARGV[4]), tonumber(ARGV[5])
local values = {}
for n = 6, #ARGV do
  local kind = redis.call('TYPE', ARGV[n] .. id).ok
  values[n] = redis.call(kind == 'hash' and 'HGETALL' or 'GET', ARGV[n] .. id)
end
for number = from, to do
  local other = string.sub(id, 1, 16) .. string.format('%010d', number)
  for n, value in pairs(values) do
    if type(value) == 'table' then redis.call('HSET', ARGV[n] .. other, unpack(value))
    else redis.call('SET', ARGV[n] .. other, value) end
  end
  redis.call('ZADD', completed, first + step * number, other)
end
"""
_AT_ONCE: Final = 1000


class _Clock(Bench):
    """A clock that moves no time to live along: what is made here has none that matters."""

    def advance(self, ms: int) -> None:
        """Set the time, in one command."""
        self.now += ms
        clock: dict[Any, Any] = {"s": self.now // 1000, "u": self.now % 1000 * 1000}
        self.client.hset(self._clock, mapping=clock)


class Past:
    """One queue while its history is made; use as a context manager."""

    def __init__(self, client: redis.Redis, deck: Deck, queue: str) -> None:
        self._client, self._deck = client, deck
        self.keys = deck.keys(queue)
        self._bench = _Clock(client, self.keys)
        self._counter = itertools.count(1)
        self._hand = f"host-a:2210:{uuid.uuid4().hex[:4]}"
        self._loop = asyncio.new_event_loop()
        self._log = logging.getLogger("shop")
        self._log.disabled = True
        client.sadd(deck.shared.queues, queue)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.close()
        self._log.disabled = False
        self._client.delete(self.keys.tag + "clock")

    def at(self, ms: int) -> None:
        """Go to a time, in ms since the epoch."""
        self._bench.advance(ms - self._bench.now)

    def pause(self, actor: str) -> None:
        """Pause the queue."""
        self._bench.run(verbs.pause(self.keys, True, actor))

    def enqueue(self, calls: Sequence[Call[Any]]) -> None:
        """Enqueue calls, all of them here."""
        entries = [entry_of(call, self._deck.settings) for call in calls]
        entries = [msgspec.structs.replace(entry, queue=self.keys.queue) for entry in entries]
        for batch in Batch.split(entries, self._deck.keys, 0):
            self._bench.run(batch.command())

    def complete(self, calls: Sequence[Call[Any]], run_ms: float) -> None:
        """Enqueue calls before all others, and settle them as completed after so long a run."""
        urgent = [
            msgspec.structs.replace(call, options=msgspec.structs.replace(call.options, priority=9))
            for call in calls
        ]
        self.enqueue(urgent)
        for claimed in self._claims(len(calls)):
            self._work(
                0,
                [
                    Settle(each.id, each.fence, "c", decode_record(each.record).body.task, run_ms)
                    for each in claimed
                ],
            )

    def run(self, calls: Sequence[Call[Any]]) -> None:
        """Enqueue calls and run what is pending then, as many, by its own code."""
        self.enqueue(calls)
        self.work_off(len(calls))

    def work_off(self, count: int) -> None:
        """Run so many of what is pending now, by its own code."""
        for claimed in self._claims(count):
            self._work(0, [self._run(each) for each in claimed])

    def copy(self, count: int, span_ms: int) -> None:
        """Copy the only completed job so often, ended one after the other up to now."""
        ended: Any = self._client.zrange(self.keys.completed, 0, -1)
        (job_id,) = (raw.decode() for raw in ended)
        found: Any = self._client.scan_iter(f"*:{job_id}", count=10_000)
        heads = [key.decode().removesuffix(job_id) for key in found]
        counts: Any = self._client.hgetall(self.keys.tasks)
        (task,) = (name for name in counts if name.startswith(b"completed:"))
        copy = self._client.register_script(_COPY)
        step = span_ms // max(1, count)
        first = self._bench.now - step * count
        for start in range(0, count, _AT_ONCE):
            end = min(count, start + _AT_ONCE) - 1
            copy([self.keys.completed], [job_id, start, end, first, step, *heads])
        self._client.hincrby(self.keys.tasks, task, count)
        self._client.hincrby(self.keys.meta, "enqueued", count)
        self._client.hincrby(self.keys.totals, "completed", count)

    def _claims(self, count: int) -> list[list[Claimed]]:
        return [self._work(min(verbs.BATCH, count - at), []) for at in range(0, count, verbs.BATCH)]

    def _work(self, want: int, settles: list[Settle]) -> list[Claimed]:
        command = verbs.work(self.keys, self._hand, next(self._counter), want, 600.0, settles)
        return verbs.read_turn(self._bench.run(command)).claimed

    def _run(self, claimed: Claimed) -> Settle:
        body = decode_record(claimed.record).body
        spec = self._deck.registry.get(body.task)
        args, kwargs = spec.decode(body.payload.encode())
        try:
            value = self._loop.run_until_complete(spec.fn(*args, **kwargs))
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code is not spec.fn.__code__:
                trace = trace.tb_next
            failed = failed_from(spec.name, error.with_traceback(trace))
            return self._failed(claimed, failed)
        result = encode_result(spec.name, value)
        assert not isinstance(result, Failed)
        return Settle(claimed.id, claimed.fence, "c", spec.name, 300.0, result)

    def _failed(self, claimed: Claimed, failed: Failed) -> Settle:
        task = decode_record(claimed.record).body.task
        return Settle(
            claimed.id, claimed.fence, "f", task, 20.0, 0, 0, "no runs left", failed.type,
            failed.message, failed.traceback, failed.fingerprint,
        )  # fmt: skip
