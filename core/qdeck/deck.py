"""The deck: where tasks are registered and jobs are enqueued, looked up, awaited and cancelled.

Owns the way of a call to the server and its repetition after a lost reply. It runs no handler
itself: workers do, or `inline` on the `sync` connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from redis.exceptions import RedisError

from qdeck import queue as verbs
from qdeck.backoff import exponential
from qdeck.connection import Connector, repeat, repeat_sync, retryable
from qdeck.errors import (
    ConnectionFailed,
    JobCancelled,
    JobDead,
    JobNotFound,
    Timeout,
)
from qdeck.handle import TaskDecorators
from qdeck.inline import InlineSender
from qdeck.invoke import Middleware
from qdeck.job import Job, State
from qdeck.keys import QueueKeys, queue_keys, shared_keys
from qdeck.lookup import WIDTH, Found, read_found, stage
from qdeck.payload import encode_mapping
from qdeck.producer import Batch, Entry, entry_by_name, entry_of, job_of
from qdeck.scripts import Command, run, run_sync
from qdeck.settings import Settings, check_name, load_settings
from qdeck.task import Call, Registry, Sender
from qdeck.terms import make_options

if TYPE_CHECKING:
    from qdeck.operator import Operator
    from qdeck.testing import TestBox
    from qdeck.worker import Worker

__all__ = ["Deck", "Lifespan"]

R = TypeVar("R")

Lifespan = Callable[..., AbstractAsyncContextManager[Any]]

_SERVER_ERRORS = (RedisError, OSError, EOFError)
#: Seconds after which a call whose outcome stays unknown is given up.
PATIENCE = 20.0


class Deck(TaskDecorators):
    """Tasks, and the server that keeps their jobs.

    Any setting can be given by its lower-case name. `middleware` wraps every run, the first
    outermost; `lifespan` is an async context manager factory whose value handlers find in
    `ctx.state`. Opens nothing before the first use; close it with `async with` or `close()`.
    Raises SettingsError.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        lifespan: Lifespan | None = None,
        middleware: Sequence[Middleware] = (),
        **settings: Any,
    ) -> None:
        self.settings: Settings = load_settings(url, **settings)
        self.registry = Registry()
        self.lifespan = lifespan
        self.middleware: tuple[Middleware, ...] = tuple(middleware)
        self.app: str | None = None
        self.backoff = exponential(base=self.settings.retry_backoff)
        self.shared = shared_keys(self.settings.prefix)
        self._connector: Connector | None = None
        self._announced: set[str] = set()
        self._published: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._other: Sender | None = None
        if self.settings.connection == "sync":
            self._other = InlineSender(self.middleware, lifespan, self.settings)

    # The server

    @property
    def connector(self) -> Connector:
        """The way to the server; raises SettingsError on the `sync` connection."""
        if self._connector is None:
            self._connector = Connector(self.settings)
        return self._connector

    def keys(self, queue: str) -> QueueKeys:
        """Return the key names of a queue; raises SettingsError for a bad name."""
        return queue_keys(self.settings.prefix, check_name("queue", queue))

    async def execute(self, command: Command, *, patience: float = PATIENCE) -> Any:
        """Send a repeatable command, again and again for at most `patience` seconds."""
        connector = self.connector
        await connector.ensure()
        try:
            try:
                return await run(connector.lane(), command)
            except Exception as error:
                if not retryable(error):
                    raise
                self._announced.clear()
            return await repeat(lambda: run(connector.lane(), command), limit=patience)
        except _SERVER_ERRORS as error:
            raise connector.translate(error) from error

    def execute_sync(self, command: Command, *, patience: float = PATIENCE) -> Any:
        """Do what `execute` does, without an event loop."""
        connector = self.connector
        connector.ensure_sync()
        try:
            try:
                return run_sync(connector.sync_lane(), command)
            except Exception as error:
                if not retryable(error):
                    raise
                self._announced.clear()
            return repeat_sync(lambda: run_sync(connector.sync_lane(), command), limit=patience)
        except _SERVER_ERRORS as error:
            raise connector.translate(error) from error

    async def _create(self, batch: Batch) -> list[Any]:
        """Send a batch, as safely as `durability` asks for."""
        connector, command = self.connector, batch.command()
        if batch.keys.queue not in self._announced:
            await self.call("SADD", self.shared.queues, batch.keys.queue)
            self._announced.add(batch.keys.queue)
        try:
            if self.settings.durability is None:
                answer: list[Any] = await self.execute(command)
                return answer
            await connector.ensure()
            link = connector.confirming()
            answer = await repeat(lambda: run(link, command), limit=PATIENCE)
        except ConnectionFailed as error:
            raise batch.unknown(error) from error
        except _SERVER_ERRORS as error:
            raise batch.unknown(connector.translate(error)) from error
        if link.shortfall is not None:
            raise batch.not_durable(answer, link.shortfall)
        return answer

    def _create_sync(self, batch: Batch) -> list[Any]:
        connector, command = self.connector, batch.command()
        if batch.keys.queue not in self._announced:
            self.call_sync("SADD", self.shared.queues, batch.keys.queue)
            self._announced.add(batch.keys.queue)
        try:
            if self.settings.durability is None:
                answer: list[Any] = self.execute_sync(command)
                return answer
            connector.ensure_sync()
            link = connector.confirming_sync()
            answer = repeat_sync(lambda: run_sync(link, command), limit=PATIENCE)
        except ConnectionFailed as error:
            raise batch.unknown(error) from error
        except _SERVER_ERRORS as error:
            raise batch.unknown(connector.translate(error)) from error
        if link.shortfall is not None:
            raise batch.not_durable(answer, link.shortfall)
        return answer

    async def call(self, *args: Any) -> Any:
        """Send one plain command that may be repeated."""
        connector = self.connector
        await connector.ensure()
        try:
            return await repeat(lambda: connector.client().execute_command(*args), limit=PATIENCE)
        except _SERVER_ERRORS as error:
            raise connector.translate(error) from error

    def call_sync(self, *args: Any) -> Any:
        """Send one plain command that may be repeated, without an event loop."""
        connector = self.connector
        connector.ensure_sync()
        try:
            return repeat_sync(
                lambda: connector.sync_client().execute_command(*args), limit=PATIENCE
            )
        except _SERVER_ERRORS as error:
            raise connector.translate(error) from error

    async def __aenter__(self) -> Deck:
        if self._other is None:
            await self.connector.ensure()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what this deck opened on this loop, and its blocking clients."""
        if self._connector is not None:
            await self._connector.aclose()
            await asyncio.to_thread(self._connector.close)

    def close_sync(self) -> None:
        """Close the blocking clients of this deck."""
        if self._connector is not None:
            self._connector.close()

    # Enqueueing

    async def send(self, call: Call[R]) -> Job[R]:
        """Enqueue one call; see `TaskHandle.enqueue`."""
        if self._other is not None:
            return await self._other.send(call)
        return await self._send_one(entry_of(call, self.settings))

    def send_sync(self, call: Call[R]) -> Job[R]:
        """Enqueue one call without an event loop."""
        if self._other is not None:
            return self._other.send_sync(call)
        return self._send_one_sync(entry_of(call, self.settings))

    async def _send_one(self, entry: Entry) -> Job[Any]:
        batch = Batch(self.keys(entry.queue), self.settings.max_size, [entry])
        answer = await self._create(batch)
        job = job_of(entry, answer[0], answer[1])
        return job if job.created else await self._holder(job)

    def _send_one_sync(self, entry: Entry) -> Job[Any]:
        batch = Batch(self.keys(entry.queue), self.settings.max_size, [entry])
        answer = self._create_sync(batch)
        job = job_of(entry, answer[0], answer[1])
        return job if job.created else self._holder_sync(job)

    async def enqueue_many(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Enqueue many calls, 500 a script, each such chunk all or nothing.

        Returns the jobs in the order of the calls. Chunks before one that fails are enqueued.
        """
        found = list(calls)
        if self._other is not None:
            return [await self._other.send(call) for call in found]
        entries = [entry_of(call, self.settings) for call in found]
        jobs: dict[str, Job[Any]] = {}
        for batch in Batch.split(entries, self.keys, self.settings.max_size):
            answer = await self._create(batch)
            for entry, word in zip(batch.entries, answer[1:], strict=True):
                job = job_of(entry, answer[0], word)
                jobs[entry.id] = job if job.created else await self._holder(job)
        return [jobs[entry.id] for entry in entries]

    def enqueue_many_sync(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Do what `enqueue_many` does, without an event loop."""
        found = list(calls)
        if self._other is not None:
            return [self._other.send_sync(call) for call in found]
        entries = [entry_of(call, self.settings) for call in found]
        jobs: dict[str, Job[Any]] = {}
        for batch in Batch.split(entries, self.keys, self.settings.max_size):
            answer = self._create_sync(batch)
            for entry, word in zip(batch.entries, answer[1:], strict=True):
                job = job_of(entry, answer[0], word)
                jobs[entry.id] = job if job.created else self._holder_sync(job)
        return [jobs[entry.id] for entry in entries]

    async def enqueue(
        self, task: str, payload: Mapping[str, Any] | None = None, **options: Any
    ) -> Job[Any]:
        """Enqueue by the task's name; the arguments are checked where the task is known.

        `options` are those of `TaskHandle.options`. Where this process does not know the task, what
        workers published about it decides its queue, priority and retries.
        """
        spec = self.registry.find(check_name("task", task))
        raw = encode_mapping(task, payload or {})
        chosen = make_options(**options)
        if spec is not None:
            return await self.send(Call(spec, spec.encode((), dict(payload or {})), chosen))
        if self._other is not None:
            self.registry.get(task)
        facts = await self._facts(task)
        return await self._send_one(entry_by_name(task, raw, chosen, self.settings, facts))

    def enqueue_sync(
        self, task: str, payload: Mapping[str, Any] | None = None, **options: Any
    ) -> Job[Any]:
        """Do what `enqueue` does, without an event loop."""
        spec = self.registry.find(check_name("task", task))
        raw = encode_mapping(task, payload or {})
        chosen = make_options(**options)
        if spec is not None:
            return self.send_sync(Call(spec, spec.encode((), dict(payload or {})), chosen))
        if self._other is not None:
            self.registry.get(task)
        known = self._recall(task)
        if known is None:
            known = self._learn(task, self.call_sync("HGET", self.shared.tasks, task))
        return self._send_one_sync(entry_by_name(task, raw, chosen, self.settings, known))

    async def _facts(self, task: str) -> Mapping[str, Any]:
        known = self._recall(task)
        if known is None:
            known = self._learn(task, await self.call("HGET", self.shared.tasks, task))
        return known

    def _recall(self, task: str) -> Mapping[str, Any] | None:
        at, facts = self._published.get(task, (0.0, {}))
        return facts if time.monotonic() - at < 60 and task in self._published else None

    def _learn(self, task: str, raw: bytes | None) -> Mapping[str, Any]:
        facts = msgspec.json.decode(raw) if raw else {}
        self._published[task] = (time.monotonic(), facts)
        return facts if isinstance(facts, dict) else {}

    async def _holder(self, job: Job[Any]) -> Job[Any]:
        found = await self.job(job.id, queue=job.queue)
        return msgspec.structs.replace(found, created=False) if found else job

    def _holder_sync(self, job: Job[Any]) -> Job[Any]:
        found = self.job_sync(job.id, queue=job.queue)
        return msgspec.structs.replace(found, created=False) if found else job

    # Looking up

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
                return found
        return None

    async def _read(self, keys: QueueKeys, job_id: str) -> Found:
        connector = self.connector
        await connector.ensure()

        async def read() -> list[Any]:
            async with connector.client().pipeline(transaction=not connector.cluster) as pipe:
                stage(pipe, keys, job_id)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
                return answers

        try:
            answers = await repeat(read, limit=PATIENCE)
        except _SERVER_ERRORS as error:
            raise connector.translate(error) from error
        return read_found(keys, job_id, _raise_first(answers))

    async def job(self, job_id: str, *, queue: str | None = None) -> Job[Any] | None:
        """Return a job in whatever state it is; None when there is no record of it.

        Known queues are probed one by one; naming the queue skips that.
        """
        if isinstance(self._other, InlineSender):
            return self._other.jobs.get(job_id)
        found = await self.find(job_id, queue=queue)
        return found.job(self.settings.max_retries) if found else None

    def job_sync(self, job_id: str, *, queue: str | None = None) -> Job[Any] | None:
        """Do what `job` does, without an event loop."""
        if isinstance(self._other, InlineSender):
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
                job: Job[Any] = found.job(self.settings.max_retries)
                return job
        return None

    def _read_sync(self, keys: QueueKeys, job_id: str) -> Found:
        connector = self.connector
        connector.ensure_sync()

        def read() -> list[Any]:
            with connector.sync_client().pipeline(transaction=not connector.cluster) as pipe:
                stage(pipe, keys, job_id)
                answers: list[Any] = pipe.execute(raise_on_error=False)
                return answers

        try:
            answers = repeat_sync(read, limit=PATIENCE)
        except _SERVER_ERRORS as error:
            raise connector.translate(error) from error
        return read_found(keys, job_id, _raise_first(answers))

    async def result(
        self, job_id: str, *, timeout: float | None = None, queue: str | None = None
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
        found = await self.find(job_id, queue=queue) if self._other is None else None
        if found is None:
            raise _not_found(job_id)
        answer = await self.execute(verbs.move(self.keys(found.queue), "cancel", actor, [job_id]))
        moved = verbs.read_moved(answer)[0]
        if moved.outcome == "requested":
            await self.call("RPUSH", self.shared.control(moved.owner), f"cancel {job_id}")
        return moved.outcome

    def cancel_sync(
        self, job_id: str, *, queue: str | None = None, actor: str = "the application"
    ) -> str:
        """Do what `cancel` does, without an event loop."""
        found = self.job_sync(job_id, queue=queue) if self._other is None else None
        if found is None:
            raise _not_found(job_id)
        answer = self.execute_sync(verbs.move(self.keys(found.queue), "cancel", actor, [job_id]))
        moved = verbs.read_moved(answer)[0]
        if moved.outcome == "requested":
            self.call_sync("RPUSH", self.shared.control(moved.owner), f"cancel {job_id}")
        return moved.outcome

    # Everything else stands to the left of this file, and is imported when asked for.

    def worker(
        self,
        queues: str | Sequence[str] | None = None,
        concurrency: int | None = None,
        *,
        burst: bool = False,
        grace: float | None = None,
        **options: Any,
    ) -> Worker:
        """Return a worker of this deck; `await worker.run()` runs it.

        `queues` are names in strict order, or with weights (`"default:3"`). None serves the queues
        of this deck's tasks and the default one. Raises SettingsError on the `sync` connection.
        """
        from qdeck.worker import Worker

        return Worker(self, queues, concurrency, burst=burst, grace=grace, **options)

    def admin(self, actor: str | None = None, read_only: bool = False) -> Operator:
        """Return the operator's door to this deck's server."""
        from qdeck.operator import Operator

        return Operator(self, actor=actor, read_only=read_only)

    def testing(self) -> TestBox:
        """Return a context manager within which nothing leaves the process; see `TestBox`."""
        from qdeck.testing import TestBox

        return TestBox(self)

    def swap_sender(self, sender: Sender | None) -> Sender | None:
        """Send calls elsewhere from now on (None: to the server) and return what took them."""
        before, self._other = self._other, sender
        return before


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
    raise JobCancelled(f"job {job.id} ({job.task}) was cancelled")


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
