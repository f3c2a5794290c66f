"""A console in a pseudo-terminal on a real server, with jobs to look at."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from tests.servers import Server
from tests.tui.pty import Pty, a_child_environment

from qdeck.deck import Deck
from qdeck.job import Job, State
from qdeck.operator import Operator
from qdeck.task import Call
from qdeck.terms import Options
from qdeck_tui.local import StartRequest
from qdeck_tui.supervisor import LocalWorkers

T = TypeVar("T")
APP = Path(__file__).parent / "programs" / "jobs.py"


class Desk:
    """A project whose qdeck.toml names the app of the tests, on a prefix of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.folder, self.url = folder, server.url
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        (folder / "qdeck.toml").write_text(f'app = ["{APP}"]\n')
        self.environ = a_child_environment(
            REDIS_URL=server.url,
            QUEUE_PREFIX=self.prefix,
            XDG_CONFIG_HOME=str(folder / "config"),
            XDG_DATA_HOME=str(folder / "data"),
        )
        self.deck = _imported(server.url, self.prefix)
        self.workers = LocalWorkers(decks={"jobs": self.deck})

    def console(self, *words: str, size: tuple[int, int] = (80, 24), **environ: str) -> Pty:
        """Start a console; it is not waited for."""
        return Pty.python(
            *("-m", "qdeck_tui", *words),
            size=size,
            env={**self.environ, **environ},
            cwd=self.folder,
        )

    @contextmanager
    def opened(
        self, *words: str, size: tuple[int, int] = (80, 24), **environ: str
    ) -> Iterator[Pty]:
        """Start a console and wait until it has read the queues."""
        with self.console(*words, size=size, **environ) as pty:
            pty.wait_for("VERDICT")
            pty.wait(lambda: "live" in pty.text.split("\n")[0], "first reading")
            yield pty

    def enqueue(self, task: str, queue: str = "default", **arguments: object) -> Job[object]:
        """Enqueue a job of the app."""
        return self.deck.enqueue_sync(task, arguments, queue=queue)

    def call(self, task: str, queue: str = "default", **arguments: object) -> Call[object]:
        """Return an enqueue of a job of the app, before all others of its queue."""
        options = Options(queue=queue, priority=9)
        return Call(self.deck.registry.get(task), msgspec.json.encode(arguments), options)

    def operate(self, verb: Callable[[Operator], Awaitable[T]]) -> T:
        """Do something as another operator does."""

        async def act() -> T:
            async with Deck(self.url, prefix=self.prefix) as deck:
                door = deck.admin(actor="bob@there")
                try:
                    return await verb(door)
                finally:
                    await door.close()

        return asyncio.run(act())

    def work(self, *queues: str) -> None:
        """Start a worker in this process, which is not the console's."""
        self.workers.begin(StartRequest(app="jobs", queues=queues, concurrency=5))

    def state(self, job: Job[object]) -> State:
        """Return the state that a job is in."""
        return self.found(job).state

    def found(self, job: Job[object]) -> Job[object]:
        """Return a job as it is now."""
        found = self.deck.job_sync(job.id, queue=job.queue)
        assert found is not None
        return found

    def close(self) -> None:
        """End what was started here."""
        self.workers.end("give back")
        self.deck.close_sync()


def _imported(url: str, prefix: str) -> Deck:
    """Return a deck of its own of the app, in this process."""
    names: dict[str, object] = {"__name__": f"jobs_{prefix}", "__file__": str(APP)}
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", url)
        patch.setenv("QUEUE_PREFIX", prefix)
        exec(compile(APP.read_text(), APP, "exec", dont_inherit=True), names)
    assert dict(os.environ) == before
    found = names["deck"]
    assert isinstance(found, Deck)
    return found
