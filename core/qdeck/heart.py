"""The worker's second thread: keeps leases alive whatever the event loop does.

It has connections of its own. A third of a lease apart it renews leases and says that the worker
lives (half as often while there is nothing to renew); in between it waits for commands, so that a
cancel arrives at once. It watches the loop: one that is blocked keeps its leases, is reported as
stuck, and its overdue runs are settled from here.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from qdeck import queue as verbs
from qdeck.errors import QdeckError
from qdeck.execute import LOST, TIMEOUT, Run
from qdeck.lane import SyncLane
from qdeck.outcome import Failed, simple
from qdeck.processor import Processor
from qdeck.runs import MOST_SLOTS
from qdeck.scripts import run_sync
from qdeck.stacks import stacks

if TYPE_CHECKING:
    from qdeck.worker import Worker

__all__ = ["Heart"]

_log = logging.getLogger("qdeck.worker")
_ERRORS = (RedisError, OSError, EOFError, QdeckError)
#: Seconds past its timeout after which a blocked loop's run is settled by this thread.
OVERDUE = 5.0
#: Seconds after which it is said again which queues there are.
ANNOUNCE = 60.0


class Heart:
    """Beats for one worker from `start` until `stop`; thread-safe."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._deck = worker.deck
        self._interval = worker.deck.settings.lease / 3
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="qdeck-heart", daemon=True)
        self._pulse = self._asked = time.monotonic()
        self._beaten = 0.0
        self._announced = 0.0
        self._loop_thread = 0
        self._warned = False
        self._processor = Processor()

    def start(self) -> None:
        """Begin to beat; called on the loop's thread."""
        self._loop_thread = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it leaves within one command's time."""
        self._stop.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout)

    @property
    def stuck_for(self) -> float:
        """Seconds that the loop has not answered what it was asked, 0 while it does."""
        if self._pulse >= self._asked:
            return 0.0
        silent = time.monotonic() - self._asked
        return silent if silent > max(2 * self._interval, 1.0) else 0.0

    def _live(self) -> None:
        lane: SyncLane | None = None
        next_beat = 0.0
        control = self._deck.shared.control(self._worker.id)
        turned = time.monotonic()
        while not self._stop.is_set():
            try:
                now = time.monotonic()
                self._ask(now, now - turned)
                turned = now
                self._look_at_loop()
                if now >= next_beat:
                    if self._worker.held() or now - self._beaten > 1.9 * self._interval:
                        self.beat()
                    next_beat = now + self._interval
                if self.stuck_for:
                    self._settle_overdue()
                if lane is None:
                    lane = self._deck.connector.new_sync_lane(self._interval)
                wait = max(min(next_beat - time.monotonic(), self._interval), 0.02)
                if self.stuck_for:
                    wait = min(wait, 1.0)
                found = lane.call("BLPOP", control, f"{wait:.3f}")
                if found is not None:
                    self._obey(found[1].decode("utf-8", "replace"))
            except Exception as error:
                # Whatever it is: without this thread every lease of the worker would end.
                if not self._stop.is_set():
                    surprise = not isinstance(error, _ERRORS)
                    _log.warning(
                        "heart of %s: %s",
                        self._worker.id,
                        _say(self._deck, error),
                        exc_info=surprise,
                    )
                _close(lane)
                lane, next_beat = None, 0.0
                self._beaten = self._announced = 0.0
                self._stop.wait(min(self._interval, 1.0))
        _close(lane)

    def _ask(self, now: float, rested: float) -> None:
        """Ask the loop for a sign of life, once until it answers.

        Where this thread itself was held up (a suspended process, a server that hangs), the loop
        may have been as well: its time begins again.
        """
        answered = self._pulse >= self._asked
        if answered or rested > 2 * self._interval:
            self._asked = now
        if answered:
            self._worker.post(self._answer)

    def _answer(self) -> None:
        self._pulse = time.monotonic()

    def beat(self) -> None:
        """Renew the leases of everything that runs, and say that the worker lives."""
        worker, deck = self._worker, self._deck
        lane = deck.connector.sync_lane()
        by_queue: dict[str, list[Run]] = {}
        for run in worker.held():
            by_queue.setdefault(run.queue, []).append(run)
        for queue, runs in by_queue.items():
            for at in range(0, len(runs), verbs.CHUNK):
                part = runs[at : at + verbs.CHUNK]
                pairs = [(run.id, run.fence) for run in part]
                command = verbs.beat(deck.keys(queue), deck.settings.lease, pairs)
                for run, answer in zip(part, run_sync(lane, command), strict=True):
                    if answer == b"0" and not run.settled:
                        worker.post(run.stop, LOST)
                    elif answer == b"x" and not run.cancelled:
                        worker.post(worker.cancel_run, run.id)
        now = time.monotonic()
        announce = now - self._announced > ANNOUNCE
        fields = worker.describe("stuck" if self.stuck_for else None, queues=announce)
        share = self._processor.share()
        if share is not None:
            fields += ["cpu", f"{share:.3f}"]
        run_sync(lane, verbs.register(deck.shared, worker.id, True, fields))
        self._beaten = now
        if announce:
            self._announced = now

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        worker = self._worker
        if word == "cancel":
            worker.post(worker.cancel_run, rest)
        elif word == "quiet":
            worker.post(worker.quiet)
        elif word == "unquiet":
            worker.post(worker.unquiet)
        elif word == "stop":
            worker.post(worker.stop_soon)
        elif word == "slots" and rest.isdigit() and 1 <= int(rest) <= MOST_SLOTS:
            worker.post(_resize, worker, int(rest))
        elif word == "stack":
            self._tell_stacks()
        elif word != "wake":
            _log.warning("worker %s: unknown command %r", worker.id, word[:40])

    def _look_at_loop(self) -> None:
        """Say once that the loop is blocked, and end a process whose loop stays so."""
        stuck = self.stuck_for
        if not stuck:
            self._warned = False
            return
        if not self._warned:
            self._warned = True
            _log.error("worker %s: its event loop is blocked:\n%s", self._worker.id, self.stack())
        limit = self._deck.settings.stuck_exit
        if limit and stuck > limit and not self._worker.in_console:
            _log.critical("worker %s: blocked for %.0f s, giving up", self._worker.id, stuck)
            sys.stderr.write(self.stack() + "\n")
            sys.stderr.flush()
            os._exit(70)

    def _settle_overdue(self) -> None:
        """Settle the overdue runs of a blocked loop."""
        now = time.monotonic()
        for run in self._worker.held():
            if run.settled or now < run.deadline + OVERDUE:
                continue
            run.settled = True
            run.stopped = TIMEOUT
            try:
                self._settle(run)
            except BaseException:
                run.settled = False
                raise

    def _settle(self, run: Run) -> None:
        failed: Failed = simple(
            run.spec.name,
            "TimeoutError",
            f"the run took longer than {run.timeout:g} s and blocked its worker's event loop",
        )
        settle = self._worker.runs.executor.settle(run, failed)
        command = verbs.work(
            self._deck.keys(run.queue),
            self._worker.id,
            0,
            0,
            self._deck.settings.lease,
            [settle],
        )
        word = verbs.read_turn(run_sync(self._deck.connector.sync_lane(), command)).settled[0]
        self._worker.post(self._worker.ended, run, settle, word)
        _log.error("job %s (%s) blocked the loop past its timeout", run.id, run.spec.name)

    def _tell_stacks(self) -> None:
        """Write where everything stands to the log, and to the worker's record."""
        said = stacks(self._worker.loop)
        _log.warning("worker %s: asked where it stands:\n%s", self._worker.id, said)
        key = self._deck.shared.worker(self._worker.id)
        lane = self._deck.connector.sync_lane()
        lane.call("HSET", key, "stack", said, "stack_at", int(time.time() * 1000))

    def stack(self) -> str:
        """Return where the loop's thread stands now."""
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else "(no stack)"


def _resize(worker: Worker, slots: int) -> None:
    """Run up to so many jobs at a time; on the worker's loop."""
    worker.concurrency = slots
    worker.runs.resize(slots)
    _log.info("worker %s: %d slots", worker.id, slots)


def _close(lane: SyncLane | None) -> None:
    if lane is not None:
        try:
            lane.close()
        except _ERRORS as error:
            _log.debug("closing a connection: %s", error)


def _say(deck: Any, error: Exception) -> str:
    return str(deck.connector.translate(error))
