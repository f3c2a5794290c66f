"""A queue whose jobs stand in one state, for tests that break it, fill it or only look at it."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.core.clocked import Bench
from tests.servers import settings_for

from qdeck import ledger, steps
from qdeck import queue as verbs
from qdeck.keys import QueueKeys, queue_keys
from qdeck.record import Body, Settle, encode_body
from qdeck.schedule import Note, Step, store, tick
from qdeck.scripts import Command

__all__ = ["ERROR", "FINE", "LAST", "LEASE", "SETS", "Yard", "commands", "dump"]

SETS = ["ready", "scheduled", "retrying", "lease", "completed", "cancelled", "dead"]
LEASE = 15.0
ERROR = ("ValueError", "bad", "trace", "group")
FINE, LAST = "A-fine", "Z-fine"


class Yard:
    """A queue with jobs in one state, some of which are to be broken."""

    def __init__(self, client: Any, prefix: str, ids: list[str]) -> None:
        self.client, self.ids = client, ids
        self.keys = queue_keys(prefix, "q")
        self.bench = Bench(client, self.keys)
        self.run = self.bench.run
        self.counter = 0

    def enqueue(self, *, delay: int = 0) -> Any:
        """Create the jobs, each with a unique key of its own."""
        entries: list[str | bytes] = []
        for job_id in self.ids:
            key = f"u-{job_id}"
            body = Body("mail", "{}", delay=delay, max_retries=1, unique=key, unique_for=1)
            entries += [job_id, encode_body(body)]
        return self.run(verbs.enqueue(self.keys, 0, entries))

    def work(self, want: int, settles: list[Settle] | None = None) -> list[str]:
        """Settle and claim as the one worker; return the ids claimed."""
        self.counter += 1
        command = verbs.work(self.keys, "ann", self.counter, want, LEASE, settles or [])
        return [job.id for job in verbs.read_turn(self.run(command)).claimed]

    def settle(self, kind: str, final: str | None = None) -> None:
        """Settle all jobs in one call."""
        values: dict[str, str | int] = {"c": "3", "f": 1000, "s": 1000, "u": 60_000}
        self.work(
            0,
            [
                Settle(job_id, 1, kind, "mail", 1.0, values.get(kind), 1, final, *ERROR)
                for job_id in self.ids
            ],
        )

    def wait(self, seconds: float) -> None:
        """Let time pass while somebody is seen."""
        while seconds > 0:
            self.bench.advance(5000)
            self.run(verbs.beat(self.keys, LEASE, []))
            seconds -= 5

    def log(self) -> None:
        """Write a line to each log."""
        parts = [msgspec.msgpack.encode([job_id, 1, [20, 0, "line"]]) for job_id in self.ids]
        self.run(verbs.append_logs(self.keys, parts))

    def move(self, verb: str) -> None:
        """Do an operator's verb to all jobs."""
        self.run(verbs.move(self.keys, verb, "eve", self.ids))

    def reach(self, state: str) -> None:
        """Bring new jobs to a state."""
        if state == "held":
            self.run(verbs.pause(self.keys, True, "eve", "mail"))
        self.enqueue(delay=1000 if state == "scheduled" else 0)
        if state == "scheduled":
            self.wait(5)
        if state in ("pending", "scheduled", "held"):
            return
        if state == "cancelled":
            self.move("cancel")
            return
        assert self.work(400) == self.ids
        self.log()
        if state == "ended":
            self.wait(20)
        elif state == "retrying":
            self.settle("f")
            self.wait(5)
        elif state == "completed":
            self.settle("c")
        elif state == "dead":
            self.settle("f", final="")

    def places(self) -> dict[str, list[str]]:
        """Return the sets that hold each job."""
        found: dict[str, list[str]] = {job_id: [] for job_id in self.ids}
        for name in (*SETS, "held:mail"):
            for job_id in self.client.zrange(self.keys.tag + name, 0, -1):
                found.setdefault(job_id.decode(), []).append(name)
        return found

    def replace(self, key: str) -> None:
        """Put a set, which no script expects, in the place of a key."""
        self.client.delete(key)
        self.client.sadd(key, "x")


def commands(keys: QueueKeys) -> dict[str, Command]:
    """Return one call of every script of a queue."""
    settle = Settle(FINE, 1, "f", "mail", 1.0, 1000, 1, None, *ERROR)
    told = Settle(LAST, 1, "c", "mail", then="q next")
    terms = settings_for("redis://127.0.0.1", keep_completed=0, keep_dead=0)
    part = msgspec.msgpack.encode([FINE, 1, [20, 0, "line"]])
    body = encode_body(Body("mail", "{}"))
    return {
        "enqueue": verbs.enqueue(keys, 9, ["new", encode_body(Body("mail", "{}"))], "eve"),
        "work": verbs.work(keys, "bob", 1, 3, LEASE, [settle, told]),
        "tend": verbs.tend(keys, LEASE, 1),
        "recover": verbs.recover(keys, LEASE, 1, "eve", "worker bob", [FINE]),
        "deliver": verbs.deliver(keys, [(FINE, "q other")]),
        "park": verbs.park(keys),
        "reclaim": verbs.reclaim(keys, ["one"], "mail"),
        "beat": verbs.beat(keys, LEASE, [(FINE, 1)]),
        "progress": verbs.progress(keys, [(FINE, 1, 5.0, "m")]),
        "log": verbs.append_logs(keys, [part]),
        "move": verbs.move(keys, "delete", "eve", [FINE, LAST]),
        "advance": steps.advance(keys, "delete", "eve", "op"),
        "freeze": steps.freeze(keys, keys.dead, "op2", "retry", "eve", 0, 900),
        "start": steps.start(keys, "op", "eve"),
        "pace": steps.pace(keys, "op"),
        "abort": steps.abort(keys, "op", "eve"),
        "undo": steps.undo(keys, "op", "eve"),
        "pause": verbs.pause(keys, True, "eve"),
        "limit": verbs.limit(keys, 1, 2.0),
        "trim": verbs.trim(keys, terms),
        "fold": verbs.fold(keys),
        "tick": tick(keys, "nightly", 1, 1, Step((1,), 2), [(1, "new", body)]),
        "schedule": store(keys, "nightly", None, "{}", next_slot=5, note=Note("eve", "add", "ok")),
        "clear": ledger.clear(keys, keys.ready, "pending", "copy", ledger.Act("eve")),
        "restore": ledger.restore(keys, keys.ready, "copy", ledger.Act("eve")),
        "reclear": ledger.reclear(keys, keys.ready, "copy", ledger.Act("eve")),
        "depart": ledger.depart(keys, "other", [FINE, LAST], ledger.Act("eve")),
        "arrive": ledger.arrive(keys, FINE, b"other 0"),
        "sweep": ledger.sweep(keys),
        "retract": ledger.retract(keys, FINE, "", ledger.Act("eve")),
        "edit": ledger.edit(keys, FINE, "", b"", "{}", ("", ""), ledger.Act("eve")),
    }


def dump(client: Any, keys: QueueKeys) -> dict[bytes, bytes]:
    """Return all that a queue keeps."""
    found = sorted(client.keys(keys.tag.replace("{", "[{]") + "*"))
    return dict(zip(found, [client.dump(key) for key in found], strict=True))
