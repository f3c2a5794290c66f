"""The slots of a worker: what runs in them, in which threads and children, and for how long.

Owns the runs from their claim until their settle is acknowledged. A run whose thread goes on past
its end keeps a slot.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from qdeck.child import Report
from qdeck.execute import CANCEL, LOST, RELEASE, TIMEOUT, Executor, Run
from qdeck.line import Line, Lines
from qdeck.outcome import simple
from qdeck.processes import Children
from qdeck.queue import Claimed
from qdeck.record import Settle, read_record
from qdeck.reports import Reports

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["MOST_SLOTS", "Runs"]

_log = logging.getLogger("qdeck.worker")
#: Seconds after which a handler that ignores its cancellation is cancelled again.
INSIST_EVERY: Final = 1.0
#: So many times; then the run is settled without its handler.
INSIST_MOST: Final = 5
#: Slots that a worker has at most.
MOST_SLOTS: Final = 10_000


class Runs:
    """Up to `size` jobs at a time of one worker on one loop; `kick` is set when one has ended."""

    def __init__(
        self,
        deck: Deck,
        size: int,
        lines: Lines,
        reports: Reports,
        kick: asyncio.Event,
        state: Any,
    ) -> None:
        self._deck = deck
        self._size = size
        self._lines = lines
        self._reports = reports
        self._kick = kick
        self._loop = asyncio.get_running_loop()
        self._runs: dict[str, Run] = {}
        self._orphans = 0
        self._children: Children | None = None
        # Slots bound the threads, and their number may grow; a thread begins when it is needed.
        self._threads = ThreadPoolExecutor(MOST_SLOTS, thread_name_prefix="qdeck-job")
        self._watch: asyncio.TimerHandle | None = None
        self._watch_at = float("inf")
        self.active = 0
        self.begun = 0
        self.executor = Executor(deck, state, deck.middleware, self._get_children, self._in_thread)

    def __bool__(self) -> bool:
        """Whether any run is not settled and acknowledged."""
        return bool(self._runs)

    @property
    def free(self) -> int:
        """How many jobs could be begun now."""
        return self._size - self.active - self._orphans

    def resize(self, size: int) -> None:
        """Run up to so many jobs at a time from now on; what runs goes on."""
        self._size = size
        self._lines.heat()
        self._kick.set()

    def held(self) -> list[Run]:
        """Return the runs whose leases must be kept; thread-safe."""
        return list(self._runs.values())

    def of(self, settles: Sequence[Settle]) -> list[Run]:
        """Return the runs that these settles end."""
        found = [self._runs.get(settle.id) for settle in settles]
        return [run for run in found if run is not None]

    def cancel(self, job_id: str) -> None:
        """Stop a run because somebody asked for it; a thread task only sees `ctx.cancelled`."""
        run = self._runs.get(job_id)
        if run is None or run.settled:
            return
        if run.spec.kind == "thread":
            run.cancelled = True
            return
        run.stop(CANCEL)

    def begin(self, line: Line, claimed: Claimed) -> None:
        """Run a claimed job; one that cannot be run is settled at once."""
        record = read_record(claimed.record)
        if record is None:
            line.finished.append(_unreadable(claimed))
            return
        spec = self._deck.registry.find(record.body.task)
        settings = self._deck.settings
        if spec is None:
            line.finished.append(_unknown(claimed, record.body.task, settings.unknown_task_grace))
            return
        timeout = record.body.timeout / 1000
        if timeout < 0:
            timeout = spec.timeout if spec.timeout is not None else settings.timeout
        run = Run(
            claimed.id,
            claimed.fence,
            claimed.attempt,
            line.name,
            record,
            spec,
            timeout,
            self._reports.note,
        )
        before = self._runs.get(run.id)
        if before is not None:
            # It was taken from this worker, and has come back to it before the run had ended.
            before.stop(LOST)
        self._runs[run.id] = run
        self.active += 1
        self.begun += 1
        run.job = self._loop.create_task(self._run(line, run))
        if run.deadline < self._watch_at:
            self._watch_deadline(run.deadline)

    async def _run(self, line: Line, run: Run) -> None:
        try:
            settle = await self.executor.run(run)
        except GeneratorExit:
            # The loop closed beside what never ends: there is no slot to give back.
            raise
        except BaseException as error:
            # Nothing a handler does leads here; whatever it is, the slot comes back. A loop that
            # closes cancels what is left, and that is no surprise.
            surprise = not isinstance(error, asyncio.CancelledError)
            _log.error("job %s: its run could not be ended", run.id, exc_info=surprise)
            settle = self.executor.settle(run, simple(run.spec.name, type(error).__name__, ""))
        if settle is not None and settle.kind == "f":
            _log.info(
                "job %s: %s failed: %s: %s", run.id, run.spec.name, settle.type, settle.message
            )
        self.active -= 1
        if run.threads:
            self._orphans += run.threads
            _log.warning(
                "job %s: thread task %s was stopped, but its thread runs on and keeps its slot",
                run.id,
                run.spec.name,
            )
        if settle is None or run.settled:
            self._drop(run)
            line.hot = True
        else:
            run.settled = True
            line.finished.append(settle)
        self._kick.set()

    def _watch_deadline(self, at: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch_at = at
        delay = max(at - time.monotonic(), 0.0) + 0.001
        self._watch = self._loop.call_later(delay, self._stop_overdue)

    def _stop_overdue(self) -> None:
        now, soonest = time.monotonic(), float("inf")
        for run in self._runs.values():
            if run.settled:
                continue
            if run.deadline <= now:
                run.stop(TIMEOUT)
                run.deadline = now + INSIST_EVERY
                run.insisted += 1
                if run.insisted > INSIST_MOST:
                    self._abandon(run)
                    continue
            soonest = min(soonest, run.deadline)
        self._watch, self._watch_at = None, float("inf")
        if soonest < float("inf"):
            self._watch_deadline(soonest)

    def _abandon(self, run: Run) -> None:
        """Settle a run whose handler ignores its cancellation; it keeps its slot till it ends."""
        said = f"the run took longer than {run.timeout:g} s and ignores its cancellation"
        _log.error("job %s (%s): %s", run.id, run.spec.name, said)
        run.settled = True
        settle = self.executor.settle(run, simple(run.spec.name, "TimeoutError", said))
        self._lines.named(run.queue).finished.append(settle)
        self._kick.set()

    def acknowledge(self, settle: Settle) -> Run | None:
        """Forget the run of a settle that the server has answered, and return it."""
        run = self._runs.get(settle.id)
        if run is None or run.fence != settle.fence:
            return None
        self._drop(run)
        return run

    async def release(self, patience: float) -> None:
        """Stop what runs and queue the settles that give it back; what ignores that is left."""
        for run in self.held():
            if not run.settled:
                run.stop(RELEASE)
        jobs = [run.job for run in self.held() if run.job is not None and not run.settled]
        if jobs:
            await asyncio.wait(jobs, timeout=patience)
        for run in self.held():
            if not run.settled:
                run.settled = True
                settle = Settle(run.id, run.fence, "b", run.spec.name)
                self._lines.named(run.queue).finished.append(settle)

    async def close(self) -> None:
        """End the children and let go of the threads."""
        if self._watch is not None:
            self._watch.cancel()
        if self._children is not None:
            await self._children.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _drop(self, run: Run) -> None:
        if self._runs.get(run.id) is run:
            del self._runs[run.id]

    def _get_children(self) -> Children:
        if self._children is None:
            server = self._deck.connector.private_path
            self._children = Children(MOST_SLOTS, self._reported, server)
        return self._children

    def _reported(self, report: Report) -> None:
        run = self._runs.get(report.job_id)
        if run is None or run.fence != report.fence:
            return
        if report.percent is not None or report.message is not None:
            run.progress(report.percent, report.message)
        for level, text in report.lines:
            run.log.add(level, text)

    async def _in_thread(self, run: Run, call: Callable[[], Any]) -> Any:
        """Run a plain function in one of this worker's threads, and know when it really ends."""
        loop, pid, context = self._loop, os.getpid(), copy_context()

        def work() -> tuple[Any, BaseException | None]:
            # An error is handed over as a value: a future cannot hold StopIteration, and
            # GeneratorExit out of one would end the run's own coroutine.
            try:
                return context.run(call), None
            except BaseException as error:
                return None, error
            finally:
                if os.getpid() != pid:
                    os._exit(0)
                self._post_thread_ended(run)

        future = self._threads.submit(work)
        run.threads += 1
        try:
            value, error = await asyncio.wrap_future(future, loop=loop)
        except asyncio.CancelledError:
            if future.cancel():
                # It had not begun, so it will not end.
                run.threads -= 1
            raise
        if error is not None:
            raise error
        return value

    def _post_thread_ended(self, run: Run) -> None:
        try:
            self._loop.call_soon_threadsafe(self._thread_ended, run)
        except RuntimeError:
            _log.debug("job %s: its thread ended after its worker", run.id)

    def _thread_ended(self, run: Run) -> None:
        run.threads -= 1
        if run.job is not None and run.job.done() and self._orphans:
            self._orphans -= 1
            self._kick.set()


def _unreadable(claimed: Claimed) -> Settle:
    failed = simple("?", "Unreadable", "the record is not readable")
    return Settle(
        claimed.id,
        claimed.fence,
        "f",
        "?",
        final=failed.message,
        type=failed.type,
        message=failed.message,
        fingerprint=failed.fingerprint,
    )


def _unknown(claimed: Claimed, task: str, grace: float) -> Settle:
    failed = simple(task, "UnknownTask", f"no worker knew task {task!r} for {grace:g} s")
    return Settle(
        claimed.id,
        claimed.fence,
        "u",
        task,
        value=int(grace * 1000),
        type=failed.type,
        message=failed.message,
        fingerprint=failed.fingerprint,
    )
