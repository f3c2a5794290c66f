"""Why jobs of a queue do not run, judged from what was read: causes in words, sentences and next
steps.

Pure: `Scene` is what was read, of one moment. What is not known causes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from qdeck.admin import Cause, CauseWord, JobRow, QueueRow, WorkerRow
from qdeck.overview import Facts
from qdeck.phrase import jobs, since_when, some, span
from qdeck.stats import NOTHING
from qdeck.verdict import failing

__all__ = ["Scene", "of_queue", "of_server", "of_service", "of_slots", "of_task", "worker_name"]

#: What is said first when there are several causes.
RANK: Final[tuple[CauseWord, ...]] = (
    "waiting", "not due", "server", "paused", "held", "no worker", "unknown task", "key limit",
    "limit", "rate", "failing", "slow", "busy", "ahead", "moving", "running", "finished", "empty",
    "?",
)  # fmt: skip
#: A run is slow when it takes so many times its usual p95 and longer than so many seconds, or so
#: many seconds where nothing usual is known.
_SLOW: Final = 3.0
_LEAST_S: Final = 1.0
_UNKNOWN_S: Final = 60.0
#: Share of a task's runs that fails from which this is why a queue does not drain.
_FAILING: Final = 0.5


@dataclass(frozen=True, slots=True)
class Scene:
    """One queue and what surrounds it. `info` are the fields of INFO, `known` the tasks by worker
    (missing where a worker does not say), `next_tasks` those of the jobs that are next, `running`
    the runs of the queues that its workers serve; `tokens` are starts that the rate allows now.
    """

    now: datetime
    row: QueueRow
    facts: Facts
    info: Mapping[str, str] = field(default_factory=dict)
    workers: Sequence[WorkerRow] = ()
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    next_tasks: Sequence[str] = ()
    running: Sequence[JobRow] = ()
    tokens: float | None = None

    @property
    def waiting(self) -> int:
        """How many jobs could start if nothing kept them: pending and not held."""
        return max(0, (self.row.pending or 0) - (self.row.held or 0))

    @property
    def serving(self) -> list[WorkerRow]:
        """The workers that claim from this queue now."""
        return [each for each in self.named if each.state == "running"]

    @property
    def named(self) -> list[WorkerRow]:
        """The workers that serve this queue and are alive."""
        return [w for w in self.workers if w.state != "lost" and self.row.name in w.queues]


def of_queue(scene: Scene) -> tuple[Cause, ...]:
    """Return why the next job of a queue is not running, the most important cause first."""
    row = scene.row
    causes = [*of_server(scene.info), *_of_lost(scene)]
    if row.pending:
        causes += [*_of_pause(scene), *_of_held(scene)]
        if scene.waiting:
            for task in dict.fromkeys(scene.next_tasks):
                causes += of_task(scene, task)
            causes += [*of_service(scene), *_of_limit(scene), *_of_failures(scene)]
            causes += of_slots(scene)
    elif row.scheduled or row.retrying:
        causes += [*_of_failures(scene), *_of_later(scene)]
    return ordered(causes) or (_at_rest(scene),)


def ordered(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Return causes without repeats, the most important first."""
    return tuple(sorted(dict.fromkeys(causes), key=lambda cause: RANK.index(cause.word)))


def of_server(info: Mapping[str, str]) -> Iterable[Cause]:
    """Yield what is wrong with the server, from the fields of INFO."""
    if info.get("loading") == "1":
        yield Cause("server", "the server is loading its data from disk", "wait until it has")
    if info.get("role") == "slave":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        if info.get("master_link_status") == "up":
            yield Cause(
                "server",
                f"this server is a replica of {primary} and refuses writes",
                "connect to the primary, or by redis+sentinel:// or redis+cluster://",
            )
        else:
            yield Cause(
                "server",
                f"this server is a replica that has lost its primary {primary}: a fail-over is "
                "under way or due, and writes are refused",
                "look at sentinel or the cluster, or make it a primary (REPLICAOF NO ONE)",
            )
    used, limit = _int(info.get("used_memory")), _int(info.get("maxmemory"))
    if limit and used >= 0.98 * limit:
        yield Cause(
            "server",
            f"the server's memory is full ({used / limit:.0%} of maxmemory): new jobs are refused",
            "raise maxmemory, or delete finished jobs",
        )
    for name, what in (
        ("rdb_last_bgsave_status", "the last snapshot to disk failed"),
        ("aof_last_write_status", "the last write to the append-only file failed"),
    ):
        if info.get(name, "ok") != "ok":
            yield Cause(
                "server",
                f"{what}: the server may refuse writes",
                "look at the server's disk and its log",
            )


def of_service(scene: Scene) -> Iterable[Cause]:
    """Yield that nobody claims from the queue, and why."""
    name = scene.row.name
    alive = [worker for worker in scene.workers if worker.state != "lost"]
    start = f"start one: qdeck worker APP -q {name}"
    if not alive:
        yield Cause("no worker", f"no worker runs; {jobs(scene.waiting)} pending in {name}", start)
    elif not scene.named:
        served = some(sorted({queue for worker in alive for queue in worker.queues}))
        yield Cause(
            "no worker", f"no worker serves {name}; those that run serve {served or 'none'}", start
        )
    elif not scene.serving:
        idle = some([f"{worker_name(w)} is {w.state}" for w in scene.named])
        stuck = all(worker.state == "stuck" for worker in scene.named)
        yield Cause(
            "no worker",
            f"no worker that serves {name} claims: {idle}",
            "look at what blocks its event loop (a stack dump), or stop it"
            if stuck
            else "resume it, or start another one",
        )


def _of_lost(scene: Scene) -> Iterable[Cause]:
    """Yield that runs were lost with their workers and that nobody is there to run them again."""
    if scene.named:
        return
    name, alive = scene.row.name, {each.id for each in scene.workers if each.state != "lost"}
    lost = [r for r in scene.running if r.ref.queue == name and r.worker not in alive]
    if lost:
        yield Cause(
            "no worker",
            f"{jobs(len(lost))} of {name} ran on workers that were lost, and no worker serves "
            f"{name} to run {'it' if len(lost) == 1 else 'them'} again",
            f"start one: qdeck worker APP -q {name}",
        )


def of_task(scene: Scene, task: str) -> Iterable[Cause]:
    """Yield that no worker which serves the queue knows a task."""
    serving = scene.serving
    if not serving or any(worker.id not in scene.known for worker in serving):
        return
    if not any(task in scene.known[worker.id] for worker in serving):
        elsewhere = sorted(
            {
                queue
                for worker in scene.workers
                if worker.state != "lost" and task in scene.known.get(worker.id, ())
                for queue in worker.queues
            }
        )
        known = f"; workers of {some(elsewhere)} know it" if elsewhere else ""
        yield Cause(
            "unknown task",
            f"no worker that serves {scene.row.name} knows the task {task}{known}",
            "deploy the app that has it, or move the jobs to a queue whose workers know it",
        )


def _of_pause(scene: Scene) -> Iterable[Cause]:
    row = scene.row
    if row.paused is not None:
        yield Cause(
            "paused",
            f"{row.name} is paused by {row.paused.by}{since_when(row.paused.since)}",
            f"qdeck resume {row.name}",
            row.paused.since,
        )


def _of_held(scene: Scene) -> Iterable[Cause]:
    row = scene.row
    if row.held and not scene.facts.paused:
        yield Cause(
            "key limit",
            f"{jobs(row.held)} of {row.name} wait for a place of their key, or go back to it now",
        )
    elif row.held:
        tasks = some(scene.facts.paused)
        verb = "is" if len(scene.facts.paused) <= 1 else "are"
        yield Cause(
            "held",
            f"{jobs(row.held)} of {row.name} are held because {tasks} {verb} paused"
            if row.held > 1
            else f"1 job of {row.name} is held because {tasks} {verb} paused",
            f"qdeck resume {row.name} --task {scene.facts.paused[0]}",
        )


def _of_limit(scene: Scene) -> Iterable[Cause]:
    row = scene.row
    if row.limit is not None and (row.running or 0) >= row.limit:
        yield Cause(
            "limit",
            f"{row.name} runs {row.running} of at most {row.limit} at once (its limit)",
            f"raise the limit of {row.name}, or wait until one ends",
        )
    if row.rate and scene.tokens is not None and scene.tokens < 1:
        wait = (1 - scene.tokens) / row.rate
        yield Cause(
            "rate",
            f"{row.name} starts at most {row.rate:g} a second (its rate); the next in {span(wait)}",
            f"raise the rate of {row.name}, or wait",
        )


def _of_failures(scene: Scene) -> Iterable[Cause]:
    last = int(scene.now.timestamp() // 60)
    for task, share, since in failing(scene.facts.tasks, scene.facts.minutes, last):
        if share >= _FAILING:
            yield Cause(
                "failing",
                f"{share:.0%} of {task} in {scene.row.name} fail{since_when(since)}",
                f"look at its errors (Dead, or qdeck dead groups -q {scene.row.name}), or pause "
                f"the task: qdeck pause {scene.row.name} --task {task}",
                since,
            )


def of_slots(scene: Scene) -> Iterable[Cause]:
    """Yield that all slots of the queue's workers are busy, and with what; slow tasks first."""
    serving = scene.serving
    if not serving or any(w.concurrency is None or w.running is None for w in serving):
        return
    slots = sum(worker.concurrency or 0 for worker in serving)
    if slots == 0 or sum(worker.running or 0 for worker in serving) < slots:
        return
    mine = {worker.id for worker in serving}
    runs = [run for run in scene.running if run.worker in mine]
    tasks = Counter(run.task for run in runs)
    for task, number in tasks.most_common():
        yield from _slow(scene, task, [run for run in runs if run.task == task], number, slots)
    parts = [f"{number} with {task}" for task, number in tasks.most_common(3)]
    told = f", {' and '.join(parts)}" if parts else ""
    workers = "1 worker that serves" if len(serving) == 1 else f"{len(serving)} workers that serve"
    yield Cause(
        "busy",
        f"all {slots} slots of {workers} {scene.row.name} are busy{told}",
        "wait, or add slots or workers: qdeck worker APP -q "
        f"{scene.row.name} -c {max(slots, 1) * 2}",
    )


def _slow(
    scene: Scene, task: str, runs: Sequence[JobRow], number: int, slots: int
) -> Iterable[Cause]:
    started = [run.started_at for run in runs if run.started_at is not None]
    if not started:
        return
    longest = (scene.now - min(started)).total_seconds()
    usual = max((run.usual_p95_s or 0.0 for run in runs), default=0.0)
    if usual:
        slow = longest > max(_SLOW * usual, _LEAST_S)
        compared = f"its usual p95 is {span(usual)}"
    else:
        slow = longest > _UNKNOWN_S
        compared = "no run of it has ended within two hours"
    if slow:
        yield Cause(
            "slow",
            f"{task} is slow: it has been running for {span(longest)} ({compared}) and takes "
            f"{number} of {slots} slots",
            "look at its log (Running), cancel what hangs, or add slots",
            min(started),
        )


def _of_later(scene: Scene) -> Iterable[Cause]:
    row = scene.row
    parts = [
        f"{number:,} {word}"
        for number, word in ((row.scheduled, "scheduled"), (row.retrying, "retrying"))
        if number
    ]
    yield Cause(
        "not due",
        f"nothing is due in {row.name}: {' and '.join(parts)} for later",
        "see when in Later, or qdeck jobs --state scheduled",
    )


def _at_rest(scene: Scene) -> Cause:
    row = scene.row
    if not row.pending:
        return Cause("empty", f"nothing is waiting in {row.name}")
    out = row.out_per_minute or sum(
        scene.facts.minutes.get(int(scene.now.timestamp() // 60) - i, NOTHING).finished
        for i in range(2)
    )
    return Cause(
        "moving",
        f"nothing keeps {row.name} from running: {jobs(row.pending)} pending, {out:.0f}/min end",
    )


def worker_name(worker: WorkerRow) -> str:
    """Return how sentences call a worker."""
    return f"{worker.host or '?'}:{worker.pid or worker.id}"


def _int(raw: str | None) -> int:
    return int(raw) if raw is not None and raw.isdigit() else 0
