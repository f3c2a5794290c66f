"""Reads what the first screen shows in a process of its own, while this one imports Textual.

It asks only a server that runs already, changes nothing and touches no terminal. Where it brings
nothing back the console reads by itself, as it does from then on anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from qdeck.admin import (
    Action,
    Admin,
    ErrorGroups,
    Failure,
    Page,
    Permission,
    Snapshot,
    Target,
    Window,
)

if TYPE_CHECKING:
    from qdeck.deck import Deck
    from qdeck.settings import Settings

from qdeck.admin.frozen import dataclass

__all__ = ["FIRST", "EarlyDoor", "Report", "Scout", "send"]

# Seconds that the first screen waits for a scout at most, and that a scout lives at most.
PATIENCE = 2.0
LIFE = 5

# What the first screen asks for.
FIRST: Mapping[str, Callable[[Admin], Awaitable[object]]] = {
    "snapshot": lambda admin: admin.snapshot(),
    "workers": lambda admin: admin.workers(),
    "operations": lambda admin: admin.operations(),
    "errors": lambda admin: admin.errors(),
    "running": lambda admin: admin.running(Window(0, 100)),
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a scout saw: the door from outside, the parts of the first screen, and what may be done
    to each of their rows.
    """

    label: str
    actor: str
    read_only: bool
    parts: Mapping[str, object]
    permitted: Mapping[Target, Mapping[Action, Permission]]


class Scout:
    """A scout on its way; `end` it in any case."""

    def __init__(self, pid: int, fd: int) -> None:
        self._pid = pid
        self._fd = fd
        self._data = b""
        self._report: Report | None = None

    async def report(self) -> Report | None:
        """Wait for what it brings; None when that is nothing, or not within 2 s."""
        came = asyncio.Event()
        if not self._take():
            loop = asyncio.get_running_loop()
            loop.add_reader(self._fd, lambda: came.set() if self._take() else None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await came.wait()
            loop.remove_reader(self._fd)
        self.end()
        return self._report

    def _take(self) -> bool:
        """Take in what it has sent; return whether that was all."""
        while self._fd >= 0:
            try:
                piece = os.read(self._fd, 65_536)
            except BlockingIOError:
                return False
            if not piece:
                with contextlib.suppress(EOFError, pickle.UnpicklingError):
                    self._report = pickle.loads(self._data)
                break
            self._data += piece
        return True

    def end(self) -> None:
        """Be done with it, whether it has come back or not."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def send(settings: Settings, open_deck: Callable[[], Deck], *, read_only: bool) -> Scout | None:
    """Send a scout out; None where none is of use: with one core, or without a server to ask.

    `open_deck` is called in the scout's process.
    """
    if (os.cpu_count() or 1) < 2 or settings.connection not in ("redis", "embedded"):
        return None
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.set_blocking(reading, False)
        return Scout(pid, reading)
    try:
        signal.alarm(LIFE)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        report = asyncio.run(_look(settings, open_deck, read_only))
        if report is not None:
            with os.fdopen(writing, "wb") as file:
                pickle.dump(report, file)
    finally:
        # Nothing that its parent would do at its end is its business, above all ending a server.
        os._exit(0)


async def _look(
    settings: Settings, open_deck: Callable[[], Deck], read_only: bool
) -> Report | None:
    """Return what the first screen shows; None where a server would have to be started."""
    if settings.connection == "embedded":
        from qdeck.server import SharedServer

        if settings.folder is None or not SharedServer.at(settings.folder).runs():
            return None
    admin: Admin = open_deck().admin(read_only=read_only)
    values = await asyncio.gather(*(read(admin) for read in FIRST.values()))
    parts = dict(zip(FIRST, values, strict=True))
    permitted = {target: admin.actions(target) for target in _rows(parts)}
    return Report(admin.label, admin.actor, admin.read_only, parts, permitted)


def _rows(parts: Mapping[str, object]) -> list[Target]:
    """Return the rows that verbs may be about."""
    rows: list[Target] = []
    for part in parts.values():
        if isinstance(part, Snapshot) and not isinstance(part.queues, Failure):
            rows += part.queues
        elif isinstance(part, Page):
            rows += part.rows
        elif isinstance(part, ErrorGroups):
            rows += part.groups
    return rows


class EarlyDoor:
    """Stands for the door until that is open: says of it what a scout saw, and lets calls wait.

    The first call or `opened` opens it.
    """

    def __init__(self, report: Report, open_admin: Callable[[], Awaitable[Admin]]) -> None:
        self.label = report.label
        self.actor = report.actor
        self.read_only = report.read_only
        self._open = open_admin
        self._opening: asyncio.Future[Admin] | None = None
        self._permitted = report.permitted

    async def opened(self) -> Admin:
        """Return the door itself, once it is open."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        return await asyncio.shield(self._opening)

    def actions(self, target: Target) -> Mapping[Action, Permission]:
        """Return what may be done to a row that the scout saw."""
        return self._permitted.get(target, {})

    async def close(self) -> None:
        """Close the door if it is open, and open it no more."""
        if self._opening is None:
            return
        if not self._opening.done():
            self._opening.cancel()
        elif self._opening.exception() is None:
            await self._opening.result().close()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            return await getattr(await self.opened(), name)(*arguments, **options)

        return call
