"""A plain Python model of one queue: what every script has to answer and to leave behind.

Owns the expected behaviour, written from the promises and not from the scripts. Knows no server;
time stands still until `advance`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.core.modeljob import ALLOWED, FINISHED, STEP, Draft, Job
from tests.core.modeltie import has_place, wake

from qdeck.links import WAITING
from qdeck.record import Body, Settle

__all__ = ["ALLOWED", "FINISHED", "Draft", "Job", "Queue"]


@dataclass
class Queue:
    """One queue as the scripts have to leave it."""

    now: int
    jobs: dict[str, Job] = field(default_factory=dict)
    unique: dict[str, tuple[str, int]] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)
    places: dict[str, set[str]] = field(default_factory=dict)
    waits: dict[str, dict[str, float]] = field(default_factory=dict)
    outbox: dict[str, str] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)
    last: dict[str, tuple[int, int, list[tuple[str, int]]]] = field(default_factory=dict)
    sequence: int = 0
    seen: int = 0
    reap_after: int = 0
    paused: bool = False
    paused_tasks: list[str] = field(default_factory=list)
    resuming: list[str] = field(default_factory=list)
    limit: int | None = None
    rate: float | None = None
    tokens: float | None = None
    tokens_at: int = 0
    marker: int | None = None

    # Reading

    def within(self, *states: str) -> list[Job]:
        """Return the jobs in these states that are not held, in the order of their sets."""
        found = [job for job in self.jobs.values() if job.state in states and not job.held]
        return sorted(found, key=lambda job: (job.score, job.id))

    @property
    def open(self) -> bool:
        """Whether a job could be started now."""
        if self.paused or not self.within("pending"):
            return False
        if self.limit is not None and len(self.within("running")) >= self.limit:
            return False
        return self.rate is None or self._tokens() >= 1

    def _tokens(self) -> float:
        assert self.rate is not None
        burst = max(self.rate, 1.0)
        if self.tokens is None:
            return burst
        return min(burst, self.tokens + max(self.now - self.tokens_at, 0) * self.rate / 1000)

    def _silent(self, lease: int) -> bool:
        return self.seen < self.now - lease / 2 or self.seen > self.now

    def next_ms(self, lease: int, after: int) -> int:
        """Return the ms until something is due; -1 if nothing is."""
        times: list[float] = [job.score for job in self.within("scheduled", "retrying")]
        running = self.within("running")
        if running:
            times += [max(running[0].score, after) + 1, self.now + 0.4 * lease]
        if self.resuming:
            times.append(self.now)
        if self.rate is not None and self.within("pending") and self._tokens() < 1:
            times.append(self.now + (1 - self._tokens()) * 1000 / self.rate)
        return min((max(math.ceil(time - self.now), 0) for time in times), default=-1)

    # Writing

    def next_score(self, job: Job) -> float:
        self.sequence += 1
        return (9 - job.body.priority) * STEP + self.sequence

    def mark(self, *, looked: bool, poke: bool = False) -> None:
        if looked:
            self.marker = 0 if self.open else None
        elif poke:
            self.marker = 1
        elif self.open:
            self.marker = self.marker or 0
        elif self.marker == 0:
            self.marker = None

    def _finish(self, job: Job, state: str) -> None:
        job.state, job.score, job.held = state, self.now, False
        digest = job.body.unique
        if self.unique.get(digest, ("", 0))[0] == job.id:
            until = job.created + job.body.unique_for
            if until > self.now:
                self.unique[digest] = (job.id, until)
            else:
                del self.unique[digest]
        if state in ("cancelled", "dead"):
            self.totals[state] += 1

    def _bury(self, job: Job, group: str) -> None:
        self._finish(job, "dead")
        job.group = group

    def advance(self, ms: int) -> None:
        """Let time pass: keys whose time to live is over go."""
        self.now += ms
        self.unique = {k: v for k, v in self.unique.items() if not 0 < v[1] <= self.now}
        self.last = {k: v for k, v in self.last.items() if v[0] + 60_000 > self.now}

    def enqueue(self, entries: Sequence[tuple[str, Body]], max_size: int) -> list[str] | None:
        """Return the word for each entry; None where the queue is full."""
        taken = dict(self.unique)
        words: list[str] = []
        fresh: list[tuple[str, Body, int]] = []
        for job_id, body in entries:
            if job_id in self.jobs or any(job_id == known for known, _, _ in fresh):
                words.append("=")
            elif body.unique and body.unique in taken:
                words.append(taken[body.unique][0])
            else:
                due = max(self.now + body.delay if body.delay else body.at, self.now)
                due = WAITING if body.links and body.links.waits else due
                words.append("s" if due > self.now else "p")
                fresh.append((job_id, body, due))
                if body.unique:
                    taken[body.unique] = (job_id, 0)
        unfinished = sum(job.state not in FINISHED for job in self.jobs.values())
        if not fresh:
            return words
        if max_size and unfinished + len(fresh) > max_size:
            return None
        first = min((job.score for job in self.within("scheduled")), default=math.inf)
        empty = not self.within("pending")
        sooner = False
        before = self.sequence
        for job_id, body, due in fresh:
            job = Job(job_id, body, self.now, due, "pending", due)
            if due > self.now:
                job.state = "scheduled"
                sooner = sooner or due < min(first, WAITING)
            else:
                job.score = self.next_score(job)
                job.held = body.task in self.paused_tasks
            self.jobs[job_id] = job
        self.sequence = before + len(fresh)
        self.unique = taken
        self.totals["enqueued"] += len(fresh)
        if self.rate is not None and empty and self.within("pending") and not self.paused:
            full = self.limit is not None and len(self.within("running")) >= self.limit
            sooner = sooner or (not full and self._tokens() < 1)
        if sooner or self.open:
            self.mark(looked=False, poke=sooner)
        return words

    def settle(self, worker: str, s: Settle) -> str:
        """Return the state that a settle leads to, or "stale"."""
        job = self.jobs.get(s.id)
        if job is not None and job.settled == s.fence and job.ran:
            return job.state
        if job is None or job.fence != s.fence or job.state != "running":
            self.totals["stale"] += 1
            return "stale"
        job.settled = s.fence
        delay = s.value if isinstance(s.value, int) else 0
        if s.kind != "u":
            job.unknown = None
        if s.kind in "sbu":
            job.attempt -= 1
        if s.kind == "f":
            self.totals["failed"] += 1
            self.totals[f"error:{s.task} {s.type}"] += 1
        if s.kind in "cp":
            self._finish(job, "completed")
            self.totals["completed"] += 1
            self.outbox |= {s.id: s.then} if s.then else {}
        elif job.cancel:
            self._finish(job, "cancelled")
        elif s.kind == "s":
            job.state, job.score = "retrying", self.now + delay
        elif s.kind == "b":
            job.state, job.score = "pending", job.rank
        elif s.kind == "u":
            since, times = job.unknown or (self.now, 0)
            if self.now - since >= delay:
                self._bury(job, s.fingerprint)
            else:
                job.state, job.score = "retrying", self.now + min(2**times, 60) * 1000
                job.unknown = (since, times + 1)
        else:
            if s.final is not None or job.attempt - (job.base or 0) > s.max_retries:
                self._bury(job, s.fingerprint)
            else:
                job.state, job.score = "retrying", self.now + delay
                self.totals["retried"] += 1
        return job.state

    def work(
        self, worker: str, counter: int, want: int, lease: int, settles: Sequence[Settle]
    ) -> tuple[list[str], list[tuple[str, int, int]], int, bool]:
        """Return the words of the settles, (id, fence, attempt) of the claims, `next_ms`, and
        whether jobs wait for a place of their key.
        """
        words = [self.settle(worker, s) for s in settles]
        running = len(self.within("running"))
        if running and self.reap_after <= self.now and self._silent(lease):
            self.reap_after = self.now + lease
        self.seen = self.now
        claimed: list[tuple[str, int, int]] = []
        before = self.last.get(worker)
        again = want > 0 and before is not None and before[1] >= counter
        if again and before is not None and before[1] == counter:
            for job_id, fence in before[2]:
                job = self.jobs.get(job_id)
                mine = job and job.fence == fence and job.owner == worker
                if job and mine and job.state == "running":
                    claimed.append((job_id, fence, job.attempt - (job.base or 0)))
        if again or self.paused:
            want = 0
        if self.limit is not None:
            want = min(want, self.limit - running)
        if self.rate is not None:
            self.tokens, self.tokens_at = self._tokens(), self.now
            want = min(want, math.floor(self.tokens))
        taken: list[tuple[str, int]] = []
        crowded = False
        for job in self.within("pending"):
            if len(taken) >= want:
                break
            if job.body.task in self.paused_tasks:
                job.held = True
            elif 0 < job.expires <= self.now and job.base is None and (not job.ran or job.unknown):
                self._finish(job, "cancelled")
            elif not has_place(self, job):
                crowded = True
            else:
                job.attempt, job.fence, job.ran = job.attempt + 1, job.fence + 1, True
                job.owner, job.lease, job.rank = worker, lease, job.score
                job.state = "running"
                job.score = self.now + lease
                taken.append((job.id, job.fence))
                claimed.append((job.id, job.fence, job.attempt - (job.base or 0)))
        if taken:
            self.last[worker] = (self.now, counter, taken)
        if self.tokens is not None and self.rate is not None:
            self.tokens -= len(taken)
        self.mark(looked=True)
        return words, claimed, self.next_ms(lease, self.reap_after), crowded

    def beat(self, lease: int, runs: Sequence[tuple[str, int]]) -> list[str]:
        """Return "1", "x" or "0" for each run."""
        words = []
        for job_id, fence in runs:
            job = self.jobs.get(job_id)
            if job is not None and job.fence == fence and job.state == "running":
                job.score = self.now + lease
                words.append("x" if job.cancel else "1")
            else:
                words.append("0")
        if self.within("running") and self.reap_after <= self.now and self._silent(lease):
            self.reap_after = self.now + lease
        self.seen = self.now
        return words

    def tend(self, lease: int, retries: int) -> tuple[int, int, list[str]]:
        """Return `next_ms`, how many were promoted and the ids that were taken back."""
        due = [job for job in self.within("scheduled", "retrying") if job.score <= self.now]
        for job in due:
            if job.state == "scheduled" and 0 < job.expires <= self.now:
                self._finish(job, "cancelled")
            else:
                job.state, job.score = "pending", self.next_score(job)
        running, lost = self.within("running"), []
        after = 0 if self.reap_after - self.now > lease else self.reap_after
        if running and self._silent(lease):
            if after <= self.now:
                after = self.now + lease
            self.reap_after = after
        elif running and self.now >= after:
            for job in running:
                if job.score > self.now + 2 * job.lease:
                    job.score = self.now + job.lease
            lost = [job for job in self.within("running") if job.score <= self.now]
            for job in lost:
                self._reap(job, retries)
        self.seen = self.now
        for task in self.resuming:
            for job in self.jobs.values():
                job.held = job.held and job.body.task != task
        self.resuming = []
        self.mark(looked=True)
        return self.next_ms(lease, after), len(due), [job.id for job in lost]

    def _reap(self, job: Job, retries: int) -> None:
        job.crashes += 1
        self.totals["crashed"] += 1
        self.totals[f"error:{job.body.task} WorkerLost"] += 1
        left = job.body.max_retries if job.body.max_retries >= 0 else retries
        if job.cancel:
            self._finish(job, "cancelled")
        elif job.crashes >= 3 or job.attempt - (job.base or 0) > left:
            self._bury(job, "lost")
        else:
            job.state, job.score = "pending", job.rank

    def move(self, verb: str, ids: Sequence[str]) -> list[tuple[str, str, str, str]]:
        """Return (id, state before, outcome, owner to tell) of each id."""
        answers, moved, entered = [], set(), False
        for job_id in ids:
            job = self.jobs.get(job_id)
            if job is None:
                answers.append((job_id, "", "refused", ""))
                continue
            before, outcome, owner = job.state, "refused", ""
            if job_id in moved:
                pass
            elif before not in ALLOWED[verb]:
                outcome = "finished" if verb == "cancel" else "refused"
            elif verb == "cancel" and before == "running":
                job.cancel, outcome, owner = True, "requested", job.owner
            elif verb == "cancel":
                self._finish(job, "cancelled")
                outcome = "cancelled"
            elif verb == "delete":
                outcome = "deleted"
                if self.unique.get(job.body.unique, ("", 0))[0] == job_id:
                    del self.unique[job.body.unique]
                del self.jobs[job_id]
            elif verb == "retry" and self.unique.get(job.body.unique, (job_id, 0))[0] != job_id:
                outcome = "unique"
            else:
                outcome, entered = "pending", True
                job.state, job.score = "pending", self.next_score(job)
                job.held = job.body.task in self.paused_tasks + self.resuming
                if verb == "retry":
                    if job.body.unique:
                        self.unique[job.body.unique] = (job_id, 0)
                    job.base, job.crashes, job.cancel = job.attempt, 0, False
                    job.group = job.unknown = None
            if outcome in ("pending", "cancelled"):
                moved.add(job_id)
            answers.append((job_id, before, outcome, owner))
        wake(self, entered)
        return answers

    def pause(self, on: bool, task: str) -> int:
        """Return 1 where that changed something."""
        was = task in self.paused_tasks if task else self.paused
        if on != was and not task:
            self.paused = on
        elif on != was:
            self.resuming = [name for name in self.resuming if name != task]
            if on:
                self.paused_tasks.append(task)
            else:
                self.paused_tasks.remove(task)
                self.resuming.append(task)
        self.mark(looked=False, poke=not on and on != was)
        return int(on != was)

    def set_limit(self, limit: int | None, rate: float | None) -> None:
        """Set how many may run and start a second."""
        self.limit, self.rate = limit, rate
        self.marker = 1

    def freeze(self, name: str, verb: str, actor: str, ids: Sequence[str]) -> int | None:
        """Return how many ids the draft holds; None where it is no draft any more."""
        return self.drafts.setdefault(name, Draft(verb, actor, [], 0)).add(ids)

    def start(self, name: str, actor: str) -> tuple[str, int, int, int, int] | None:
        """Return how far it is; None where it is gone or another's."""
        draft = self.drafts.get(name)
        return draft.begin(actor) if draft else None

    def step(self, name: str) -> tuple[str, int, int, int, int]:
        """Do one step of an operation."""
        draft = self.drafts.get(name)
        if draft is None:
            return "gone", 0, 0, 0, 0
        if draft.state == "running":
            answers = self.move(draft.verb, draft.ids)
            good = ("pending", "cancelled", "requested", "deleted")
            draft.done += len(answers)
            draft.ok += sum(outcome in good for _, _, outcome, _ in answers)
            draft.ids, draft.state = [], "done"
        return draft.answer
