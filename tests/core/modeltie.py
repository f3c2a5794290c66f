"""What the model of a queue knows of jobs that wait for others, and of keys that limit jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.core.modeljob import Job

from qdeck.links import WAITING, Links

if TYPE_CHECKING:
    from tests.core.model import Queue

__all__ = ["deliver", "has_place", "links_of", "park", "reclaim", "wake"]


def links_of(job: Job) -> Links:
    """Return what ties a job to others."""
    return job.body.links or Links()


def has_place(queue: Queue, job: Job) -> bool:
    """Return whether a job has a place of its key, or no key."""
    key = links_of(job).key
    return not key or job.id in queue.places.get(key, set())


def taken(queue: Queue, key: str) -> set[str]:
    """Return the places of a key, without those of jobs that neither run nor are ready."""
    places = queue.places.setdefault(key, set())
    places &= {job.id for job in queue.within("running", "pending")}
    return places


def park(queue: Queue) -> tuple[int, int]:
    """Give places to pending jobs of keys, hold the others; return how many of each."""
    given = held = 0
    seen: dict[str, set[str]] = {}
    for job in queue.within("pending"):
        if job.body.task in queue.paused_tasks:
            job.held, held = True, held + 1
            continue
        links = links_of(job)
        if not links.key:
            continue
        places = seen.setdefault(links.key, taken(queue, links.key))
        if len(places) < links.most:
            given += job.id not in places
            places.add(job.id)
        elif job.id not in places:
            job.held, held = True, held + 1
            queue.waits.setdefault(links.key, {})[member(job)] = job.score
    queue.mark(looked=False)
    return given, held


def member(job: Job) -> str:
    """Return a job as the set of those that wait for a key has it."""
    return f"{links_of(job).most} {job.body.task} {job.id}"


def reclaim(queue: Queue, keys: Sequence[str]) -> int:
    """Give places of keys to jobs that are held for them; return to how many."""
    freed = 0
    for key in keys:
        waits, places = queue.waits.get(key, {}), taken(queue, key)
        for name in sorted(waits, key=lambda name: (waits[name], name)):
            job = queue.jobs.get(name.split(" ", 2)[2])
            if job is not None and job.held:
                if len(places) >= links_of(job).most:
                    break
                places.add(job.id)
                job.held, freed = False, freed + 1
            del waits[name]
    wake(queue, bool(freed))
    return freed


def wake(queue: Queue, entered: bool) -> None:
    """Set the marker after jobs have become ready, or none has."""
    full = queue.limit is not None and len(queue.within("running")) >= queue.limit
    wait = entered and not queue.open and not queue.paused and not full
    queue.mark(looked=False, poke=wait and bool(queue.within("pending")))


def deliver(queue: Queue, pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Note for jobs that wait which others have completed; return what became of each."""
    answers, sooner, released = [], False, False
    for job_id, name in pairs:
        job = queue.jobs.get(job_id)
        if job is None or job.state != "scheduled" or job.score != WAITING:
            if job is not None:
                job.done.clear()
            answers.append(-1)
            continue
        job.done.add(name)
        if len(job.done) < links_of(job).waits:
            answers.append(0)
            continue
        job.done.clear()
        body = job.body
        due = queue.now + body.delay if body.delay else body.at
        if due > queue.now:
            job.score, sooner = due, True
        else:
            job.state, job.score = "pending", queue.next_score(job)
            job.held = body.task in queue.paused_tasks
            released = released or not job.held
        answers.append(1)
    if sooner:
        queue.marker = 1
    else:
        wake(queue, released)
    return answers
