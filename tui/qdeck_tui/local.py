"""What the console knows of the workers that it started itself; the supervisor implements it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from qdeck.admin.frozen import dataclass

__all__ = [
    "CLOSINGS",
    "Closing",
    "Kind",
    "LocalWorker",
    "OnExit",
    "OutputLine",
    "StartRequest",
    "Supervisor",
]

Kind = Literal["thread", "process"]
OnExit = Literal["stop", "leave"]
Closing = Literal["finish", "give back", "leave"]
CLOSINGS: tuple[Closing, ...] = ("finish", "give back", "leave")


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What the form asks for. `on_exit` "leave" lets a child process outlive the console, `env` is
    a file of NAME=value lines for one; `log` is a file that gets what it prints as well. `count` is
    how many the form starts.
    """

    app: str
    queues: tuple[str, ...] = ()
    concurrency: int = 10
    kind: Kind = "thread"
    on_exit: OnExit = "stop"
    count: int = 1
    env: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class LocalWorker:
    """One worker of this console; `id` is the worker's id on the server, once it has one."""

    name: str
    kind: Kind
    queues: tuple[str, ...]
    concurrency: int
    state: str
    started_at: datetime | None = None
    on_exit: OnExit = "stop"
    id: str = ""
    running: int = 0


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line that a worker or its jobs printed; `number` grows by one a line."""

    number: int
    text: str


class Supervisor(Protocol):
    """Starts, stops and listens to local workers. Only `start` and `close` may take time."""

    def workers(self) -> Sequence[LocalWorker]:
        """Return the workers that were started here, the newest last."""
        ...

    async def start(self, request: StartRequest) -> LocalWorker:
        """Start a worker; raises ValueError or OSError with one line for the operator."""
        ...

    async def stop(self, name: str, grace: float) -> None:
        """Stop a worker within `grace` seconds; what it could not finish goes back uncounted."""
        ...

    def log(self, name: str, after: int = 0) -> Sequence[OutputLine]:
        """Return what a worker printed after a line number; an empty name means all of this
        process.
        """
        ...

    async def close(self, choice: Closing) -> None:
        """End all workers the chosen way: finish their jobs, give them back, or leave child
        processes running.
        """
        ...
