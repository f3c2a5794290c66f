"""Asking a server for single jobs: where one is, how it ended, and whether it should stop.

The `_sync` twins need no event loop and are thread-safe.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import Any

from qdeck import queue as verbs
from qdeck.connection import repeat, repeat_sync
from qdeck.copies import copy_of
from qdeck.errors import JobCancelled, JobDead, JobNotFound, Timeout
from qdeck.inline import Elsewhere
from qdeck.job import Job, State
from qdeck.keys import QueueKeys
from qdeck.link import SERVER_ERRORS, Link
from qdeck.lookup import WIDTH, Found, read_found, stage

__all__ = ["Inquiry"]


class Inquiry(Link):
    """The part of a deck that looks jobs up, awaits and cancels them."""

    _other: Elsewhere | None

    async def queues(self) -> list[str]:
        """Return the names of all known queues, sorted."""
        return sorted(name.decode() for name in await self.call("SMEMBERS", self.shared.queues))

    async def find(self, job_id: str, *, queue: str | None = None) -> Found | None:
        """Return everything that is kept of a job; None when nothing is."""
        for name in [queue] if queue is not None else await self.queues():
            keys = self.keys(name)
            for _ in range(3):
                found = await self._read(keys, job_id)
                if found.state is not None or not found.exists:
                    break
            if found.exists:
                return await self._or_cleared(keys, found)
        return None

    async def _or_cleared(self, keys: QueueKeys, found: Found) -> Found:
        """Return a job that no set holds as what it reads as where a copy holds it."""
        if found.state is not None:
            return found
        search, reply = copy_of(keys, found.id), None
        try:
            while True:
                reply = await self.call(*search.send(reply))
        except StopIteration as stop:
            return found.cleared(stop.value) if stop.value else found

    def _or_cleared_sync(self, keys: QueueKeys, found: Found) -> Found:
        if found.state is not None:
            return found
        search, reply = copy_of(keys, found.id), None
        try:
            while True:
                reply = self.call_sync(*search.send(reply))
        except StopIteration as stop:
            return found.cleared(stop.value) if stop.value else found

    async def _read(self, keys: QueueKeys, job_id: str) -> Found:
        connector = self.connector
        await connector.ensure()

        async def read() -> list[Any]:
            async with connector.client().pipeline(transaction=not connector.cluster) as pipe:
                stage(pipe, keys, job_id)
                return _raise_first(await pipe.execute(raise_on_error=False))

        try:
            answers = await repeat(read, limit=self.patience)
        except SERVER_ERRORS as error:
            raise connector.translate(error) from error
        return read_found(keys, job_id, answers)

    @abstractmethod
    async def retries_of(self, task: str) -> int:
        """Return how often jobs of a task are retried that do not say so themselves."""

    @abstractmethod
    def retries_of_sync(self, task: str) -> int:
        """Do what `retries_of` does, without an event loop."""

    async def job(self, job_id: str, *, queue: str | None = None) -> Job[Any] | None:
        """Return a job in whatever state it is; None when there is no record of it.

        Known queues are probed one by one; naming the queue skips that.
        """
        if self._other is not None:
            return self._other.jobs.get(job_id)
        found = await self.find(job_id, queue=queue)
        if found is None:
            return None
        silent = found.silent
        job: Job[Any] = found.job(await self.retries_of(silent) if silent else 0)
        return job

    def job_sync(self, job_id: str, *, queue: str | None = None) -> Job[Any] | None:
        """Do what `job` does, without an event loop."""
        if self._other is not None:
            return self._other.jobs.get(job_id)
        names = [queue] if queue is not None else None
        if names is None:
            members = self.call_sync("SMEMBERS", self.shared.queues)
            names = sorted(name.decode() for name in members)
        for name in names:
            keys = self.keys(name)
            for _ in range(3):
                found = self._read_sync(keys, job_id)
                if found.state is not None or not found.exists:
                    break
            if found.exists:
                found = self._or_cleared_sync(keys, found)
                silent = found.silent
                job: Job[Any] = found.job(self.retries_of_sync(silent) if silent else 0)
                return job
        return None

    def _read_sync(self, keys: QueueKeys, job_id: str) -> Found:
        connector = self.connector
        connector.ensure_sync()

        def read() -> list[Any]:
            with connector.sync_client().pipeline(transaction=not connector.cluster) as pipe:
                stage(pipe, keys, job_id)
                return _raise_first(pipe.execute(raise_on_error=False))

        try:
            answers = repeat_sync(read, limit=self.patience)
        except SERVER_ERRORS as error:
            raise connector.translate(error) from error
        return read_found(keys, job_id, answers)

    async def result(
        self,
        job_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 (the contract names it so)
        queue: str | None = None,
    ) -> Any:
        """Wait until a job has completed and return its result.

        Raises JobDead, JobCancelled, JobNotFound, or Timeout after `timeout` seconds (None: never).
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.005
        while True:
            job = await self.job(job_id, queue=queue)
            if job is not None and job.state.finished:
                return _outcome(job)
            pause = _next_pause(job, job_id, pause, end, timeout)
            queue = job.queue if job is not None else queue
            await asyncio.sleep(pause)

    def result_sync(
        self, job_id: str, *, timeout: float | None = None, queue: str | None = None
    ) -> Any:
        """Do what `result` does, without an event loop."""
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.005
        while True:
            job = self.job_sync(job_id, queue=queue)
            if job is not None and job.state.finished:
                return _outcome(job)
            pause = _next_pause(job, job_id, pause, end, timeout)
            queue = job.queue if job is not None else queue
            time.sleep(pause)

    async def cancel(
        self, job_id: str, *, queue: str | None = None, actor: str = "the application"
    ) -> str:
        """Cancel a job: "cancelled", "requested" (it runs and is asked to stop) or "finished".

        Raises JobNotFound.
        """
        if self._other is not None:
            return self._cancel_elsewhere(self._other, job_id)
        found = await self.find(job_id, queue=queue)
        if found is None:
            raise _not_found(job_id)
        if found.state is not None and found.state.finished:
            return "finished"
        answer = await self.execute(verbs.move(self.keys(found.queue), "cancel", actor, [job_id]))
        moved = verbs.read_moved(answer)[0]
        if moved.outcome == "requested":
            await self.call("RPUSH", self.shared.control(moved.owner), f"cancel {job_id}")
        return moved.outcome

    def cancel_sync(
        self, job_id: str, *, queue: str | None = None, actor: str = "the application"
    ) -> str:
        """Do what `cancel` does, without an event loop."""
        if self._other is not None:
            return self._cancel_elsewhere(self._other, job_id)
        found = self.job_sync(job_id, queue=queue)
        if found is None:
            raise _not_found(job_id)
        if found.state.finished:
            return "finished"
        answer = self.execute_sync(verbs.move(self.keys(found.queue), "cancel", actor, [job_id]))
        moved = verbs.read_moved(answer)[0]
        if moved.outcome == "requested":
            self.call_sync("RPUSH", self.shared.control(moved.owner), f"cancel {job_id}")
        return moved.outcome

    def _cancel_elsewhere(self, other: Elsewhere, job_id: str) -> str:
        answer = other.cancel(job_id)
        if answer is None:
            raise _not_found(job_id)
        return answer


def _raise_first(answers: list[Any]) -> list[Any]:
    """Raise the first error that is no wrong type of a single key, which reads as absent."""
    for answer in answers:
        if isinstance(answer, Exception) and not str(answer).startswith("WRONGTYPE"):
            raise answer
    return answers[:WIDTH]


def _not_found(job_id: str) -> JobNotFound:
    return JobNotFound(f"job {job_id} is not known here; it was never enqueued, deleted or trimmed")


def _outcome(job: Job[Any]) -> Any:
    if job.state is State.COMPLETED:
        return job.result
    if job.state is State.DEAD:
        said = f"{job.error.type}: {job.error.message}" if job.error else "no error on record"
        raise JobDead(f"job {job.id} ({job.task}) is dead: {said}", error=job.error)
    why = f": {job.message}" if job.message else ""
    raise JobCancelled(f"job {job.id} ({job.task}) was cancelled{why}")


def _next_pause(
    job: Job[Any] | None, job_id: str, pause: float, end: float | None, timeout: float | None
) -> float:
    """Return the next wait of a poll, doubling up to 0.25 s."""
    if job is None:
        raise _not_found(job_id)
    left = None if end is None else end - time.monotonic()
    if left is not None and left <= 0:
        raise Timeout(f"job {job_id} is {job.state} after {timeout:g} s; it goes on")
    pause = min(pause * 1.6, 0.25)
    return pause if left is None else max(min(pause, left), 0.001)
