"""The local workers of a console: starts, stops and hears them, in this process or as children.

It imports deck and worker of the engine, as the only part of the console that does. It asks nobody
anything: forms and dialogs stand before it. All its waiting is done in threads, so that it serves
any event loop, or none when the program is told to end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from qdeck_tui.childworker import ChildWorker
from qdeck_tui.envfile import read_env
from qdeck_tui.inprocess import ThreadWorker
from qdeck_tui.local import Closing, LocalWorker, OutputLine, StartRequest
from qdeck_tui.output import OutputLog

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["LocalWorkers"]

# Seconds for jobs that are to be finished before the console ends.
FINISH = 30.0


def _load(app: str) -> Deck:
    """Return the deck of an app; the engine is imported only when a worker is wanted."""
    from qdeck.app import load_app

    return load_app(app)


class LocalWorkers:
    """Every worker that this console started, by name; implements `Supervisor`.

    `output` receives what this process prints. `environ` is what children get on top of their
    parent's environment, `decks` are apps that are not to be imported again.
    """

    def __init__(
        self,
        output: OutputLog | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        decks: Mapping[str, Deck] | None = None,
        load: Callable[[str], Deck] = _load,
    ) -> None:
        self.output = output or OutputLog()
        self._environ = dict(environ or {})
        self._decks = dict(decks or {})
        self._load = load
        self._workers: dict[str, ThreadWorker | ChildWorker] = {}
        self._lock = threading.Lock()
        self._count = 0

    def workers(self) -> Sequence[LocalWorker]:
        """Return the workers that were started here, the newest last."""
        with self._lock:
            found = list(self._workers.values())
        return tuple(worker.seen() for worker in found)

    async def start(self, request: StartRequest) -> LocalWorker:
        """Start a worker; raises ValueError or OSError with one line for the operator."""
        return await asyncio.to_thread(self.begin, request)

    def begin(self, request: StartRequest) -> LocalWorker:
        """Do what `start` does, without an event loop."""
        if request.concurrency < 1:
            raise ValueError(f"{request.concurrency} slots are too few: at least 1")
        if request.kind == "thread" and request.on_exit == "leave":
            raise ValueError("a worker in this process ends with it; choose a child process")
        if not request.app:
            raise ValueError("no app: write module:deck or path/to/file.py[:deck]")
        if request.kind == "thread" and request.env:
            raise ValueError("env is for a child process only: this one has its environment")
        with self._lock:
            self._count += 1
            name = f"local-{self._count}"
        worker = self._make(name, request)
        if request.log:
            try:
                worker.output.copy_to(request.log)
            except OSError as error:
                raise ValueError(f"log to {request.log}: {error.strerror}") from error
        worker.start()
        with self._lock:
            self._workers[name] = worker
        return worker.seen()

    def _make(self, name: str, request: StartRequest) -> ThreadWorker | ChildWorker:
        if request.kind == "process":
            own = read_env(request.env) if request.env else {}
            return ChildWorker(name, request, {**self._environ, **own})
        from qdeck.errors import QdeckError

        try:
            deck = self._decks.get(request.app) or self._load(request.app)
        except QdeckError as error:
            raise ValueError(str(error)) from error
        return ThreadWorker(name, request, deck, self.output)

    async def stop(self, name: str, grace: float) -> None:
        """Stop a worker within `grace` seconds; what it could not finish goes back uncounted."""
        worker = self._workers.get(name)
        if worker is not None:
            await asyncio.to_thread(worker.stop, grace)

    def log(self, name: str, after: int = 0) -> Sequence[OutputLine]:
        """Return what a worker printed after a line number; an empty name means this process."""
        worker = self._workers.get(name)
        return (worker.output if worker is not None else self.output).after(after)

    async def close(self, choice: Closing) -> None:
        """End all workers the chosen way: finish their jobs, give them back, or leave children."""
        await asyncio.to_thread(self.end, choice)

    def end(self, choice: Closing = "give back") -> None:
        """Do what `close` does, without an event loop and from any thread; again does nothing."""
        with self._lock:
            found = [worker for worker in self._workers.values() if not worker.ended]
        stopped = []
        for worker in found:
            left = isinstance(worker, ChildWorker) and (
                choice == "leave" or worker.request.on_exit == "leave"
            )
            if left and isinstance(worker, ChildWorker):
                worker.leave()
            else:
                stopped.append(worker)
        grace = FINISH if choice == "finish" else 0.0
        if stopped:
            with ThreadPoolExecutor(len(stopped), "qdeck-end") as pool:
                list(pool.map(lambda worker: _end(worker, grace), stopped))


def _end(worker: ThreadWorker | ChildWorker, grace: float) -> None:
    """Stop a worker for good; what its blocked loop still holds is given back from here."""
    worker.stop(grace)
    if isinstance(worker, ThreadWorker) and not worker.ended:
        worker.give_back()
