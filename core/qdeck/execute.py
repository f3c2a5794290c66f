"""Running one claimed job: from its record to the settle that says how it ended.

Owns the run as the worker sees it and the reading of outcomes. It sends nothing; who calls it
settles.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from qdeck.child import Order
from qdeck.context import Context
from qdeck.errors import Control
from qdeck.invoke import CallNext, Middleware, invoke, wrap
from qdeck.links import decode_names
from qdeck.logs import LogBuffer, current_log
from qdeck.outcome import Failed, Outcome, clean, encode_result, failed_from, simple
from qdeck.processes import Children, file_of
from qdeck.record import Record, Settle, decode_map
from qdeck.task import TaskSpec

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["Executor", "Run"]

_log = logging.getLogger("qdeck.worker")

#: Why a run is stopped from outside.
TIMEOUT: Final = "timeout"
CANCEL: Final = "cancel"
LOST: Final = "lost"
RELEASE: Final = "release"


class Run:
    """One claimed job on this worker; the sink of its context.

    `stopped` says why it was stopped from outside, `settled` that its settle is on its way or has
    been refused to be.
    """

    __slots__ = (
        "args",
        "attempt",
        "begun",
        "body",
        "cancelled",
        "deadline",
        "error",
        "fence",
        "id",
        "insisted",
        "job",
        "kwargs",
        "listener",
        "log",
        "message",
        "percent",
        "queue",
        "settled",
        "spec",
        "started",
        "stopped",
        "threads",
        "timeout",
    )

    def __init__(
        self,
        job_id: str,
        fence: int,
        attempt: int,
        queue: str,
        record: Record,
        spec: TaskSpec,
        timeout: float,
        listener: Callable[[Any], object],
    ) -> None:
        self.id = job_id
        self.fence = fence
        self.attempt = attempt
        self.queue = queue
        self.body = record.body
        self.spec = spec
        self.timeout = timeout
        self.listener = listener
        self.started = time.monotonic()
        self.deadline = self.started + timeout if timeout > 0 else float("inf")
        self.log = LogBuffer(job_id, attempt, listener, self)
        self.job: asyncio.Task[None] | None = None
        self.begun = False
        self.insisted = 0
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.cancelled = False
        self.stopped = ""
        self.settled = False
        self.threads = 0
        self.error: BaseException | None = None
        self.percent: float | None = None
        self.message: str | None = None

    def progress(self, percent: float | None, message: str | None) -> None:
        """Take the newest progress; the worker sends it a few times a second."""
        if percent is not None:
            self.percent = percent
        if message is not None:
            self.message = clean(message, 500)
        self.listener(self)

    def stop(self, reason: str) -> None:
        """Stop the run for a reason; the first one counts, except that a lost lease always does."""
        self.cancelled = True
        if not self.stopped or reason == LOST:
            self.stopped = reason
        # A task that is cancelled before its first step would never run, nor end its run.
        if self.job is not None and self.begun:
            self.job.cancel(reason)


class Executor:
    """Runs jobs of one deck on one loop; `children` is made when the first process task comes."""

    def __init__(
        self,
        deck: Deck,
        state: Any,
        middleware: Sequence[Middleware],
        children: Callable[[], Children],
        in_thread: Callable[[Run, Callable[[], Any]], Any],
    ) -> None:
        self._deck = deck
        self._state = state
        self._middleware = middleware
        self._children = children
        self._in_thread = in_thread
        self._pid = os.getpid()
        self._loggers: dict[str, logging.Logger] = {}

    async def run(self, run: Run) -> Settle | None:
        """Run a job to its end; None when its lease is lost and nothing may be settled."""
        run.begun = True
        current_log.set(run.log)
        outcome: Outcome
        spec = run.spec
        try:
            run.args, run.kwargs = spec.decode(run.body.payload)  # type: ignore[arg-type]
        except Exception as error:
            said = clean(error)
            return self.settle(run, simple(spec.name, "InvalidPayload", said, final=said))
        try:
            if run.stopped:
                raise asyncio.CancelledError(run.stopped)
            if spec.kind == "process":
                outcome = await self._in_child(run)
            elif spec.is_async and not spec.wants_ctx and not self._middleware:
                # Nobody would look at a context, so none is made.
                value = await spec.fn(*run.args, **run.kwargs)
                outcome = None if value is None else encode_result(spec.name, value)
            else:
                value = await invoke(
                    spec,
                    self._context(run),
                    run.args,
                    run.kwargs,
                    self._middleware,
                    lambda call: self._in_thread(run, call),
                )
                outcome = None if value is None else encode_result(spec.name, value)
        except BaseException as error:
            # SystemExit and KeyboardInterrupt too: a handler does not end the worker.
            self._leave_a_fork()
            outcome = self._ended(run, error)
            if outcome is None:
                return None
        if os.getpid() != self._pid:
            self._leave_a_fork()
        run.log.finish()
        return self.settle(run, outcome)

    def settle(self, run: Run, outcome: Outcome) -> Settle:
        """Return what is settled for an outcome."""
        spec = run.spec
        run_ms = (time.monotonic() - run.started) * 1000
        if not isinstance(outcome, Failed):
            plain = run.fence == 1 and not run.log.said and not run.body.unique
            kind, links = "p" if plain else "c", run.body.links
            settle = Settle(run.id, run.fence, kind, spec.name, run_ms, outcome)
            if links is not None:
                settle.then = links.then
            return settle
        if run.stopped == RELEASE and outcome.type == "Released":
            return Settle(run.id, run.fence, "b", spec.name)
        if outcome.snooze is not None:
            return Settle(run.id, run.fence, "s", spec.name, run_ms, int(outcome.snooze * 1000))
        final = outcome.final
        if final is None and run.error is not None and not spec.retries(run.error, run.args):
            final = "should_retry said no"
        delay = outcome.after
        if delay is None:
            delay = spec.delay_after(run.attempt, run.args, self._deck.backoff)
        return Settle(
            run.id,
            run.fence,
            "f",
            spec.name,
            run_ms,
            int(max(delay, 0.0) * 1000),
            self._retries(run),
            final,
            outcome.type,
            outcome.message,
            outcome.traceback,
            outcome.fingerprint,
        )

    def _context(self, run: Run) -> Context:
        name = run.spec.name
        log = self._loggers.get(name)
        if log is None:
            log = self._loggers[name] = logging.getLogger(f"qdeck.job.{name}")
        metadata = decode_map(run.body.metadata) if run.body.metadata else {}
        return Context(
            job_id=run.id,
            task=name,
            queue=run.queue,
            attempt=run.attempt,
            max_attempts=self._most(run),
            metadata=metadata,
            log=log,
            sink=run,
            state=self._state,
            after=_after(run),
        )

    def _retries(self, run: Run) -> int:
        if run.body.max_retries >= 0:
            return run.body.max_retries
        own = run.spec.max_retries
        return own if own is not None else self._deck.settings.max_retries

    def _most(self, run: Run) -> int:
        return self._retries(run) + 1

    async def _in_child(self, run: Run) -> Outcome:
        module = run.spec.module
        order = Order(
            self._deck.app or "",
            module,
            file_of(module),
            run.spec.name,
            run.body.payload.encode(),
            run.id,
            run.fence,
            run.queue,
            run.attempt,
            self._most(run),
            decode_map(run.body.metadata),
            _after(run),
        )
        if not self._middleware:
            return await self._children().run(order)
        # Middleware wraps the run here; the child's outcome passes through it as a value or error.

        async def call_next(_: Context | None = None) -> Any:
            outcome = await self._children().run(order)
            if isinstance(outcome, Failed):
                raise _ChildFailed(outcome)
            return outcome

        ctx = self._context(run)
        step: CallNext = call_next
        for layer in reversed(self._middleware):
            step = wrap(layer, ctx, step)
        try:
            outcome: Outcome = await step()
        except _ChildFailed as error:
            return error.failed
        return outcome

    def _ended(self, run: Run, error: BaseException) -> Failed | None:
        """Return the outcome of a run that raised; one that was stopped ends for that reason,
        whatever the handler made of it, unless it says how it wants to end.
        """
        name = run.spec.name
        if run.stopped == LOST:
            _log.warning(
                "job %s: its lease was lost; it was stopped and nothing is settled", run.id
            )
            return None
        if isinstance(error, Control):
            run.error = error
            return failed_from(name, error)
        if run.stopped == TIMEOUT:
            return simple(name, "TimeoutError", f"the run took longer than {run.timeout:g} s")
        if run.stopped == CANCEL:
            return simple(name, "Cancelled", "stopped because a cancel was asked for")
        if run.stopped == RELEASE:
            return simple(name, "Released", "given back because the worker stops")
        run.error = error
        return failed_from(name, error)

    def _leave_a_fork(self) -> None:
        # A handler forked and its child came back here: only the parent settles and runs on.
        if os.getpid() != self._pid:
            os._exit(0)


def _after(run: Run) -> tuple[str, ...]:
    """Return the ids of the jobs that a run's job waited for."""
    links = run.body.links
    return tuple(job_id for _, job_id in decode_names(links.after)) if links else ()


class _ChildFailed(Exception):
    """Carries a child's failure through the middleware of its run."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(f"{failed.type}: {failed.message}")
        self.failed = failed
