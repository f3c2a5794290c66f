"""A worker inside the console's process: a thread with an event loop of its own.

While one runs, threads take turns every 0.5 ms, so that CPU-bound handlers in threads do not make
the console stutter. What it cannot survive is a handler that ends the process or keeps the GIL.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qdeck_tui.local import LocalWorker, StartRequest
from qdeck_tui.output import OutputLog

if TYPE_CHECKING:
    from qdeck.worker import Worker

    from qdeck.deck import Deck

__all__ = ["ThreadWorker"]

SWITCH = 0.0005
STARTING = 15.0
MARGIN = 5.0


class _ShortTurns:
    """Keeps the interpreter's switch interval short while anybody holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before = 0.005

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH)
            self._holders += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                sys.setswitchinterval(self._before)


_turns = _ShortTurns()


class ThreadWorker:
    """One worker in a thread of this process."""

    def __init__(self, name: str, request: StartRequest, deck: Deck, output: OutputLog) -> None:
        self.name = name
        self.request = request
        self.output = output
        self._deck = deck
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started: Future[None] = Future()
        self._state = "starting"
        self._since = datetime.now(UTC)
        self._thread = threading.Thread(target=self._run, name=f"qdeck-{name}", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._started.done() and not self._thread.is_alive()

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
            running=worker.running if worker is not None and not self.ended else 0,
        )

    def start(self) -> None:
        """Start the thread and wait until the worker runs; raises ValueError with one line."""
        self._thread.start()
        try:
            self._started.result(STARTING)
        except NotYet:
            self.stop(0.0)
            raise ValueError(f"the worker did not start within {STARTING:g} s") from None

    def stop(self, grace: float) -> None:
        """Stop claiming, wait up to `grace` seconds for what runs, give the rest back, and end."""
        loop, worker = self._loop, self._worker
        if self.ended or loop is None or worker is None:
            return
        self._state = "stopping"
        with contextlib.suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(worker.stop(grace), loop)
        self.wait(grace + MARGIN)

    def wait(self, patience: float) -> None:
        """Wait for the end; a handler that blocks the loop can outlast any patience."""
        self._thread.join(patience)
        if self._thread.is_alive():
            self._state = "stuck"
            self.output.add(
                [f"{self.name}: a handler does not end; its jobs return by their lease"]
            )

    def _run(self) -> None:
        """Run the worker to its end; what goes wrong is a line of its output."""
        try:
            with _turns, asyncio.Runner(loop_factory=_new_loop()) as runner:
                runner.run(self._serve())
            self._state = "ended"
        except Exception as error:
            self._state = f"failed: {type(error).__name__}"
            lines = traceback.format_exception(error)
            self.output.add([f"{self.name}: {line}" for line in "".join(lines).splitlines()])
            if not self._started.done():
                self._started.set_exception(ValueError(_one_line(error)))
        finally:
            if not self._started.done():
                self._started.set_exception(ValueError("the worker ended before it had begun"))

    async def _serve(self) -> None:
        """Serve until told to stop, then close what this loop had open."""
        request = self.request
        self._loop = asyncio.get_running_loop()
        worker = self._deck.worker(request.queues or None, request.concurrency)
        self._worker = worker
        running = asyncio.ensure_future(worker.run())
        try:
            # An app or a server that is not usable shows at once.
            await asyncio.wait([running], timeout=0.2)
            if not running.done():
                self._state = "running"
                self._started.set_result(None)
            await running
        finally:
            await self._deck.connector.aclose()


def _new_loop() -> type[asyncio.AbstractEventLoop] | None:
    """Return what makes the fastest event loop there is here."""
    try:
        import uvloop
    except ImportError:
        return None
    found: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return found


def _one_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return text or type(error).__name__
