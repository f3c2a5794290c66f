"""The `sync` connection: nothing is stored, a dispatch runs the handler here and now.

Delay and queue are ignored with a logged warning, nothing is retried, and what the handler raises
reaches the caller.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec

from qdeck.context import Context
from qdeck.errors import Control
from qdeck.flow import Flow
from qdeck.invoke import Middleware, invoke
from qdeck.job import Job, JobFailure, State, new_id
from qdeck.settings import Settings
from qdeck.task import Call, Sender

__all__ = ["Elsewhere", "InlineSender", "NoSink", "open_lifespan", "run_inline"]

R = TypeVar("R")
Lifespan = Callable[..., AbstractAsyncContextManager[Any]]

_log = logging.getLogger("qdeck.inline")
#: Finished jobs that `job()` and `result()` remember on this connection.
_REMEMBERED: Final = 10_000


class Elsewhere(Sender, Protocol):
    """Takes the calls of a deck instead of a server, and knows the jobs that it made of them."""

    @property
    def jobs(self) -> Mapping[str, Job[Any]]:
        """The jobs by their ids."""
        ...

    def cancel(self, job_id: str) -> str | None:
        """Cancel a job: "cancelled" or "finished", None for one it does not know."""
        ...


class NoSink:
    """Takes progress into a plain attribute; nobody asks an inline run to stop."""

    def __init__(self) -> None:
        self.last: tuple[float | None, str | None] = (None, None)

    def progress(self, percent: float | None, message: str | None) -> None:
        """Keep the newest progress."""
        self.last = (
            percent if percent is not None else self.last[0],
            message if message is not None else self.last[1],
        )

    @property
    def cancelled(self) -> bool:
        """Never."""
        return False


def open_lifespan(lifespan: Lifespan | None, deck: object = None) -> Any:
    """Return the context manager of a lifespan hook, which may take the deck as its argument."""
    if lifespan is None:
        return nullcontext()
    try:
        wants = bool(inspect.signature(lifespan).parameters)
    except (TypeError, ValueError):
        wants = False
    return lifespan(deck) if wants else lifespan()


def start_job(call: Call[R], settings: Settings, queue: str | None = None) -> Job[R]:
    """Return the job of a call that no server numbers."""
    spec, options = call.spec, call.options
    retries = options.max_retries
    if retries is None:
        retries = spec.max_retries if spec.max_retries is not None else settings.max_retries
    now = datetime.now(UTC)
    return Job(
        id=new_id(),
        task=spec.name,
        queue=queue or options.queue or spec.queue or settings.default,
        state=State.PENDING,
        priority=options.priority if options.priority is not None else spec.priority,
        max_attempts=retries + 1,
        payload=msgspec.json.decode(call.payload),
        metadata=dict(options.metadata or {}),
        created_at=now,
        available_at=now,
    )


async def run_inline(
    call: Call[Any],
    job: Job[Any],
    attempt: int,
    middleware: Sequence[Middleware],
    lifespan: Lifespan | None,
    sink: NoSink,
    after: Sequence[str] = (),
) -> Any:
    """Run a job's handler once in this process and return its value; what it raises is raised.

    `after` are the ids of the jobs that it waited for.
    """
    args, kwargs = call.spec.decode(call.payload)
    async with open_lifespan(lifespan) as state:
        ctx = Context(
            job_id=job.id,
            task=job.task,
            queue=job.queue,
            attempt=attempt,
            max_attempts=job.max_attempts,
            metadata=job.metadata,
            log=logging.getLogger(f"qdeck.job.{job.task}"),
            sink=sink,
            state=state,
            after=tuple(after),
        )
        return await invoke(call.spec, ctx, args, kwargs, middleware)


def run_apart(work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run a coroutine to its end from code without a loop, or in a thread beside a running one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    box: list[R] = []
    failed: list[BaseException] = []

    def target() -> None:
        try:
            box.append(asyncio.run(work()))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=target, name="qdeck-inline")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return box[0]


class InlineSender:
    """Runs each call at once; `jobs` remembers the last 10,000."""

    def __init__(
        self, middleware: Sequence[Middleware], lifespan: Lifespan | None, settings: Settings
    ) -> None:
        self.jobs: OrderedDict[str, Job[Any]] = OrderedDict()
        self._middleware = middleware
        self._lifespan = lifespan
        self._settings = settings

    async def send(self, call: Call[R]) -> Job[R]:
        """Run the handler (an async one in a thread of its own loop) and return the ended job."""
        return await asyncio.to_thread(self.send_sync, call)

    def send_sync(self, call: Call[R]) -> Job[R]:
        """Run the handler and return the completed job; what it raises is raised."""
        return self._run(call, ())

    async def send_flow(self, flow: Flow) -> list[Job[Any]]:
        """Run the handlers in their order (in a thread) and return the ended jobs."""
        return await asyncio.to_thread(self.send_flow_sync, flow)

    def send_flow_sync(self, flow: Flow) -> list[Job[Any]]:
        """Run the handlers in their order; what one raises is raised, and ends it there."""
        done: list[Job[Any]] = []
        for call, places in zip(flow.calls, flow.after, strict=True):
            done.append(self._run(call, [done[at].id for at in places]))
        return done

    def _run(self, call: Call[R], after: Sequence[str]) -> Job[R]:
        options = call.options
        if options.delay or options.at is not None or options.queue is not None:
            _log.warning(
                "task %s: the sync connection runs it now; delay and queue are ignored",
                call.spec.name,
            )
        queue = call.spec.queue or self._settings.default
        job: Job[R] = start_job(call, self._settings, queue)
        started, sink = datetime.now(UTC), NoSink()
        try:
            value = run_apart(
                lambda: run_inline(call, job, 1, self._middleware, self._lifespan, sink, after)
            )
        except BaseException as error:
            self._remember(self._ended(job, started, sink, State.DEAD, error))
            if isinstance(error, Exception) and not isinstance(error, Control):
                failed = error
                args, _ = call.spec.decode(call.payload)
                run_apart(lambda: call.spec.run_failed(failed, args))
            raise
        done = msgspec.structs.replace(
            self._ended(job, started, sink, State.COMPLETED, None), result=value
        )
        self._remember(done)
        return done

    def cancel(self, job_id: str) -> str | None:
        """Say that a job is finished: here it is when its enqueue returns."""
        return "finished" if job_id in self.jobs else None

    def _ended(
        self,
        job: Job[R],
        started: datetime,
        sink: NoSink,
        state: State,
        error: BaseException | None,
    ) -> Job[R]:
        failure = JobFailure(type(error).__name__, str(error)) if error is not None else None
        return msgspec.structs.replace(
            job,
            state=state,
            attempt=1,
            started_at=started,
            finished_at=datetime.now(UTC),
            progress=sink.last[0],
            message=sink.last[1],
            error=failure,
        )

    def _remember(self, job: Job[Any]) -> None:
        self.jobs[job.id] = job
        while len(self.jobs) > _REMEMBERED:
            self.jobs.popitem(last=False)
