"""Help for tests of applications: within `with deck.testing() as t:` nothing leaves the process."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from qdeck.classtask import Task
from qdeck.errors import Discard, Snooze
from qdeck.flow import Flow
from qdeck.handle import TaskHandle
from qdeck.inline import Elsewhere, NoSink, run_apart, run_inline, start_job
from qdeck.job import Job, JobFailure, State
from qdeck.task import Call

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["TestBox"]

R = TypeVar("R")


class TestBox:
    """Collects what a deck enqueues, and runs it on demand.

    Unique keys hold within the box. Leaving it forgets everything.
    """

    __test__ = False

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._calls: dict[str, Call[Any]] = {}
        self.jobs: dict[str, Job[Any]] = {}
        self._unique: dict[str, str] = {}
        self._after: dict[str, list[str]] = {}
        self._before: Elsewhere | None = None

    def __enter__(self) -> TestBox:
        self._before = self._deck.swap_sender(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deck.swap_sender(self._before)

    async def send(self, call: Call[R]) -> Job[R]:
        """Take one call."""
        return self.send_sync(call)

    def send_sync(self, call: Call[R]) -> Job[R]:
        """Take one call."""
        digest = call.unique_key()
        holder = self.jobs.get(self._unique.get(digest, "")) if digest else None
        if holder is not None and not holder.state.finished:
            return msgspec.structs.replace(holder, created=False)
        job: Job[R] = start_job(call, self._deck.settings)
        if call.options.delay or call.options.at is not None:
            job = msgspec.structs.replace(job, state=State.SCHEDULED)
        self._calls[job.id], self.jobs[job.id] = call, job
        if digest:
            self._unique[digest] = job.id
        return job

    async def send_flow(self, flow: Flow) -> list[Job[Any]]:
        """Take the calls of a flow."""
        return self.send_flow_sync(flow)

    def send_flow_sync(self, flow: Flow) -> list[Job[Any]]:
        """Take the calls of a flow; those that wait for others are scheduled."""
        taken: list[Job[Any]] = []
        for call, places in zip(flow.calls, flow.after, strict=True):
            job = self.send_sync(call)
            if places:
                self._after[job.id] = [taken[at].id for at in places]
                job = msgspec.structs.replace(job, state=State.SCHEDULED)
                self.jobs[job.id] = job
            taken.append(job)
        return taken

    def _waits(self, job: Job[Any]) -> bool:
        """Whether a job that this one waits for has not completed."""
        return any(
            self.jobs[name].state is not State.COMPLETED for name in self._after.get(job.id, ())
        )

    def cancel(self, job_id: str) -> str | None:
        """Cancel a job that has not run."""
        job = self.jobs.get(job_id)
        if job is None or job.state.finished:
            return None if job is None else "finished"
        self.jobs[job_id] = msgspec.structs.replace(job, state=State.CANCELLED)
        return "cancelled"

    def enqueued(
        self, task: TaskHandle[Any, Any] | type[Task] | str | None = None
    ) -> list[Job[Any]]:
        """Return the jobs taken so far, of one task or of all, in order, as they stand now."""
        name = task
        if isinstance(task, TaskHandle):
            name = task.name
        elif isinstance(task, type):
            name = next(
                (spec.name for spec in self._deck.registry if spec.struct is task), task.__name__
            )
        return [job for job in self.jobs.values() if name is None or job.task == name]

    def drain(self) -> list[Job[Any]]:
        """Run everything to its end, with its retries and without their delays, and return it.

        Jobs that handlers enqueue meanwhile are run too. A failing job ends dead; its error is in
        `job.error`. What waits for a job that ended otherwise than completed stays as it is.
        """
        ended: list[Job[Any]] = []
        while True:
            waiting = [
                job for job in self.jobs.values() if not job.state.finished and not self._waits(job)
            ]
            if not waiting:
                return ended
            first = max(waiting, key=lambda job: job.priority)
            self.jobs[first.id] = done = self._run(first)
            ended.append(done)

    def _run(self, job: Job[Any]) -> Job[Any]:
        call, deck = self._calls[job.id], self._deck
        attempt, snoozed, after = 0, 0, self._after.get(job.id, ())
        while True:
            attempt += 1
            started, sink = datetime.now(UTC), NoSink()
            run = partial(
                run_inline, call, job, attempt, deck.middleware, deck.lifespan, sink, after
            )
            try:
                value = run_apart(run)
            except Snooze:
                attempt -= 1
                snoozed += 1
                if snoozed > 1000:
                    raise
                continue
            except Exception as error:
                args, _ = call.spec.decode(call.payload)
                again = attempt < job.max_attempts and not isinstance(error, Discard)
                if again and call.spec.retries(error, args):
                    continue
                failed = error
                run_apart(lambda: call.spec.run_failed(failed, args))  # noqa: B023
                return self._ended(job, attempt, started, sink, State.DEAD, error, None)
            return self._ended(job, attempt, started, sink, State.COMPLETED, None, value)

    @staticmethod
    def _ended(
        job: Job[Any],
        attempt: int,
        started: datetime,
        sink: NoSink,
        state: State,
        error: Exception | None,
        value: Any,
    ) -> Job[Any]:
        return msgspec.structs.replace(
            job,
            state=state,
            attempt=attempt,
            started_at=started,
            finished_at=datetime.now(UTC),
            progress=sink.last[0],
            message=sink.last[1],
            error=JobFailure(type(error).__name__, str(error)) if error is not None else None,
            result=value,
        )
