"""A queue with very many jobs in every state, made fast, and what each script costs on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from tests.core.clocked import START, Bench
from tests.servers import settings_for

from qdeck import ledger, steps
from qdeck import queue as verbs
from qdeck.keys import QueueKeys, queue_keys
from qdeck.links import Links
from qdeck.record import Body, Settle, encode_body
from qdeck.schedule import Step, store, tick
from qdeck.scripts import Command

__all__ = ["Crowd"]

#: Fills one state from number ARGV[3] to ARGV[4]; made for this and not part of the engine.
_FILL: Final = """
local tag, kind, body = ARGV[1], ARGV[2], ARGV[5]
for i = tonumber(ARGV[3]), tonumber(ARGV[4]) do
  local id = string.format('%s-%020d', kind, i)
  redis.call('SET', tag .. 'j:' .. id, body)
  redis.call('ZADD', KEYS[1], tonumber(ARGV[6]) + i, id)
  if ARGV[7] ~= '' then
    local place = string.format('%.0f', 5 * 4398046511104 + i)
    redis.call('HSET', tag .. 'r:' .. id, 'state', ARGV[7], 'run',
      '1 1 1 15000 ' .. place .. ' mail ann', 'logn', 1, 'logb', 41)
    if ARGV[7] == 'dead' then
      redis.call('HSET', tag .. 'r:' .. id, 'fp', 'group')
      redis.call('ZADD', tag .. 'errors:group', i, id)
    end
  end
end
"""


class Crowd:
    """So many jobs in each state; `calls` yields the scripts at their most expensive."""

    def __init__(self, client: Any, prefix: str, count: int) -> None:
        self.client, self.count = client, count
        self.keys = queue_keys(prefix, "q")
        self.bench = Bench(client, self.keys)
        self.counter = 0
        record = msgspec.msgpack.encode([1, 1, Body("mail", '{"x": "' + "a" * 92 + '"}')])
        k = self.keys
        places = {
            "ready": (k.ready, 5 * 2**42, ""),
            "later": (k.scheduled, START - count // 2, ""),
            "again": (k.retrying, START - count // 2, "retrying"),
            "runs": (k.lease, START - count // 2, "running"),
            "done": (k.completed, 1, "completed"),
            "stop": (k.cancelled, 1, "cancelled"),
            "dead": (k.dead, 1, "dead"),
            "held": (k.held("paused"), 5 * 2**42, ""),
        }
        fill = client.register_script(_FILL)
        for kind, (key, base, state) in places.items():
            for start in range(1, count + 1, 2_000):
                end = min(start + 1_999, count)
                fill([key], [k.tag, kind, start, end, record, base, state])
        client.hset(k.meta, mapping={"held": count, "seq": count, "log_bytes": 41 * count})
        client.hset(k.errors, "group", msgspec.msgpack.encode([count, "mail", "E", "m", 1, 1, "x"]))

    def ids(self, kind: str, size: int) -> list[str]:
        """Return ids of a state from its middle."""
        return [f"{kind}-{self.count // 2 + n:020d}" for n in range(size)]

    def calls(self) -> Iterator[tuple[str, Command]]:
        """Yield each script at its bounds; time passes as it has to."""
        k = self.keys
        body = encode_body(Body("mail", "{}"))
        many = [part for n in range(500) for part in (f"new-{n:022d}", body)]
        yield "enqueue 500", verbs.enqueue(k, 10**9, many)
        yield "enqueue 1", verbs.enqueue(k, 10**9, ["one", body])
        yield from self.tied(k)
        yield "claim 200", self.work(200)
        error = ("ValueError", "bad", "trace " * 1000, "group")
        runs = self.ids("runs", 200)
        kinds = [
            Settle(i, 1, "cfsb"[n % 4], "mail", 1.0, "1" if n % 4 == 0 else 1000, 9, None, *error)
            for n, i in enumerate(runs)
        ]
        yield "settle 200", self.work(0, kinds)
        yield "beat 500", verbs.beat(k, 15.0, [(i, 1) for i in self.ids("runs", 900)[500:]])
        yield "tend", verbs.tend(k, 15.0, 3)
        for _ in range(4):
            self.bench.advance(5_000)
            self.bench.run(verbs.beat(k, 15.0, []))
        yield "tend and take back", verbs.tend(k, 15.0, 3)
        yield "pause a task", verbs.pause(k, True, "eve", "mail")
        yield "park", self.work(1)
        yield "resume a task", verbs.pause(k, False, "eve", "mail")
        yield "unpark and tend", verbs.tend(k, 15.0, 3)
        self.bench.run(store(k, "nightly", None, "{}", next_slot=START))
        slots = [(START + n, f"slot-{n}", body) for n in range(50)]
        step = Step(tuple(slot for slot, _, _ in slots), START + 10**9)
        yield "tick 50", tick(k, "nightly", 1, START, step, slots)
        yield "schedule", store(k, "nightly", 1, "{}", next_slot=START + 10**9)
        yield "limit", verbs.limit(k, 5, 1.0)
        for verb, kind in (("cancel", "ready"), ("run_now", "later"), ("retry", "dead")):
            yield f"{verb} 200", verbs.move(k, verb, "eve", self.ids(kind, 200))
        yield "delete 200", verbs.move(k, "delete", "eve", self.ids("done", 200))
        yield "freeze 500", steps.freeze(k, k.dead, "op", "delete", "eve", self.count // 3, 900)
        yield "start", steps.start(k, "op", "eve")
        yield "pace", steps.pace(k, "op")
        yield "advance", steps.advance(k, "delete", "eve", "op")
        self.bench.run(steps.abort(k, "op", "eve"))
        yield "undo a delete", steps.undo(k, "op", "eve")
        yield "freeze 500 dead", steps.freeze(k, k.dead, "back", "retry", "eve", 0, 900)
        yield "start at a pace", steps.start(k, "back", "eve", steps.Pace(stop_after=1000))
        yield "pace a rule", steps.pace(k, "back")
        yield "advance a rule", steps.advance(k, "retry", "eve", "back")
        yield "abort", steps.abort(k, "back", "eve")
        yield "undo", steps.undo(k, "back", "eve")
        yield "trim", verbs.trim(k, settings_for("redis://127.0.0.1", keep_completed=0))
        yield "fold", verbs.fold(k)
        yield "trim logs", verbs.trim(k, settings_for("redis://127.0.0.1", log_budget=0))
        lines = [20, 0, "line" * 10] * 100
        part = msgspec.msgpack.encode([self.ids("runs", 900)[600], 1, lines])
        yield "log 100 lines", verbs.append_logs(k, [part])
        act = ledger.Act("eve", "jobs")
        yield "depart 200", ledger.depart(k, "other", self.ids("later", 600)[400:], act)
        self.client.zadd(k.operation_ids("made"), dict.fromkeys(self.ids("ready", 400)[200:], 0))
        yield "retract a step", ledger.retract(k, "", "made", act)
        for state, key in (("completed", k.completed), ("dead", k.dead), ("pending", k.ready)):
            yield f"clear {state}", ledger.clear(k, key, state, f"copy-{state}", act)
        for state, key in (("completed", k.completed), ("dead", k.dead)):
            yield f"note and restore {state}", ledger.restore(k, key, f"copy-{state}", act)
            while self.bench.run(ledger.restore(k, key, f"copy-{state}", act))[1] > 0:
                pass
            yield f"clear {state} again", ledger.reclear(k, key, f"copy-{state}", act)
            yield f"restore {state}", ledger.restore(k, key, f"copy-{state}", act, keep=False)
        more = [part for n in range(500) for part in (f"more-{n:021d}", body)]
        self.bench.run(verbs.enqueue(k, 10**9, more))
        yield "restore a step", ledger.restore(k, k.ready, "copy-pending", act)
        self.client.zadd(k.cleared, {"copy-pending": 1})
        yield "sweep a step", ledger.sweep(k)

    def tied(self, k: QueueKeys) -> Iterator[tuple[str, Command]]:
        """Yield the scripts of keys and of jobs that wait for others, on as many as they take."""
        keyed = encode_body(Body("mail", "{}", 9, links=Links(key="k", most=1)))
        waiting = encode_body(Body("mail", "{}", 9, links=Links(after="q x", waits=1)))
        for kind, body in (("keyed", keyed), ("waits", waiting)):
            parts = [part for n in range(500) for part in (f"{kind}-{n:021d}", body)]
            self.bench.run(verbs.enqueue(k, 10**9, parts))
        yield "park 200", verbs.park(k)
        gone = {f"1 mail gone-{n}": 1 for n in range(900)}
        self.client.zadd(k.wait("k"), gone)
        yield "reclaim", verbs.reclaim(k, ["k", *(f"other-{n}" for n in range(99))], "mail")
        pairs = [(f"waits-{n:021d}", "q x") for n in range(verbs.BATCH)]
        yield "deliver 200", verbs.deliver(k, pairs)

    def work(self, want: int, settles: list[Settle] | None = None) -> Command:
        """Return a claim with the next counter."""
        self.counter += 1
        return verbs.work(self.keys, "bob", self.counter, want, 15.0, settles or [])

    def costs(self) -> dict[str, tuple[int, float]]:
        """Run every script; return how many commands each ran inside and its ms of server CPU."""
        found = {}
        for name, command in self.calls():
            self.client.config_resetstat()
            before = self._cpu()
            self.bench.run(command)
            spent = self._cpu() - before
            stats = self.client.info("commandstats")
            inner = sum(int(each["calls"]) for each in stats.values())
            found[name] = (inner, spent)
        return found

    def _cpu(self) -> float:
        cpu = self.client.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"]) * 1000
