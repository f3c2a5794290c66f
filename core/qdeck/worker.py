"""The worker: claims jobs of its queues, runs them, and settles them together with the next claim.

Owns the slots, the order of the queues and the way a worker stops. Leases are the heart's, single
runs the executor's, trimming the upkeep's.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

import msgspec

from qdeck import logs
from qdeck import queue as verbs
from qdeck.child import Report
from qdeck.errors import QdeckError, SettingsError
from qdeck.execute import CANCEL, LOST, RELEASE, TIMEOUT, Executor, Run
from qdeck.heart import Heart
from qdeck.inline import open_lifespan
from qdeck.line import Line, Lines, parse_queues
from qdeck.outcome import simple
from qdeck.processes import Children
from qdeck.queue import CHUNK, Claimed
from qdeck.record import Settle, read_record
from qdeck.upkeep import Upkeep
from qdeck.wait import MarkerWait

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["Worker"]

_log = logging.getLogger("qdeck.worker")
#: Seconds between two sends of progress and log lines.
REPORT_EVERY: Final = 0.2
#: Seconds after which a handler that ignores its cancellation is cancelled again.
INSIST_EVERY: Final = 1.0
#: So many times; then the run is settled without its handler.
INSIST_MOST: Final = 5
#: Seconds between looks at the queues when a burst waits for the runs of other workers.
BURST_EVERY: Final = 0.2
#: Seconds that `failed` hooks have to end when the worker leaves.
HOOK_GRACE: Final = 5.0


class Worker:
    """Serves queues of a deck until it is stopped.

    `queues` are served in strict order, or by weight where weights are given. With `burst` it ends
    when nothing is pending, due now or running. `max_jobs` and `max_time` (seconds) end it cleanly.
    """

    def __init__(
        self,
        deck: Deck,
        queues: str | Sequence[str] | None = None,
        concurrency: int | None = None,
        *,
        burst: bool = False,
        grace: float | None = None,
        max_jobs: int | None = None,
        max_time: float | None = None,
        in_console: bool = False,
    ) -> None:
        settings = deck.settings
        if settings.connection == "sync":
            raise SettingsError(
                "a worker has nothing to do on the sync connection, which runs jobs where they are "
                "dispatched; use embedded, memory or redis"
            )
        self.deck = deck
        self.concurrency = settings.max_concurrent if concurrency is None else concurrency
        if type(self.concurrency) is not int or not 1 <= self.concurrency <= 10_000:
            raise SettingsError(f"concurrency {concurrency!r} must be from 1 to 10000")
        for name, value in (("grace", grace), ("max_time", max_time), ("max_jobs", max_jobs)):
            kinds = int if name == "max_jobs" else (int, float)
            if value is not None and not (isinstance(value, kinds) and value >= (name != "grace")):
                least = "0 or more seconds" if name == "grace" else "1 or more"
                raise SettingsError(f"{name} {value!r} must be {least}")
        self.grace = settings.grace if grace is None else float(grace)
        self.burst = burst
        self.max_jobs = max_jobs
        self.max_time = max_time
        self.in_console = in_console
        self.id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self.state = "running"
        self.done = 0
        self._lines = Lines(parse_queues(queues or settings.name or self._default_queues()), deck)
        self._runs: dict[str, Run] = {}
        self._active = 0
        self._orphans = 0
        self._begun = 0
        self._deadline: float | None = None
        self._started_ms = int(time.time() * 1000)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kick = asyncio.Event()
        self._dirty: set[LogOrRun] = set()
        self._reporting = False
        self._children: Children | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._hooks: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._watch_at = float("inf")
        self._force = asyncio.Event()
        self._ended = asyncio.Event()
        self.executor: Executor
        self._wait: MarkerWait

    @property
    def queues(self) -> list[str]:
        """The names of the queues served, in order."""
        return [line.name for line in self._lines]

    def _default_queues(self) -> list[str]:
        default = self.deck.settings.default
        names = [spec.queue or default for spec in self.deck.registry]
        return list(dict.fromkeys([*names, default]))

    # What other threads may call

    def post(self, call: Callable[..., object], *args: Any) -> None:
        """Have the loop call something soon; thread-safe, and nothing once the loop is closed."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(call, *args)
            except RuntimeError:
                _log.debug("worker %s: its loop is closed", self.id)

    def held(self) -> list[Run]:
        """Return the runs whose leases this worker must keep; thread-safe."""
        return list(self._runs.values())

    def describe(self, state: str | None = None) -> list[Any]:
        """Return what is published about this worker, as field and value in turn; thread-safe."""
        runs = self.held()
        fields: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "user": _user(),
            "state": state or self.state,
            "queues": ",".join(self.queues),
            "concurrency": self.concurrency,
            "running": min(len(runs), self._active),
            "held": " ".join(f"{run.queue}/{run.id}" for run in runs[:200]),
            "started": self._started_ms,
            "lease": int(self.deck.settings.lease * 1000),
            "memory": _memory(),
            "done": self.done,
        }
        flat: list[Any] = [part for pair in fields.items() for part in pair]
        for name in self.queues:
            flat += ("queue", name)
        return flat

    # Commands, on the loop

    def quiet(self) -> None:
        """Claim nothing more until `unquiet`."""
        if self.state == "running":
            self.state = "quiet"

    def unquiet(self) -> None:
        """Claim again after `quiet`."""
        if self.state == "quiet":
            self.state = "running"
            self._lines.heat()
            self._kick.set()

    def stop_soon(self) -> None:
        """Stop claiming; finish within the grace, give back the rest. A second call forces."""
        if self.state == "stopping":
            self._force.set()
        self.state = "stopping"
        self._kick.set()

    def force(self) -> None:
        """Stop now and give back what runs."""
        self.state = "stopping"
        self._force.set()
        self._kick.set()

    async def stop(self, *, force: bool = False) -> None:
        """Stop, and return when `run` has ended."""
        if self._loop is None:
            self.state = "stopping"
            return
        self.post(self.force if force else self.stop_soon_once)
        while not self._ended.is_set():  # noqa: ASYNC110 (whoever stops it may have another loop)
            await asyncio.sleep(0.01)

    def cancel_run(self, job_id: str) -> None:
        """Stop a run because somebody asked for it; a thread task only sees `ctx.cancelled`."""
        run = self._runs.get(job_id)
        if run is None or run.settled:
            return
        if run.spec.kind == "thread":
            run.cancelled = True
            return
        run.stop(CANCEL)

    # Life

    async def run(self) -> None:
        """Serve until stopped; raises SettingsError, and ConnectionFailed only before it serves."""
        self._loop = asyncio.get_running_loop()
        await self.deck.connector.ensure()
        self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="qdeck-job")
        self._wait = MarkerWait(self.deck, self._lines, self._kick)
        heart = Heart(self)
        logs.install()
        try:
            async with AsyncExitStack() as stack:
                state = await stack.enter_async_context(
                    open_lifespan(self.deck.lifespan, self.deck)
                )
                self.executor = Executor(
                    self.deck, state, self.deck.middleware, self._get_children, self._in_thread
                )
                await self._publish()
                heart.start()
                self._spawn(self._report_often())
                self._spawn(Upkeep(self.deck, self.queues).run())
                timer = None
                if self.max_time is not None:
                    timer = self._loop.call_later(self.max_time, self.stop_soon_once)
                try:
                    await self._serve()
                except BaseException:
                    await self._give_back()
                    raise
                finally:
                    if timer is not None:
                        timer.cancel()
                    await self._leave(heart)
        finally:
            logs.uninstall()
            self._loop = None
            self._ended.set()

    async def _publish(self) -> None:
        """Say which tasks and queues there are, and set the limits that the settings give."""
        deck = self.deck
        described = []
        for spec in deck.registry:
            facts = spec.describe() | {"queue": spec.queue or deck.settings.default}
            described += [spec.name, msgspec.json.encode(facts)]
        if described:
            await deck.call("HSET", deck.shared.tasks, *described)
        for line in self._lines:
            limit = deck.settings.limits.get(line.name)
            if limit is not None:
                await deck.execute(verbs.limit(line.keys, limit.limit, limit.rate))
        await deck.execute(verbs.register(deck.shared, self.id, True, self.describe()))

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_ended)
        return task

    def _background_ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("worker %s: a background task failed", self.id, exc_info=task.exception())

    async def _serve(self) -> None:
        """Go round and round: settle, claim, start; wait when there is nothing to do."""
        while True:
            if self.state == "stopping":
                if self._deadline is None:
                    self._deadline = time.monotonic() + self.grace
                if not self._runs and not any(line.finished for line in self._lines):
                    return
                if self._force.is_set() or time.monotonic() >= self._deadline:
                    await self._give_back()
                    return
            if await self._round():
                await asyncio.sleep(0)
            elif self.burst and not self._runs and self._lines.dry():
                if await self._drained():
                    self.state = "stopping"
                else:
                    await self._rest(BURST_EVERY)
            else:
                await self._rest()

    async def _drained(self) -> bool:
        """Whether nothing is pending or running in any queue, on other workers too."""
        for line in self._lines:
            try:
                paused = await self.deck.call("HEXISTS", line.keys.meta, "paused")
                if await self.deck.call("ZCARD", line.keys.lease):
                    return False
                if not paused and await self.deck.call("ZCARD", line.keys.ready):
                    return False
            except QdeckError as error:
                line.fail(error)
                return False
        return True

    async def _rest(self, most: float | None = None) -> None:
        """Wait until a run ends, a marker is popped, something is due, or the grace is over."""
        listen = self.state == "running" and self._free() > 0
        timeout = self._wait.begin(listen)
        if self._deadline is not None:
            most = max(self._deadline - time.monotonic(), 0.0)
        if most is not None:
            timeout = most if timeout is None else min(timeout, most)
        if timeout is None:
            await self._kick.wait()
        else:
            assert self._loop is not None
            timer = self._loop.call_later(timeout, self._kick.set)
            await self._kick.wait()
            timer.cancel()
        self._kick.clear()

    def _free(self) -> int:
        free = self.concurrency - self._active - self._orphans
        if self.max_jobs is not None:
            free = min(free, self.max_jobs - self._begun)
        return free

    async def _round(self) -> bool:
        """Do one turn for every queue that has a reason; whether there was any."""
        did = False
        for line in self._lines.order():
            if line.due():
                did = True
                await self._tend(line)
            want = min(self._free(), CHUNK) if self.state == "running" and line.hot else 0
            if not line.finished and want <= 0 and not line.popped:
                continue
            if not line.ready_again():
                continue
            did = True
            await self._turn(line, max(want, 0))
            if self.max_jobs is not None and self._begun >= self.max_jobs:
                self.stop_soon_once()
        return did

    def stop_soon_once(self) -> None:
        """Stop without forcing when that was asked for already."""
        if self.state != "stopping":
            self.stop_soon()

    async def _turn(self, line: Line, want: int) -> None:
        """Settle what has finished and claim up to `want`; a repeat does the same."""
        settles = line.finished[:CHUNK]
        if self._dirty or self._reporting:
            await self._store_last_words(settles)
        popped, line.popped = line.popped, False
        try:
            # A turn that failed is repeated with its number: what it may have claimed comes again.
            command = verbs.work(
                line.keys, self.id, line.turns + 1, want, self.deck.settings.lease, settles
            )
            turn = verbs.read_turn(await self.deck.execute(command, patience=2.0))
        except Exception as error:
            line.popped = popped
            line.fail(error)
            return
        line.turns += 1
        line.take(turn, want, len(settles))
        for settle, word in zip(settles, turn.settled, strict=True):
            self._settled(line, settle, word)
        for claimed in turn.claimed:
            self._begin(line, claimed)

    async def _tend(self, line: Line) -> None:
        settings = self.deck.settings
        command = verbs.tend(line.keys, settings.lease, settings.max_retries)
        try:
            answer = await self.deck.execute(command, patience=2.0)
            next_s, _, lost = verbs.read_tend(answer)
        except Exception as error:
            line.fail(error)
            return
        line.tended(next_s)
        for job_id in lost:
            _log.warning(
                "queue %s: job %s came back from a worker that vanished", line.name, job_id
            )

    # Runs

    def _begin(self, line: Line, claimed: Claimed) -> None:
        record = read_record(claimed.record)
        if record is None:
            line.finished.append(_unreadable(claimed))
            return
        spec = self.deck.registry.find(record.body.task)
        settings = self.deck.settings
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
            self._dirty.add,
        )
        before = self._runs.get(run.id)
        if before is not None:
            # It was taken from this worker, and has come back to it before the run had ended.
            before.stop(LOST)
        self._runs[run.id] = run
        self._active += 1
        self._begun += 1
        assert self._loop is not None
        run.job = self._loop.create_task(self._run(line, run))
        if run.deadline < self._watch_at:
            self._watch_deadline(run.deadline)

    async def _run(self, line: Line, run: Run) -> None:
        try:
            settle = await self.executor.run(run)
        except BaseException as error:
            # Nothing a handler does leads here; whatever it is, the slot comes back.
            _log.exception("job %s: its run could not be ended", run.id)
            settle = self.executor.settle(run, simple(run.spec.name, type(error).__name__, ""))
        self._active -= 1
        if run.threads:
            self._orphans += run.threads
            _log.warning(
                "job %s: thread task %s was stopped, but its thread runs on and keeps its slot",
                run.id,
                run.spec.name,
            )
        if settle is None or run.settled:
            self._forget(run)
            line.hot = True
        else:
            run.settled = True
            line.finished.append(settle)
        self._kick.set()

    def _settled(self, line: Line, settle: Settle, word: str) -> None:
        run = self._runs.get(settle.id)
        if run is not None and run.fence != settle.fence:
            run = None
        if run is not None:
            self._forget(run)
        self.done += 1
        if word == "stale":
            _log.warning("job %s: its result came too late and was refused", settle.id)
        elif run is not None:
            self.ended(run, settle, word)

    def ended(self, run: Run, settle: Settle, word: str) -> None:
        """Run the `failed` hook of a task whose job a settle has made dead."""
        if word == "dead" and run.spec.failed is not None:
            error = run.error or RuntimeError(f"{settle.type}: {settle.message}")
            hook = self._spawn(run.spec.run_failed(error, run.args))
            self._hooks.add(hook)
            hook.add_done_callback(self._hooks.discard)

    def _watch_deadline(self, at: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        assert self._loop is not None
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

    def _forget(self, run: Run) -> None:
        if self._runs.get(run.id) is run:
            del self._runs[run.id]

    def _get_children(self) -> Children:
        if self._children is None:
            self._children = Children(self.concurrency, self._reported)
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
        assert loop is not None
        assert self._threads is not None

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
                self.post(self._thread_ended, run)

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

    def _thread_ended(self, run: Run) -> None:
        run.threads -= 1
        if run.job is not None and run.job.done() and self._orphans:
            self._orphans -= 1
            self._kick.set()

    # Reports

    async def _report_often(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY)
            if self._dirty:
                self._reporting = True
                await self._store_safely(self._take_dirty())
                self._reporting = False

    def _take_dirty(self) -> set[LogOrRun]:
        # One by one: threads add to this very set meanwhile.
        taken = set()
        while self._dirty:
            taken.add(self._dirty.pop())
        return taken

    async def _store_last_words(self, settles: Sequence[Settle]) -> None:
        """Store what ending runs have said: a finished job's log is whole."""
        last: set[LogOrRun] = set()
        for settle in settles:
            run = self._runs.get(settle.id)
            if run is not None:
                last.update(item for item in (run, run.log) if item in self._dirty)
                # A report that is under way may have left it and wait for an answer now.
                if run.log:
                    last.add(run.log)
        if last:
            self._dirty -= last
            await self._store_safely(last)

    async def _store_safely(self, dirty: set[LogOrRun]) -> None:
        """Store reports; what cannot be stored is lost, and costs no job."""
        try:
            await self._store(dirty)
        except Exception as error:
            surprise = not isinstance(error, QdeckError)
            _log.warning("worker %s: reports were lost: %s", self.id, error, exc_info=surprise)

    async def _store(self, dirty: set[LogOrRun]) -> None:
        reports: dict[str, list[tuple[str, int, float | None, str | None]]] = {}
        for item in dirty:
            if isinstance(item, Run):
                percent, message = item.percent, item.message
                report = (item.id, item.fence, percent, message)
                reports.setdefault(item.queue, []).append(report)
        for queue, found in reports.items():
            await self.deck.execute(verbs.progress(self.deck.keys(queue), found), patience=2.0)
        await self._store_logs([item for item in dirty if isinstance(item, logs.LogBuffer)])

    async def _store_logs(self, buffers: Sequence[logs.LogBuffer]) -> None:
        by_queue: dict[str, list[logs.LogBuffer]] = {}
        for buffer in buffers:
            if buffer and isinstance(buffer.owner, Run):
                by_queue.setdefault(buffer.owner.queue, []).append(buffer)
        for queue, found in by_queue.items():
            for buffer in found:
                while (part := buffer.take()) is not None:
                    command = verbs.append_logs(self.deck.keys(queue), [part])
                    await self.deck.execute(command, patience=2.0)

    # Leaving

    async def _give_back(self) -> None:
        """Return what still runs, uncounted; what a thread does meanwhile no longer counts."""
        self.state = "stopping"
        for run in self.held():
            if not run.settled:
                run.stop(RELEASE)
        jobs = [run.job for run in self.held() if run.job is not None and not run.settled]
        if jobs:
            await asyncio.wait(jobs, timeout=2.0)
        for run in self.held():
            if not run.settled:
                run.settled = True
                settle = Settle(run.id, run.fence, "b", run.spec.name)
                self._lines.named(run.queue).finished.append(settle)
        for line in self._lines:
            while line.finished:
                before = len(line.finished)
                await self._turn(line, 0)
                if len(line.finished) >= before:
                    break

    async def _leave(self, heart: Heart) -> None:
        """Close everything; what is left of the background is cancelled."""
        self.state = "stopping"
        heart.stop()
        await self._wait.close()
        if self._hooks:
            await asyncio.wait(self._hooks, timeout=HOOK_GRACE)
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background, timeout=1.0)
        await self._store_safely(self._take_dirty())
        for line in self._lines:
            # Its marker may have been popped by the wait that was just ended.
            if line.ready_again():
                await self._turn(line, 0)
        control = self.deck.shared.control(self.id)
        try:
            await self.deck.execute(
                verbs.register(self.deck.shared, self.id, False, ()), patience=1.0
            )
            await self.deck.connector.lane().call("RPUSH", control, "wake")
            await asyncio.to_thread(heart.join, 2.0)
            await self.deck.connector.lane().call("DEL", control)
        except Exception as error:
            _log.warning(
                "worker %s: could not sign off: %s", self.id, self.deck.connector.translate(error)
            )
            await asyncio.to_thread(heart.join, 2.0)
        if self._watch is not None:
            self._watch.cancel()
        if self._children is not None:
            await self._children.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


LogOrRun = logs.LogBuffer | Run


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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _memory() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
