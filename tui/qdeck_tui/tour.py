"""The demo inside the console: a stream of real jobs, a worker in this process, and nothing left.

It owns the thread in which jobs are enqueued and, at the end, the demo's keys and files removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING

from qdeck_tui.local import StartRequest

if TYPE_CHECKING:
    from pathlib import Path

    from qdeck.admin import Admin
    from qdeck_tui.supervisor import LocalWorkers

__all__ = ["REQUEST", "Tour"]

APP = "qdeck.demo:deck"
REQUEST = StartRequest(app=APP, queues=("reports", "files", "cpu"), concurrency=4)
ENDING = 10.0


class Tour:
    """One visit of the demo: `begin`, then `stop_feeding`, then `end`."""

    def __init__(self, seed: int, root: Path | None = None) -> None:
        self._seed = seed
        self._root = root
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fed = asyncio.Event()
        self._over = asyncio.Event()

    def begin(self, workers: LocalWorkers, *, read_only: bool) -> Admin:
        """Start feeding and a worker, and return the door to the demo's server."""
        from qdeck.demo import deck

        # Children of the worker, and child workers, are to use the same prefix.
        os.environ["QUEUE_PREFIX"] = deck.settings.prefix
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="qdeck-demo", daemon=True)
            self._thread.start()
            workers.begin(REQUEST)
        door: Admin = deck.admin(read_only=read_only)
        return door

    def stop_feeding(self) -> None:
        """Enqueue nothing more."""
        self._tell(self._fed)

    def end(self) -> None:
        """Remove what the demo made; the workers have ended before."""
        self._tell(self._over)
        if self._thread is not None:
            self._thread.join(ENDING)

    def _tell(self, event: asyncio.Event) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(event.set)

    def _run(self) -> None:
        asyncio.run(self._visit())

    async def _visit(self) -> None:
        """Feed until told to stop, wait for the end, and leave nothing behind."""
        from qdeck.demo.session import Session

        self._loop = asyncio.get_running_loop()
        async with Session(self._seed, self._root) as session:
            feeding = asyncio.ensure_future(session.feed())
            told = asyncio.ensure_future(self._fed.wait())
            await asyncio.wait([feeding, told], return_when=asyncio.FIRST_COMPLETED)
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
            await self._over.wait()
