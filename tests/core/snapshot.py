"""What a server keeps of one queue at one moment, checked by itself and against a model."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.core.model import FINISHED, Queue
from tests.core.modeltie import links_of

from qdeck.record import read_claim

__all__ = ["KEYS", "TASKS", "Snapshot"]

KEYS = ["k1", "k2"]
TASKS = ["hash", "mail", "report"]
STATES = {
    "pending": "ready",
    "scheduled": "scheduled",
    "retrying": "retrying",
    "running": "lease",
    "completed": "completed",
    "cancelled": "cancelled",
    "dead": "dead",
}


class Snapshot:
    """What the server keeps of a queue at one moment."""

    def __init__(self, client: Any, keys: Any, ids: list[str]) -> None:
        pipe = client.pipeline()
        for name in STATES.values():
            pipe.zrange(getattr(keys, name), 0, -1, withscores=True)
        for task in TASKS:
            pipe.zrange(keys.held(task), 0, -1, withscores=True)
        for name in ("tasks", "meta", "totals", "errors"):
            pipe.hgetall(getattr(keys, name))
        pipe.zscore(keys.wake, "1")
        pipe.mget([keys.unique("one"), keys.unique("two")])
        pipe.zrange(keys.logs, 0, -1)
        pipe.hgetall(keys.outbox)
        for key in KEYS:
            pipe.smembers(keys.key(key))
            pipe.zrange(keys.wait(key), 0, -1, withscores=True)
        for job_id in ids:
            pipe.hgetall(keys.run(job_id))
            pipe.exists(keys.job(job_id))
            pipe.exists(keys.log(job_id))
            pipe.smembers(keys.done(job_id))
        answers = iter(pipe.execute())
        self.sets = {state: self._pairs(next(answers)) for state in STATES}
        # The end of a lease may carry a low fence as its fraction.
        self.marks = {job_id: end % 1 * 8 for job_id, end in self.sets["running"].items()}
        self.sets["running"] = {k: end // 1 for k, end in self.sets["running"].items()}
        self.held = {task: self._pairs(next(answers)) for task in TASKS}
        self.tasks, self.meta, self.totals, self.groups = (self._map(next(answers)) for _ in "1234")
        self.marker = next(answers)
        self.unique = [value and value.decode() for value in next(answers)]
        self.logs = {job_id.decode() for job_id in next(answers)}
        self.outbox = self._map(next(answers))
        self.places, self.waits = {}, {}
        for key in KEYS:
            self.places[key] = {job_id.decode() for job_id in next(answers)}
            self.waits[key] = self._pairs(next(answers))
        self.runs, self.known, self.streams, self.done = {}, set(), set(), {}
        for job_id in ids:
            self.runs[job_id] = self._map(next(answers))
            self.known |= {job_id} if next(answers) else set()
            self.streams |= {job_id} if next(answers) else set()
            self.done[job_id] = {name.decode() for name in next(answers)}
        self.client, self.keys = client, keys

    @staticmethod
    def _pairs(found: list[tuple[bytes, float]]) -> dict[str, float]:
        return {job_id.decode(): score for job_id, score in found}

    @staticmethod
    def _map(found: dict[bytes, bytes]) -> dict[str, str]:
        return {k.decode(): v.decode("utf-8", "replace") for k, v in found.items()}

    def check_itself(self) -> None:
        """Check what must hold whatever happened."""
        places: Counter[str] = Counter()
        for found in (*self.sets.values(), *self.held.values()):
            places.update(found.keys())
        assert set(places) == self.known
        assert set(places.values()) <= {1}, "a job is in two sets"
        assert sum(map(len, self.held.values())) == int(self.meta.get("held", 0))
        for state, found in self.sets.items():
            for job_id in found:
                run = self.runs[job_id]
                assert run.get("state", state) == state
                assert state not in ("running", "completed") or run
        dead: dict[str, set[str]] = {}
        for job_id in self.sets["dead"]:
            dead.setdefault(self.runs[job_id]["fp"], set()).add(job_id)
        assert set(self.groups) == set(dead)
        for group, members in dead.items():
            found = self.client.zrange(self.keys.group(group), 0, -1)
            assert {job_id.decode() for job_id in found} == members
        sizes = sum(int(run.get("logb", 0)) for run in self.runs.values())
        assert sizes == int(self.meta.get("log_bytes", 0))
        finished = {job_id for state in FINISHED for job_id in self.sets[state]}
        assert self.logs <= finished
        assert self.streams & finished <= self.logs

    def check(self, model: Queue) -> None:
        """Compare with the model."""
        counts = Counter(job.key for job in model.jobs.values())
        fields = {k: int(v) for k, v in self.tasks.items() if not k.startswith("index:")}
        assert {k: v for k, v in fields.items() if v} == dict(counts)
        for state in STATES:
            assert self.sets[state] == {job.id: job.score for job in model.within(state)}, state
        for task in TASKS:
            held = {j.id: j.score for j in model.jobs.values() if j.held and j.body.task == task}
            assert self.held[task] == held
        for job in model.jobs.values():
            run = self.runs[job.id]
            claim = read_claim(run.get("run", "").encode())
            assert (claim.fence, claim.attempt) == (job.fence, job.attempt)
            assert self.marks.get(job.id, 0) in (0, job.fence)
            assert int(run.get("crashes", 0)) == job.crashes
            assert ("cancel" in run) == job.cancel
        assert self.unique == [model.unique.get(name, (None, 0))[0] for name in ("one", "two")]
        enqueued = {"enqueued": int(self.meta["enqueued"])} if "enqueued" in self.meta else {}
        assert {k: int(v) for k, v in self.totals.items()} | enqueued == dict(model.totals)
        assert self.marker == model.marker
        assert self.outbox == model.outbox
        for key in KEYS:
            assert self.places[key] == model.places.get(key, set())
            assert self.waits[key] == model.waits.get(key, {})
            running = [job for job in model.within("running") if links_of(job).key == key]
            assert len(running) <= max((links_of(job).most for job in running), default=0)
        for job_id, done in self.done.items():
            assert done == (model.jobs[job_id].done if job_id in model.jobs else set())
        if model.open and model.rate is None:
            assert self.marker is not None, "a job could start and nobody is told"
