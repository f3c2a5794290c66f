"""Reads what is needed to say why a job, or the next job of a queue, is not running.

Owns the round trips (about six, side by side); `causes` judges.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from qdeck import detail
from qdeck.admin import Cause, Denied, Explanation, JobDetail, JobRef, WorkerRow
from qdeck.admin import Window as Rows
from qdeck.causes import Scene, of_queue, of_server, of_service, of_task, ordered, worker_name
from qdeck.crew import read_workers
from qdeck.glimpse import Hit, read_rows
from qdeck.keys import queue_keys
from qdeck.overview import Facts, Overview
from qdeck.pages import Pages
from qdeck.phrase import jobs, span
from qdeck.reader import Reader, count, items, number, text
from qdeck.status import Status, parse_info
from qdeck.ties import read_links, why_held, why_stopped, why_waiting

__all__ = ["Explainer"]

#: Jobs at the head of a queue whose tasks are looked at, runs that are read.
_HEADS = 20
_RUNS = 500


class Explainer:
    """Explains queues and jobs; one for each operator."""

    def __init__(self, reader: Reader, overview: Overview, status: Status, pages: Pages) -> None:
        self._reader = reader
        self._overview = overview
        self._status = status
        self._pages = pages

    async def queue(self, name: str) -> Explanation:
        """Return why the next job of a queue is not running; Denied for an unknown queue."""
        return Explanation(name, of_queue(await self._scene(name)))

    async def job(self, ref: JobRef) -> Explanation:
        """Return why one job is not running; Denied where there is no record of it."""
        found = await detail.read_job(self._reader, ref)
        if found is None:
            raise Denied(f"there is no record of job {ref.id} in {ref.queue}")
        row = found.row
        links = await read_links(self._reader, ref) if row.state != "running" else None
        if row.state in ("completed", "cancelled", "dead"):
            after = None
            if links and links.then and row.state != "completed":
                after = await why_stopped(self._reader, ref, links)
            return Explanation(ref.id, (_ended(found), *filter(None, [after])))
        scene = await self._scene(ref.queue)
        if row.state == "running":
            return Explanation(ref.id, tuple(_running(scene, found)))
        if row.state == "scheduled" and row.due_at is None and links and links.waits:
            return Explanation(ref.id, (await why_waiting(self._reader, ref, links),))
        if row.state in ("scheduled", "retrying"):
            return Explanation(ref.id, tuple(_later(scene, found)))
        causes = [
            cause
            for cause in of_queue(scene)
            if cause.word not in ("held", "key limit", "unknown task", "empty", "moving")
        ]
        held = await why_held(self._reader, ref, row.task, links) if links and links.key else None
        if row.held:
            causes = [_held(found), *of_server(scene.info)]
        elif held is not None:
            causes.append(held)
        else:
            causes += of_task(scene, row.task)
        ahead = await self._ahead(ref) if not row.held and held is None else 0
        if ahead:
            causes.append(Cause("ahead", f"{jobs(ahead)} of {ref.queue} are ahead of it"))
        elif not causes:
            causes.append(Cause("moving", f"it is next in {ref.queue}, and nothing keeps it"))
        return Explanation(ref.id, ordered(causes))

    async def _ahead(self, ref: JobRef) -> int:
        keys = queue_keys(self._reader.deck.settings.prefix, ref.queue)
        return count(await self._reader.one("ZRANK", keys.ready, ref.id)) or 0

    async def _scene(self, name: str) -> Scene:
        reader = self._reader
        keys = queue_keys(reader.deck.settings.prefix, name)
        replies, _, workers = await asyncio.gather(
            reader.read(
                [
                    ("SISMEMBER", reader.deck.shared.queues, name),
                    ("INFO",),
                    ("HMGET", keys.meta, "tokens", "tokens_at"),
                    ("ZRANGE", keys.ready, 0, _HEADS - 1),
                ]
            ),
            self._status.snapshot(),
            read_workers(reader),
        )
        is_known, info, bucket, heads = replies
        facts = self._overview.facts.get(name)
        if facts is None or not count(is_known):
            raise Denied(f"there is no queue {name!r} here; `qdeck queues` lists those that are")
        row = self._overview.row(facts)
        now_ms = self._overview.now_ms()
        alive = [worker for worker in workers if worker.state != "lost"]
        serving = [worker for worker in alive if name in worker.queues]
        served = sorted({queue for worker in serving for queue in worker.queues} | {name})
        hits = [Hit(name, text(raw), 0.0, "pending") for raw in items(heads)]
        known, rows, runs = await asyncio.gather(
            self._known(alive),
            read_rows(reader, hits, {}),
            self._pages.running(served, Rows(0, _RUNS)),
        )
        return Scene(
            datetime.fromtimestamp(now_ms / 1000, UTC),
            row,
            facts,
            {} if isinstance(info, BaseException) else parse_info(info),
            workers,
            known,
            [each.task for each in rows if each.task != "?"],
            runs.rows,
            _tokens(items(bucket), facts, now_ms),
        )

    async def _known(self, workers: list[WorkerRow]) -> dict[str, frozenset[str]]:
        """Return the tasks that each worker says it knows."""
        shared = self._reader.deck.shared
        replies = await self._reader.read([("HGET", shared.worker(w.id), "tasks") for w in workers])
        return {
            worker.id: frozenset(text(reply).split())
            for worker, reply in zip(workers, replies, strict=True)
            if isinstance(reply, bytes)
        }


def _tokens(bucket: list[Any], facts: Facts, now_ms: float) -> float | None:
    """Return how many starts the rate allows now; None without a rate."""
    rate = number(facts.meta.get("rate"))
    if not rate or len(bucket) != 2:
        return None
    burst = max(rate, 1.0)
    tokens, at = number(bucket[0]), number(bucket[1])
    if tokens is None or at is None:
        return burst
    return min(burst, tokens + max(0.0, now_ms - at) * rate / 1000)


def _ended(found: JobDetail) -> Cause:
    row = found.row
    why = f": {found.reason}" if found.reason else ""
    when = f" at {row.finished_at:%H:%M:%S} UTC" if row.finished_at else ""
    if row.state == "dead":
        error = f" ({row.error})" if row.error else ""
        return Cause(
            "finished",
            f"it is dead{when}{why}{error}",
            "mend what failed, then retry it",
            row.finished_at,
        )
    step = "retry it to run it after all" if row.state == "cancelled" else ""
    return Cause("finished", f"it is {row.state}{when}{why}", step, row.finished_at)


def _held(found: JobDetail) -> Cause:
    row = found.row
    return Cause(
        "held",
        f"it is held because the task {row.task} is paused in {row.ref.queue}",
        f"qdeck resume {row.ref.queue} --task {row.task}",
    )


def _running(scene: Scene, found: JobDetail) -> list[Cause]:
    row = found.row
    took = (scene.now - row.started_at).total_seconds() if row.started_at else 0.0
    said = f"it has been running on {row.worker or '?'} for {span(took)}, run {row.attempt}"
    causes = []
    if row.cancel_requested:
        said += ", and was asked to stop"
    usual = next((r.usual_p95_s for r in scene.running if r.ref == row.ref), None)
    if usual and took > max(3 * usual, 1.0):
        causes.append(
            Cause(
                "slow",
                f"{row.task} is slow: this run takes {span(took)} so far, usually {span(usual)} "
                "(p95)",
                "look at its log, or cancel it",
                row.started_at,
            )
        )
    worker = next((each for each in scene.workers if each.id == row.worker), None)
    if worker is None or worker.state == "lost":
        name = worker_name(worker) if worker else row.worker or "?"
        age = f" {span(worker.beat_age_s)} ago" if worker and worker.beat_age_s else ""
        causes.append(
            Cause(
                "no worker",
                f"its worker {name} was lost{age}; it runs again once its lease has ended"
                + ("" if scene.serving else f", but no worker serves {row.ref.queue}"),
                "" if scene.serving else f"start one: qdeck worker APP -q {row.ref.queue}",
            )
        )
    return [*causes, Cause("running", said, "", row.started_at)]


def _later(scene: Scene, found: JobDetail) -> list[Cause]:
    row = found.row
    left = (row.due_at - scene.now).total_seconds() if row.due_at else 0.0
    at = f"{row.due_at:%Y-%m-%d %H:%M:%S} UTC" if row.due_at else "?"
    error = f"; its last error: {row.error}" if row.error else ""
    done = f" after run {row.attempt} of {row.max_attempts}" if row.state == "retrying" else ""
    when = f"due in {span(left)}, at {at}" if left > 0 else f"due since {at}"
    causes = [*(of_service(scene) if left <= 0 else ()), *of_task(scene, row.task)]
    causes.append(
        Cause(
            "not due",
            f"it is {row.state}{done} and {when}{error}",
            "run it now, or wait" if left > 0 else "",
            row.due_at,
        )
    )
    if row.state == "retrying":
        causes += [cause for cause in of_queue(scene) if cause.word == "failing"]
    return [*causes, *of_server(scene.info)]
