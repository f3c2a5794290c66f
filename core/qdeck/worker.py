"""The worker: claims jobs of its queues, runs them, and settles them together with the next claim.

Owns the order of the queues and the way a worker stops. Runs are the slots', leases the heart's,
trimming the upkeep's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from qdeck import logs
from qdeck import queue as verbs
from qdeck.courier import Courier
from qdeck.errors import ConnectionFailed, SettingsError
from qdeck.execute import Run
from qdeck.heart import Heart
from qdeck.inline import open_lifespan
from qdeck.line import Line, Lines, parse_queues
from qdeck.presence import describe, keep_shown, publish, sign_off
from qdeck.queue import BATCH
from qdeck.record import Settle
from qdeck.reports import Reports
from qdeck.runs import Runs
from qdeck.ticker import Ticker
from qdeck.upkeep import Upkeep
from qdeck.wait import MarkerWait

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["Worker"]

_log = logging.getLogger("qdeck.worker")
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
        self._deadline: float | None = None
        self.started_ms = int(time.time() * 1000)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._kick = asyncio.Event()
        self._reports = Reports(deck)
        self._ticker = Ticker(deck)
        self._courier = Courier(deck)
        self._runs: Runs | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._hooks: set[asyncio.Task[Any]] = set()
        self._force = asyncio.Event()
        self._ended = asyncio.Event()
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
        loop = self.loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(call, *args)
            except RuntimeError:
                _log.debug("worker %s: its loop is closed", self.id)

    def held(self) -> list[Run]:
        """Return the runs whose leases this worker must keep; thread-safe."""
        return self._runs.held() if self._runs is not None else []

    @property
    def active(self) -> int:
        """How many handlers run."""
        return self._runs.active if self._runs is not None else 0

    @property
    def serving(self) -> bool:
        """Whether the server has answered and the app's lifespan has begun; thread-safe."""
        return self._runs is not None

    @property
    def runs(self) -> Runs:
        """What runs, once the worker serves."""
        assert self._runs is not None
        return self._runs

    def describe(self, state: str | None = None, *, queues: bool = True) -> list[Any]:
        """Return what is published about this worker, as field and value in turn; thread-safe."""
        return describe(self, state or self.state, queues=queues)

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
        if self.loop is None:
            self.state = "stopping"
            return
        self.post(self.force if force else self.stop_soon_once)
        while not self._ended.is_set():  # noqa: ASYNC110 (whoever stops it may have another loop)
            await asyncio.sleep(0.01)

    def cancel_run(self, job_id: str) -> None:
        """Stop a run because somebody asked for it; a thread task only sees `ctx.cancelled`."""
        self.runs.cancel(job_id)

    # Life

    async def run(self) -> None:
        """Serve until stopped; raises SettingsError, and ConnectionFailed only before it serves."""
        self.loop = asyncio.get_running_loop()
        logs.install()
        try:
            await self.deck.connector.ensure()
            self._wait = MarkerWait(self.deck, self._lines, self._kick)
            heart = Heart(self)
            async with AsyncExitStack() as stack:
                state = await stack.enter_async_context(
                    open_lifespan(self.deck.lifespan, self.deck)
                )
                self._runs = Runs(
                    self.deck, self.concurrency, self._lines, self._reports, self._kick, state
                )
                await publish(self, [line.keys for line in self._lines])
                heart.start()
                self._spawn(self._reports.often())
                self._spawn(self._courier.run())
                self._spawn(keep_shown(self))
                upkeep = Upkeep(self.deck, self.queues)
                self._spawn(upkeep.run())
                timer = None
                if self.max_time is not None:
                    timer = self.loop.call_later(self.max_time, self.stop_soon_once)
                try:
                    await self._serve()
                    if self.burst:
                        await upkeep.once()
                except BaseException:
                    await self._give_back()
                    raise
                finally:
                    if timer is not None:
                        timer.cancel()
                    await self._leave(heart)
        finally:
            logs.uninstall()
            self.loop = None
            self._ended.set()

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
                if not self.runs and not any(line.finished for line in self._lines):
                    return
                if self._force.is_set() or time.monotonic() >= self._deadline:
                    await self._give_back()
                    return
            if await self._round():
                await asyncio.sleep(0)
            elif self.burst and not self.runs and self._lines.dry():
                if await self._lines.drained():
                    self.state = "stopping"
                else:
                    await self._rest(BURST_EVERY)
            else:
                await self._rest()

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
            assert self.loop is not None
            timer = self.loop.call_later(timeout, self._kick.set)
            await self._kick.wait()
            timer.cancel()
        self._kick.clear()

    def _free(self) -> int:
        free, owed = self.runs.free, sum(line.owed for line in self._lines)
        # One slot stays for queues that can be reached: a dead node stops its own only.
        free = max(free - owed, min(free, 1))
        if self.max_jobs is not None:
            free = min(free, self.max_jobs - self.runs.begun)
        return free

    async def _round(self) -> bool:
        """Do one turn for every queue that has a reason; whether there was any."""
        did = False
        claiming = self.state == "running"
        self._lines.look_again()
        for line in self._lines.order():
            if line.due():
                did = True
                await self._tend(line)
            want = min(self._free(), BATCH) if claiming and line.hot else 0
            if not line.finished and want <= 0 and not line.popped and not line.owed:
                continue
            if not line.ready_again():
                continue
            did = True
            await self._turn(line, max(want, 0))
            # While this queue has more, a slot that comes free is not for those behind it.
            claiming = claiming and self.state == "running" and not (want > 0 and line.hot)
            if self.max_jobs is not None and self.runs.begun >= self.max_jobs:
                self.stop_soon_once()
        return did

    def stop_soon_once(self) -> None:
        """Stop without forcing when that was asked for already."""
        if self.state != "stopping":
            self.stop_soon()

    async def _turn(self, line: Line, want: int) -> None:
        """Settle what has finished and claim up to `want`; a repeat does the same."""
        settles, want = line.finished[:BATCH], line.owed or want
        if self._reports.waiting:
            await self._reports.store_last_words(self.runs.of(settles))
        popped, line.popped = line.popped, False
        try:
            # A turn that failed is repeated with its number: what it may have claimed comes again.
            command = verbs.work(
                line.keys, self.id, line.turns + 1, want, self.deck.settings.lease, settles
            )
            turn = verbs.read_turn(await self.deck.execute(command, patience=line.patience))
        except Exception as error:
            line.popped = popped
            line.owed = want if isinstance(error, ConnectionFailed) else line.owed
            line.fail(error)
            return
        line.turns += 1
        line.owed = 0
        line.take(turn, want, len(settles))
        for settle, word in zip(settles, turn.settled, strict=True):
            self._settled(settle, word)
        for claimed in turn.claimed:
            self.runs.begin(line, claimed)
        await self._courier.make_room(line, turn)

    async def _tend(self, line: Line) -> None:
        try:
            if line.tended(await self._ticker.tend(line.keys, line.patience)):
                self._courier.lost(line.name)
        except Exception as error:
            line.fail(error)

    def _settled(self, settle: Settle, word: str) -> None:
        run = self.runs.acknowledge(settle)
        self.done += 1
        if word == "stale":
            _log.warning("job %s: its result came too late and was refused", settle.id)
        elif run is not None:
            self.ended(run, settle, word)

    def ended(self, run: Run, settle: Settle, word: str) -> None:
        """Run the `failed` hook of a task whose job a settle has made dead; tell who waits."""
        self._courier.ended(run, word)
        if word == "dead" and run.spec.failed is not None:
            error = run.error or RuntimeError(f"{settle.type}: {settle.message}")
            hook = self._spawn(run.spec.run_failed(error, run.args))
            self._hooks.add(hook)
            hook.add_done_callback(self._hooks.discard)

    # Leaving

    async def _give_back(self) -> None:
        """Return what still runs, uncounted; what a thread does meanwhile no longer counts."""
        self.state = "stopping"
        await self.runs.release(2.0)
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
        await self._reports.flush()
        for line in self._lines:
            # Its marker may have been popped by the wait that was just ended.
            if line.ready_again():
                await self._turn(line, 0)
        if self.runs:
            await self._give_back()
        await self._courier.close()
        await sign_off(self, heart)
        await self.runs.close()
