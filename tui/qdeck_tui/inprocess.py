"""A worker inside the console's process: a thread with an event loop of its own.

While one runs it holds `turns`, so that CPU-bound handlers in threads do not make the console
stutter. What it cannot survive is a handler that ends the process or keeps the GIL.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qdeck_tui.local import LocalWorker, StartRequest
from qdeck_tui.output import OutputLog
from qdeck_tui.turns import turns

if TYPE_CHECKING:
    from qdeck.deck import Deck
    from qdeck.worker import Worker

__all__ = ["ThreadWorker"]

STARTING = 15.0
MARGIN = 4.0


class ThreadWorker:
    """One worker in a thread of this process."""

    def __init__(self, name: str, request: StartRequest, deck: Deck, output: OutputLog) -> None:
        self.name = name
        self.request = request
        self.output = output
        self._deck = deck
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "starting"
        self._failure = ""
        self._since = datetime.now(UTC)
        self._thread = threading.Thread(target=self._run, name=f"qdeck-{name}", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def seen(self) -> LocalWorker:
        """Return the worker as it is now."""
        worker, request = self._worker, self.request
        return LocalWorker(
            name=self.name,
            kind="thread",
            queues=request.queues,
            concurrency=request.concurrency,
            state=self._state,
            started_at=self._since,
            on_exit="stop",
            id=worker.id if worker is not None else "",
            running=len(worker.held()) if worker is not None and not self.ended else 0,
        )

    def start(self) -> None:
        """Start the thread and wait until the worker serves; raises ValueError with one line."""
        self._thread.start()
        end = time.monotonic() + STARTING
        while self._thread.is_alive() and time.monotonic() < end:
            # This is looked at from here, since its first job may block its loop.
            if self._worker is not None and self._worker.serving:
                self._state = "running"
                return
            time.sleep(0.01)
        if self._thread.is_alive():
            self.stop(0.0)
            raise ValueError(f"the worker did not start within {STARTING:g} s")
        raise ValueError(self._failure or "the worker ended before it served")

    def stop(self, grace: float) -> None:
        """Stop claiming, wait up to `grace` seconds for what runs, give the rest back, and end."""
        loop, worker = self._loop, self._worker
        if self.ended or loop is None or worker is None:
            return
        self._state = "stopping"
        with contextlib.suppress(RuntimeError):
            worker.grace = grace
            asyncio.run_coroutine_threadsafe(worker.stop(force=grace <= 0), loop)
        self.wait(grace + MARGIN)

    def wait(self, patience: float) -> None:
        """Wait for the end; a handler that blocks the loop can outlast any patience."""
        self._thread.join(patience)
        if self._thread.is_alive() and self._state != "stuck":
            self._state = "stuck"
            self.output.add([f"{self.name}: a handler blocks the worker and does not end"])

    def _run(self) -> None:
        """Run the worker to its end; what goes wrong is lines of the output."""
        try:
            with turns, asyncio.Runner(loop_factory=_new_loop()) as runner:
                runner.run(self._serve())
            self._state = "stopped"
        except Exception as error:
            self._state = "failed"
            self._failure = str(error).strip().split("\n")[0] or type(error).__name__
            lines = "".join(traceback.format_exception(error)).splitlines()
            self.output.add([f"{self.name}: {line}" for line in lines])
        finally:
            self.output.leave_file(self.request.log)

    async def _serve(self) -> None:
        """Serve until told to stop, then close what this loop had open."""
        request = self.request
        self._loop = asyncio.get_running_loop()
        self._worker = self._deck.worker(
            request.queues or None, request.concurrency, in_console=True
        )
        try:
            await self._worker.run()
        finally:
            await self._deck.connector.aclose()

    def give_back(self) -> None:
        """Give back what a blocked loop cannot, from outside of it; the process is about to end."""
        from qdeck import queue
        from qdeck.record import Settle

        worker, deck = self._worker, self._deck
        if worker is None or self.ended:
            return
        worker.state = "stopping"  # a loop that wakes up again is to claim nothing more
        for run in worker.held():
            if not run.settled:
                settle = Settle(run.id, run.fence, "b", run.spec.name)
                command = queue.work(
                    deck.keys(run.queue), f"{worker.id}:end", 1, 0, deck.settings.lease, [settle]
                )
                deck.execute_sync(command, patience=1.0)


def _new_loop() -> type[asyncio.AbstractEventLoop] | None:
    """Return what makes the fastest event loop there is here."""
    try:
        import uvloop
    except ImportError:
        return None
    found: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return found
