"""All scripts in random orders on a real server, step by step against a plain Python model."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.core import modeltie
from tests.core.clocked import START, Bench
from tests.core.model import ALLOWED, Job, Queue
from tests.core.modeltie import links_of
from tests.core.modeltrim import trim
from tests.core.snapshot import KEYS, TASKS, Snapshot
from tests.servers import Server, settings_for

from qdeck import queue as verbs
from qdeck import steps
from qdeck.errors import QueueFull, WrongState
from qdeck.keys import queue_keys
from qdeck.links import WAITING, Links
from qdeck.record import Body, Settle, encode_body

LEASE = 15_000
RETRIES = 1
NAMES = st.sampled_from(["q one", "q two", "other three"])
LINKS = st.one_of(
    st.none(),
    st.none(),
    st.builds(Links, key=st.sampled_from(KEYS), most=st.integers(1, 2)),
    st.builds(Links, then=NAMES, after=NAMES, waits=st.integers(0, 2)),
)
BODIES = st.builds(
    Body,
    task=st.sampled_from(TASKS),
    payload=st.just("{}"),
    priority=st.integers(0, 9) | st.just(4),
    delay=st.sampled_from([0, 0, 0, 1, 900, 30_000]),
    at=st.sampled_from([0, 0, 0, START + 10_000, 5]),
    expires_in=st.sampled_from([0, 0, 0, 1_000, 40_000]),
    max_retries=st.integers(-1, 3),
    unique=st.sampled_from(["", "", "", "one", "two"]),
    unique_for=st.sampled_from([0, 0, 20_000]),
    links=LINKS,
)
WORKERS = st.sampled_from(["ann", "bob", "cid"])
DELAYS = st.sampled_from([0, 1, 1_000, 20_000])
PICKS = st.lists(st.integers(0, 15), min_size=1, max_size=8)


class Machine(RuleBasedStateMachine):
    """Each rule does one verb on both and compares the answers; the invariants compare the rest."""

    server: Server
    count = 0

    def __init__(self) -> None:
        super().__init__()
        Machine.count += 1
        self.client = self.server.client()
        self.keys = queue_keys(f"m{Machine.count}", "q")
        self.bench = Bench(self.client, self.keys)
        self.model = Queue(START)
        self.ids: list[str] = []
        self.counters: Counter[str] = Counter()
        self.repeatable: tuple[Any, ...] | None = None
        self.entries: list[tuple[str, Body]] = []
        self.logged: set[str] = set()

    def teardown(self) -> None:
        self.client.flushall()
        self.client.close()

    def pick(self, picks: list[int]) -> list[str]:
        """Return ids, unknown and repeated ones among them."""
        return [self.ids[-n] if n < len(self.ids) else f"unknown-{n % 2}" for n in picks]

    @initialize(bodies=st.lists(BODIES, min_size=3, max_size=8))
    def begin(self, bodies: list[Body]) -> None:
        """Begin with some jobs."""
        self.add(bodies, 0)

    @rule(bodies=st.lists(BODIES, min_size=1, max_size=4), most=st.sampled_from([0, 0, 0, 4]))
    def add(self, bodies: list[Body], most: int) -> None:
        """Enqueue some jobs in one call."""
        fresh = [f"J{len(self.ids) + n:025d}" for n in range(len(bodies))]
        entries = list(zip(fresh, bodies, strict=True))
        if self.send(entries, most):
            self.ids += fresh
            self.entries = entries

    @rule(late=st.integers(0, 3), worker=WORKERS)
    def repeat(self, late: int, worker: str) -> None:
        """Repeat the last enqueue and claim, as after lost replies, or let a call arrive late."""
        if late:
            self.turn(worker, max(self.counters[worker] - late, 0), 3, [])
        self.send(self.entries, 0)
        if self.repeatable:
            self.turn(*self.repeatable)

    def send(self, entries: list[tuple[str, Body]], most: int) -> bool:
        """Enqueue on both; say whether there was room."""
        expected = self.model.enqueue(entries, most)
        flat = [part for job_id, body in entries for part in (job_id, encode_body(body))]
        command = verbs.enqueue(self.keys, most, flat)
        if expected is None:
            with pytest.raises(QueueFull):
                self.bench.run(command)
            return False
        answer = self.bench.run(command)
        assert [word.decode() for word in answer[1:]] == expected
        return True

    @rule(
        worker=WORKERS,
        want=st.integers(0, 4) | st.just(3),
        picks=PICKS | st.just([]),
        data=st.data(),
    )
    def work(self, worker: str, want: int, picks: list[int], data: st.DataObject) -> None:
        """Settle some of a worker's runs and some that it lost, and claim more."""
        settles = []
        mine = [job for job in self.model.within("running") if job.owner == worker]
        others = [job for job in self.model.jobs.values() if job.fence]
        for n in picks:
            pool = others if n % 5 == 1 else mine
            if pool:
                job = pool[n % len(pool)]
                fence = job.fence - (1 if n == 13 else 0)
                settles.append(data.draw(self.outcomes(job, fence)))
        self.counters[worker] += 1
        self.turn(worker, self.counters[worker], want, settles)

    @rule(worker=WORKERS, kind=st.sampled_from("cpffsbu"), want=st.integers(0, 4), data=st.data())
    def finish(self, worker: str, kind: str, want: int, data: st.DataObject) -> None:
        """End all runs of a worker alike and claim more."""
        mine = [job for job in self.model.within("running") if job.owner == worker]
        plain = [job for job in mine if self.plain(job)] if kind == "p" else mine
        settles = [data.draw(self.outcomes(job, job.fence, kind)) for job in plain]
        self.counters[worker] += 1
        self.turn(worker, self.counters[worker], want, settles)

    @rule(worker=WORKERS, delay=st.sampled_from([0, 1_000]))
    def fail(self, worker: str, delay: int) -> None:
        """Claim, fail what was claimed, wait until it is due again."""
        self.counters[worker] += 2
        self.turn(worker, self.counters[worker] - 1, 3, [])
        mine = [job for job in self.model.within("running") if job.owner == worker]
        error = ("KeyError", "gone", "trace", "fail")
        settles = [
            Settle(j.id, j.fence, "f", j.body.task, 2.0, delay, j.retries(RETRIES), None, *error)
            for j in mine
        ]
        self.turn(worker, self.counters[worker], 0, settles)
        self.wait(1_000)
        self.tend()

    def plain(self, job: Job) -> bool:
        """Return whether a worker may settle a run as that of a job which left nothing else."""
        spoke = self.client.hexists(self.keys.run(job.id), "logn")
        return job.fence == 1 and not job.body.unique and not spoke

    @staticmethod
    def outcomes(job: Job, fence: int, kinds: str = "cfsbu") -> st.SearchStrategy[Settle]:
        """Return every way in which a run may end that is of these kinds."""
        task = job.body.task
        error = ("ValueError", "bad", "trace")
        grace = st.sampled_from([0, 5_000, 600_000])

        def made(kind: str, value: Any, final: str | None = None) -> Settle:
            group = f"{kind}-{task}"
            retries = job.retries(RETRIES)
            then = links_of(job).then if kind in "cp" else ""
            return Settle(
                job.id, fence, kind, task, 1.5, value, retries, final, *error, group, then
            )

        ways = {
            "c": st.just(made("c", "3")),
            "p": st.just(made("p", "3")),
            "f": st.builds(made, st.just("f"), DELAYS, st.sampled_from([None, None, "discarded"])),
            "s": DELAYS.map(lambda delay: made("s", delay)),
            "b": st.just(made("b", None)),
            "u": grace.map(lambda ms: made("u", ms)),
        }
        return st.one_of(*(ways[kind] for kind in kinds))

    def turn(self, worker: str, counter: int, want: int, settles: list[Settle]) -> None:
        """Settle and claim on both."""
        alive = {job.id: job.fence for job in self.model.within("running")}
        expected = self.model.work(worker, counter, want, LEASE, settles)
        answer = self.bench.run(verbs.work(self.keys, worker, counter, want, LEASE / 1000, settles))
        turn = verbs.read_turn(answer)
        claimed = [(run.id, run.fence, run.attempt) for run in turn.claimed]
        assert (turn.settled, claimed, answer[1], turn.crowded) == expected
        settled = {s.id for s in settles}
        for job_id, fence, attempt in claimed:
            job = self.model.jobs[job_id]
            assert job_id not in alive or job_id in settled or alive[job_id] == fence
            assert attempt <= job.retries(RETRIES) + 1
        self.repeatable = (worker, counter, want, settles)

    @rule(worker=WORKERS, picks=PICKS, lines=st.integers(1, 30))
    def speak(self, worker: str, picks: list[int], lines: int) -> None:
        """Renew a worker's leases and some that it does not have; report; write logs."""
        known, ids = self.model.jobs, self.pick(picks)
        runs = [(job.id, job.fence) for job in self.model.within("running") if job.owner == worker]
        self.beat([*runs, *((job_id, 1) for job_id in ids)])
        reports = [(i, known[i].fence if i in known else 1, 5.0, "m") for i in ids]
        live = [i for i in ids if i in known and known[i].state == "running"]
        assert self.bench.run(verbs.progress(self.keys, reports)) == len(live)
        text = [20, 5, "line" * lines] * lines
        parts = [msgspec.msgpack.encode([job_id, 1, text]) for job_id in ids]
        stored = sum(lines for i in ids if self.client.hexists(self.keys.run(i), "run"))
        assert self.bench.run(verbs.append_logs(self.keys, parts)) == stored

    def beat(self, runs: list[tuple[str, int]]) -> None:
        """Renew leases on both."""
        expected = self.model.beat(LEASE, runs)
        answer = self.bench.run(verbs.beat(self.keys, LEASE / 1000, runs))
        assert [word.decode() for word in answer] == expected

    @rule(ms=st.sampled_from([1, 900, 4_000, 8_000, 15_000, 31_000, 61_000, 700_000]))
    def wait(self, ms: int) -> None:
        """Let time pass."""
        for name in [k for k, v in self.model.last.items() if v[0] + 60_000 <= self.model.now + ms]:
            self.client.delete(self.keys.last(name))
        self.model.advance(ms)
        self.bench.advance(ms)

    @rule()
    def park(self) -> None:
        """Give pending jobs the places of their keys, or hold them."""
        assert tuple(self.bench.run(verbs.park(self.keys))) == modeltie.park(self.model)

    @rule(keys=st.sampled_from([KEYS, ["k1"], ["k2"]]), task=st.sampled_from(["", *TASKS]))
    def reclaim(self, keys: list[str], task: str) -> None:
        """Give places that are free to jobs that are held for them."""
        answer = self.bench.run(verbs.reclaim(self.keys, keys, task))
        assert answer[1:] == [modeltie.reclaim(self.model, keys), len(keys)]

    @rule(picks=PICKS, names=st.lists(NAMES, min_size=8, max_size=8))
    def deliver(self, picks: list[int], names: list[str]) -> None:
        """Tell jobs that wait, and some that do not, that others have completed."""
        waiting = [job.id for job in self.model.jobs.values() if job.score == WAITING]
        ids = self.pick(picks[:2]) + [waiting[n % len(waiting)] for n in picks[2:] if waiting]
        pairs = list(zip(ids, names, strict=False))
        answer = self.bench.run(verbs.deliver(self.keys, pairs))
        assert answer == modeltie.deliver(self.model, pairs)

    @rule()
    def tend(self) -> None:
        """Promote, take back and take out of hold."""
        answer = self.bench.run(verbs.tend(self.keys, LEASE / 1000, RETRIES))
        next_ms, promoted, lost = self.model.tend(LEASE, RETRIES)
        assert (answer[0], answer[1]) == (next_ms, promoted)
        assert sorted(job_id.decode() for job_id in answer[3:]) == sorted(lost)

    @rule()
    def lose_leases(self) -> None:
        """Let every lease end while the server is seen, and tend."""
        for ms in (5_000, 5_000, 5_000, 1):
            self.wait(ms)
            self.beat([])
        self.tend()

    @rule(verb=st.sampled_from(["cancel", "run_now", "retry", "delete"]), picks=PICKS)
    def move(self, verb: str, picks: list[int]) -> None:
        """Do an operator's verb to some jobs."""
        fitting = [job.id for job in self.model.jobs.values() if job.state in ALLOWED[verb]]
        ids = self.pick(picks[:2])
        ids += [fitting[n % len(fitting)] for n in picks[2:] if fitting]
        answer = verbs.read_moved(self.bench.run(verbs.move(self.keys, verb, "eve", ids)))
        found = [(moved.id, moved.state, moved.outcome, moved.owner) for moved in answer]
        assert found == self.model.move(verb, ids)

    @rule(on=st.sampled_from([True, False, False]), task=st.sampled_from(["", *TASKS]))
    def pause(self, on: bool, task: str) -> None:
        """Pause or resume the queue or a task."""
        answer = self.bench.run(verbs.pause(self.keys, on, "eve", task))
        assert answer[0] == self.model.pause(on, task)

    @rule(most=st.sampled_from([None, None, 2]), rate=st.sampled_from([None, None, None, 2.5]))
    def limit(self, most: int | None, rate: float | None) -> None:
        """Set the limits."""
        self.model.set_limit(most, rate)
        self.bench.run(verbs.limit(self.keys, most, rate))

    @rule(
        name=st.sampled_from(["op1", "op2"]),
        verb=st.sampled_from(["retry", "delete"]),
        actor=st.sampled_from(["eve", "eve", "max"]),
        turns=st.integers(1, 3),
    )
    def bulk(self, name: str, verb: str, actor: str, turns: int) -> None:
        """Draft an operation on everything dead, start it, do a step of it."""
        dead = [job.id for job in self.model.within("dead")]
        total = self.model.freeze(name, verb, "eve", dead)
        command = steps.freeze(self.keys, self.keys.dead, name, verb, "eve", 0, 900)
        if total is None:
            with pytest.raises(WrongState):
                self.bench.run(command)
        else:
            assert self.bench.run(command) == [total, len(dead), self.bench.now + 900_000]
        begun = self.model.start(name, actor) if turns > 1 else None
        command = steps.start(self.keys, name, actor)
        if begun is not None:
            assert self.step_of(self.bench.run(command)) == begun
        elif turns > 1:
            with pytest.raises(WrongState):
                self.bench.run(command)
        if turns > 2:
            stored = self.model.drafts[name].verb
            answer = self.bench.run(steps.advance(self.keys, stored, "eve", name))
            assert self.step_of(answer) == self.model.step(name)

    @staticmethod
    def step_of(answer: list[Any]) -> tuple[str, int, int, int, int]:
        """Return a step as the model says it."""
        step = steps.read_step(answer)
        return step.state, step.total, step.done, step.ok, step.skipped

    @rule(keep=st.integers(0, 5), age=st.sampled_from([0, 40, 86_400]))
    def trim(self, keep: int, age: int) -> None:
        """Delete finished jobs beyond their retention."""
        terms = settings_for(
            "redis://127.0.0.1",
            keep_completed=age,
            keep_dead=age,
            keep_completed_max=keep,
            keep_dead_max=keep,
            log_budget=2_000,
        )
        trimmed, _ = self.bench.run(verbs.trim(self.keys, terms))
        assert trimmed == trim(self.model, age * 1000, keep)

    @invariant()
    def the_server_is_as_the_model(self) -> None:
        """Compare everything that is kept."""
        seen = Snapshot(self.client, self.keys, self.ids)
        seen.check_itself()
        seen.check(self.model)


def test_the_scripts_do_what_the_model_does_in_any_order() -> None:
    terms = settings(
        max_examples=int(os.environ.get("QDECK_EXAMPLES", "150")),
        stateful_step_count=int(os.environ.get("QDECK_STEPS", "50")),
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    with Server(unix=True) as own:
        Machine.server = own
        run_state_machine_as_test(Machine, settings=terms)
