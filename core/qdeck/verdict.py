"""The state of everything in one word and its causes in sentences.

Pure: judges what a snapshot has read. A cause names the queue, the task and since when, where that
is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from qdeck.admin import Failure, QueueRow, ServerInfo, Verdict, VerdictWord, WorkerRow
from qdeck.overview import LATE_MS, MINUTES, Facts
from qdeck.phrase import jobs, since_when, some, span
from qdeck.reader import at_ms, number, text
from qdeck.stats import NOTHING, SPAN, Tally, failure_share

__all__ = ["OLD_S", "failing", "judge"]

#: Age of the oldest pending job (s) from which a queue is late.
OLD_S: Final = 300.0
#: Runs of a task within 5 minutes from which its failure share says something.
_LEAST_RUNS: Final = 5
_RANK: Final[dict[VerdictWord, int]] = {"DOWN": 3, "DEGRADED": 2, "WATCH": 1}
_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Cause:
    """One sentence, how bad it is, and since when; `weight` orders those that are equally bad."""

    word: VerdictWord
    text: str
    since: datetime | None = None
    weight: float = 0.0


def judge(
    facts: Sequence[Facts],
    queues: Sequence[QueueRow],
    workers: Sequence[WorkerRow],
    server: ServerInfo | Failure,
    now_ms: float,
) -> Verdict:
    """Return the verdict, worst cause first."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    causes = [*_of_server(server), *_of_workers(workers, now), *_of_service(queues, workers)]
    for row, one in zip(queues, facts, strict=True):
        causes += _of_queue(row, one, now)
        causes += _of_tasks(row.name, one.tasks, one.minutes, int(now_ms // 60000))
        causes += _of_dead(row.name, one.minutes, int(now_ms // 60000))
        causes += _of_schedules(one, now)
    causes.sort(key=lambda cause: (-_RANK[cause.word], -cause.weight))
    if not causes:
        return Verdict("OK")
    word = causes[0].word
    times = [cause.since for cause in causes if cause.word == word and cause.since is not None]
    return Verdict(word, tuple(cause.text for cause in causes[:_MOST]), min(times, default=None))


def _of_server(server: ServerInfo | Failure) -> Iterable[Cause]:
    if isinstance(server, ServerInfo):
        for warning in server.warnings:
            word: VerdictWord = "DEGRADED" if "failed" in warning or "lost" in warning else "WATCH"
            yield Cause(word, warning, None, 1e9)


def _of_workers(workers: Sequence[WorkerRow], now: datetime) -> Iterable[Cause]:
    for worker in workers:
        name = f"worker {worker.host or '?'}:{worker.pid or worker.id}"
        age = worker.beat_age_s
        if worker.state == "lost" and worker.holds and age is not None:
            held = jobs(len(worker.holds))
            yield Cause(
                "DEGRADED" if age < 3600 else "WATCH",
                f"{name} lost {span(age)} ago, held {held}",
                now - timedelta(seconds=age),
                len(worker.holds),
            )
        elif worker.state == "stuck":
            yield Cause("DEGRADED", f"{name} is stuck: its event loop is blocked", None, 1.0)


def _of_service(queues: Sequence[QueueRow], workers: Sequence[WorkerRow]) -> Iterable[Cause]:
    alive = [worker for worker in workers if worker.state != "lost"]
    claiming = [worker for worker in alive if worker.state in ("running", "stuck")]
    served = {queue for worker in claiming for queue in worker.queues}
    waiting = [q for q in queues if (q.pending or 0) > (q.held or 0) and q.paused is None]
    if waiting and not claiming:
        total = sum(queue.pending or 0 for queue in waiting)
        said = "no worker runs" if not alive else "all workers are quiet or stopping"
        names = some([queue.name for queue in waiting])
        yield Cause("DOWN", f"{said}; {jobs(total)} pending in {names}", None, total)
        return
    for queue in waiting:
        if queue.name not in served:
            total = queue.pending or 0
            yield Cause(
                "DEGRADED", f"no worker serves {queue.name}; {jobs(total)} pending", None, total
            )


def _of_queue(queue: QueueRow, facts: Facts, now: datetime) -> Iterable[Cause]:
    pending = queue.pending or 0
    if queue.paused is not None and pending:
        since = queue.paused.since
        yield Cause(
            "WATCH",
            f"{queue.name} is paused by {queue.paused.by}{since_when(since)}; "
            f"{jobs(pending)} pending",
            since,
            pending,
        )
    elif facts.oldest_ms is not None:
        age = (now - datetime.fromtimestamp(facts.oldest_ms / 1000, UTC)).total_seconds()
        if age > OLD_S:
            yield Cause(
                "DEGRADED",
                f"{queue.name}: oldest pending job waits {span(age)} (limit {span(OLD_S)})",
                now - timedelta(seconds=age - OLD_S),
                age,
            )
    if queue.held and facts.paused and queue.paused is None:
        tasks = some(facts.paused)
        yield Cause("WATCH", f"{queue.name}: {jobs(queue.held)} held, {tasks} paused", None, 0.0)


def _of_tasks(
    queue: str, tasks: Sequence[str], minutes: dict[int, Tally], last: int
) -> Iterable[Cause]:
    for task, share, since in failing(tasks, minutes, last):
        word: VerdictWord = "DEGRADED" if share >= 0.5 else "WATCH"
        text = f"{queue}: {share:.0%} of {task} fail{since_when(since)}"
        yield Cause(word, text, since, 100 * share)


def failing(
    tasks: Sequence[str], minutes: Mapping[int, Tally], last: int
) -> Iterable[tuple[str, float, datetime]]:
    """Yield the tasks of which a fifth or more fails now: name, share, and since which minute."""
    recent = [minutes.get(last - i, NOTHING) for i in range(SPAN)]
    for task in tasks:
        share = failure_share(recent, task, _LEAST_RUNS)
        if share is None or share < 0.2 or task == "other":
            continue
        first = last
        for minute in range(last, last - MINUTES, -1):
            before = failure_share([minutes.get(minute, NOTHING)], task)
            if before is not None and before < share / 2:
                break
            if before is not None:
                first = minute
        yield task, share, datetime.fromtimestamp(first * 60, UTC)


def _of_schedules(facts: Facts, now: datetime) -> Iterable[Cause]:
    """Yield schedules that are late now, and those that were the last time, within a day."""
    overdue = dict(facts.overdue)
    for name, due in overdue.items():
        late = now.timestamp() - due / 1000
        if late * 1000 >= LATE_MS:
            since = now - timedelta(seconds=late)
            said = f"{name} is {span(late)} late: no worker has handled its slot"
            yield Cause("DEGRADED" if late > OLD_S else "WATCH", said, since, late)
    for line in text(facts.meta.get("cron_late")).splitlines():
        slot, late_ms, how, name = (line.split(" ", 3) + [""] * 3)[:4]
        at = at_ms(slot)
        if at is None or name in overdue or not timedelta() <= now - at <= timedelta(days=1):
            continue
        when = "today" if at.date() == now.date() else "yesterday"
        late = (number(late_ms) or 0.0) / 1000
        said = "missed its slot" if how == "missed" else f"started {span(late)} late"
        yield Cause("WATCH", f"{name} {said} {when}", at, 0.0)


def _of_dead(queue: str, minutes: dict[int, Tally], last: int) -> Iterable[Cause]:
    died = [i for i in range(MINUTES) if minutes.get(last - i, NOTHING).get("dead")]
    if died and died[0] < SPAN:
        total = sum(minutes[last - i].get("dead") for i in died)
        back = died[-1] + 1
        yield Cause("WATCH", f"{queue}: dead +{total:,} in {back}m",
                    datetime.fromtimestamp((last - died[-1]) * 60, UTC), total)  # fmt: skip
