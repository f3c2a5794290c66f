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

from qdeck.backoff import exponential
from qdeck.connection import repeat, repeat_sync
from qdeck.declare import declare_all
from qdeck.errors import (
    ConnectionFailed,
)
from qdeck.flow import CanCall, Flow, call_of
from qdeck.handle import TaskDecorators
from qdeck.inline import Elsewhere, InlineSender
from qdeck.inquiry import Inquiry
from qdeck.invoke import Middleware
from qdeck.job import Job
from qdeck.link import SERVER_ERRORS
from qdeck.payload import encode_mapping
from qdeck.producer import Batch, Entry, entries_of, entry_by_name, entry_of, job_of, jobs_of
from qdeck.record import decode_map
from qdeck.scripts import run, run_sync
from qdeck.settings import check_name, load_settings
from qdeck.task import Call, Registry
from qdeck.terms import make_options

if TYPE_CHECKING:
    from qdeck.operator import Operator
    from qdeck.testing import TestBox
    from qdeck.worker import Worker

__all__ = ["Deck", "Lifespan"]

R = TypeVar("R")

Lifespan = Callable[..., AbstractAsyncContextManager[Any]]


class Deck(TaskDecorators, Inquiry):
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
        super().__init__(load_settings(url, **settings))
        self.registry = Registry()
        self.lifespan = lifespan
        self.middleware: tuple[Middleware, ...] = tuple(middleware)
        self.app: str | None = None
        #: Whom single enqueues are put on record for; None: an application, which is not.
        self.actor: str | None = None
        self.backoff = exponential(base=self.settings.retry_backoff)
        self._published: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._other: Elsewhere | None = None
        if self.settings.connection == "sync":
            self._other = InlineSender(self.middleware, lifespan, self.settings)

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

    async def _create(self, batch: Batch) -> list[Any]:
        """Send a batch, as safely as `durability` asks for."""
        connector, command = self.connector, batch.command()
        if batch.keys.queue not in self._announced:
            try:
                await self.call("SADD", self.shared.queues, batch.keys.queue)
            except ConnectionFailed as error:
                raise batch.unsent(error) from error
            self._announced.add(batch.keys.queue)
        try:
            if self.settings.durability is None:
                answer: list[Any] = await self.execute(command)
                return answer
            await connector.ensure()
            link = connector.confirming()
            answer = await repeat(lambda: run(link, command), limit=self.patience)
        except ConnectionFailed as error:
            raise batch.unknown(error) from error
        except SERVER_ERRORS as error:
            raise batch.unknown(connector.translate(error)) from error
        if link.shortfall is not None:
            raise batch.not_durable(answer, link.shortfall)
        return answer

    def _create_sync(self, batch: Batch) -> list[Any]:
        connector, command = self.connector, batch.command()
        if batch.keys.queue not in self._announced:
            try:
                self.call_sync("SADD", self.shared.queues, batch.keys.queue)
            except ConnectionFailed as error:
                raise batch.unsent(error) from error
            self._announced.add(batch.keys.queue)
        try:
            if self.settings.durability is None:
                answer: list[Any] = self.execute_sync(command)
                return answer
            connector.ensure_sync()
            link = connector.confirming_sync()
            answer = repeat_sync(lambda: run_sync(link, command), limit=self.patience)
        except ConnectionFailed as error:
            raise batch.unknown(error) from error
        except SERVER_ERRORS as error:
            raise batch.unknown(connector.translate(error)) from error
        if link.shortfall is not None:
            raise batch.not_durable(answer, link.shortfall)
        return answer

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
        batch = Batch(self.keys(entry.queue), self.settings.max_size, [entry], self.actor)
        answer = await self._create(batch)
        job = job_of(entry, answer[0], answer[1])
        return job if job.created else await self._holder(job)

    def _send_one_sync(self, entry: Entry) -> Job[Any]:
        batch = Batch(self.keys(entry.queue), self.settings.max_size, [entry])
        answer = self._create_sync(batch)
        job = job_of(entry, answer[0], answer[1])
        return job if job.created else self._holder_sync(job)

    async def send_flow(self, flow: Flow) -> list[Job[Any]]:
        """Enqueue the jobs of a chain or group; see `Flow.enqueue`."""
        if self._other is not None:
            return await self._other.send_flow(flow)
        entries = entries_of(flow, self.settings)
        jobs: dict[str, Job[Any]] = {}
        for batch in Batch.split_flow(entries, self.keys, self.settings.max_size):
            answer = await self._create(batch)
            for entry, word in zip(batch.entries, answer[1:], strict=True):
                job = job_of(entry, answer[0], word)
                jobs[entry.id] = job if job.created else await self._holder(job)
        return [jobs[entry.id] for entry in entries]

    def send_flow_sync(self, flow: Flow) -> list[Job[Any]]:
        """Enqueue the jobs of a chain or group without an event loop."""
        if self._other is not None:
            return self._other.send_flow_sync(flow)
        entries = entries_of(flow, self.settings)
        jobs: dict[str, Job[Any]] = {}
        for batch in Batch.split_flow(entries, self.keys, self.settings.max_size):
            answer = self._create_sync(batch)
            for entry, word in zip(batch.entries, answer[1:], strict=True):
                job = job_of(entry, answer[0], word)
                jobs[entry.id] = job if job.created else self._holder_sync(job)
        return [jobs[entry.id] for entry in entries]

    async def enqueue_many(self, calls: Iterable[CanCall[R]]) -> list[Job[R]]:
        """Enqueue many calls, 500 a script, each such chunk all or nothing.

        Returns the jobs in the order of the calls. Chunks before one that fails are enqueued.
        """
        found = _calls(calls)
        if self._other is not None:
            return [await self._other.send(call) for call in found]
        jobs: list[Any] = [None] * len(found)
        filed: list[int] = []
        last: Batch | None = None
        sending: asyncio.Task[list[Any]] | None = None
        try:
            for places, batch in Batch.of_calls(found, self.settings, self.keys):
                answer = None if sending is None else await sending
                sending = asyncio.create_task(self._create(batch))
                # Twice, so that it is on its way: what follows is done while the server works.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if last is not None and answer is not None:
                    await self._file(jobs, filed, last, answer)
                filed, last = places, batch
            if last is not None and sending is not None:
                await self._file(jobs, filed, last, await sending)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        return jobs

    async def _file(
        self, jobs: list[Any], places: list[int], batch: Batch, answer: list[Any]
    ) -> None:
        """Put the jobs of a batch in their places."""
        for place, job in zip(places, jobs_of(batch, answer), strict=True):
            jobs[place] = job if job.created else await self._holder(job)

    def enqueue_many_sync(self, calls: Iterable[CanCall[R]]) -> list[Job[R]]:
        """Do what `enqueue_many` does, without an event loop."""
        found = _calls(calls)
        if self._other is not None:
            return [self._other.send_sync(call) for call in found]
        jobs: list[Any] = [None] * len(found)
        for places, batch in Batch.of_calls(found, self.settings, self.keys):
            answer = self._create_sync(batch)
            for place, job in zip(places, jobs_of(batch, answer), strict=True):
                jobs[place] = job if job.created else self._holder_sync(job)
        return jobs

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

    async def try_enqueue(
        self, task: str, payload: Mapping[str, Any] | None = None, **options: Any
    ) -> Entry:
        """Return what `enqueue` would send, refused like that; nothing is sent."""
        spec = self.registry.find(check_name("task", task))
        raw = encode_mapping(task, payload or {})
        chosen = make_options(**options)
        if spec is not None:
            raw = spec.encode((), dict(payload or {}))
            return entry_of(Call(spec, raw, chosen), self.settings)
        if self._other is not None:
            self.registry.get(task)
        facts = await self._facts(task)
        return entry_by_name(task, raw, chosen, self.settings, facts)

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
        facts = self._facts_sync(task)
        return self._send_one_sync(entry_by_name(task, raw, chosen, self.settings, facts))

    async def retries_of(self, task: str) -> int:
        """Return how often jobs of a task are retried that do not say so themselves: as its code or
        what workers published says, else as the settings do.
        """
        spec = self.registry.find(task)
        said = spec.max_retries if spec else (await self._facts(task)).get("max_retries")
        return said if isinstance(said, int) else self.settings.max_retries

    def retries_of_sync(self, task: str) -> int:
        """Do what `retries_of` does, without an event loop."""
        spec = self.registry.find(task)
        said = spec.max_retries if spec else self._facts_sync(task).get("max_retries")
        return said if isinstance(said, int) else self.settings.max_retries

    async def _facts(self, task: str) -> Mapping[str, Any]:
        known = self._recall(task)
        if known is None:
            known = self._learn(task, await self.call("HGET", self.shared.tasks, task))
        return known

    def _facts_sync(self, task: str) -> Mapping[str, Any]:
        known = self._recall(task)
        if known is None:
            known = self._learn(task, self.call_sync("HGET", self.shared.tasks, task))
        return known

    def _recall(self, task: str) -> Mapping[str, Any] | None:
        at, facts = self._published.get(task, (0.0, {}))
        return facts if time.monotonic() - at < 60 and task in self._published else None

    def _learn(self, task: str, raw: bytes | None) -> Mapping[str, Any]:
        facts = decode_map(raw)
        if facts:
            self._published[task] = (time.monotonic(), facts)
        return facts

    async def _holder(self, job: Job[Any]) -> Job[Any]:
        found = await self.job(job.id, queue=job.queue)
        return msgspec.structs.replace(found, created=False) if found else job

    def _holder_sync(self, job: Job[Any]) -> Job[Any]:
        found = self.job_sync(job.id, queue=job.queue)
        return msgspec.structs.replace(found, created=False) if found else job

    async def declare(self) -> list[str]:
        """Create the schedules that code declares where they are absent, as a worker does at its
        start; return their names.
        """
        return await declare_all(self, self.registry)

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

    def swap_sender(self, sender: Elsewhere | None) -> Elsewhere | None:
        """Send calls elsewhere from now on (None: to the server) and return what took them."""
        before, self._other = self._other, sender
        return before


def _calls(given: Iterable[CanCall[R]]) -> list[Call[R]]:
    return [one if isinstance(one, Call) else call_of(one) for one in given]
