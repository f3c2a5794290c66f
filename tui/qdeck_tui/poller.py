"""The only reader of `Admin`: asks for what the visible view wants, one poll at a time, and posts
frozen values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import cast

from textual.message import Message

from qdeck.admin import Admin, Failure, JobRef, LogChunk, LogTrail, Snapshot
from qdeck_tui.scout import EarlyDoor, Report

__all__ = ["LogRead", "Poller", "Read", "Refreshed"]

Read = Callable[[Admin], Awaitable[object]]
PART_LIMIT = 12.0
# Seconds between two readings of a log: where few lines come, where many do, and to catch up.
TAIL_PAUSE, TAIL_MANY, TAIL_FULL = 0.25, 0.02, 0.002
# So many lines in one reading are many.
MANY = 20
# Lines of a log that are read at once: a key waits for no more than these.
AT_ONCE = 500
# The same over a line that takes seconds longer than this, where many readings would fall behind.
FAR, FAR_AT_ONCE = 0.02, 1000
# Seconds in which the first screen is painted, before imports take the time of this process.
PAINTED = 0.1


class Refreshed(Message):
    """One poll: the values of the wanted parts, a `Failure` where one could not be read."""

    def __init__(self, token: int, parts: Mapping[str, object], took: float) -> None:
        super().__init__()
        self.token = token
        self.parts = parts
        self.took = took


class LogRead(Message):
    """Lines of the log that is followed, or why there are none. `missed` came before these, but the
    server trimmed them before they could be read.
    """

    def __init__(self, token: int, chunk: LogChunk | Failure, missed: int = 0) -> None:
        super().__init__()
        self.token = token
        self.chunk = chunk
        self.missed = missed


class Poller:
    """Reads in a loop whose pause grows with the round trip; opens the door itself, and again after
    a failure.
    """

    def __init__(
        self,
        open_admin: Callable[[], Awaitable[Admin]],
        post: Callable[[Message], object],
        every: float,
        scouted: Callable[[], Awaitable[Report | None]] | None = None,
    ) -> None:
        self._open = open_admin
        self._scouted = scouted
        self._post = post
        self.every = every
        self.admin: Admin | None = None
        self.frozen = False
        self.rtt: float | None = None
        self._token = 0
        self._took = 0.0
        self._fresh = True
        self._parts: Callable[[], Mapping[str, Read]] = dict
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tail: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Start reading."""
        self._task = asyncio.create_task(self._run(self._scouted), name="poller")

    def want(self, token: int, parts: Callable[[], Mapping[str, Read]]) -> None:
        """Read these parts from now on, once even when frozen; `parts` is asked each time."""
        self._token, self._parts, self._fresh = token, parts, True
        self._wake.set()

    def now(self) -> None:
        """Read at once, or as soon as the poll in flight is done."""
        self._wake.set()

    def switch(self, open_admin: Callable[[], Awaitable[Admin]]) -> None:
        """Read through another door from now on, and close the one before."""
        old, self.admin = self.admin, None
        self._open, self.rtt, self.frozen = open_admin, None, False
        self.follow(0, None)
        if old is not None:
            self._leave(old)
        if self._task is not None:
            # What is being read there matters no more, and may take long to fail.
            self._task.cancel()
            self._task = asyncio.create_task(self._run(None), name="poller")

    def _leave(self, old: Admin) -> None:
        task = asyncio.create_task(_shut(old))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Stop reading and close the door."""
        for task in (self._task, self._tail):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self.admin is not None:
            await _shut(self.admin)

    async def _run(self, scouted: Callable[[], Awaitable[Report | None]] | None) -> None:
        self._fresh = True
        if scouted is not None:
            await self._take(scouted)
        while True:
            self._wake.clear()
            if not self.frozen or self._fresh:
                self._fresh = False
                await self._poll()
            pause = max(self.every, 4 * (self.rtt or 0.0), self._took)
            await self._pause(pause)

    async def _take(self, scouted: Callable[[], Awaitable[Report | None]]) -> None:
        """Show what a scout brings for the first screen, and open the door once that is painted."""
        token = self._token
        report = await scouted()
        if report is None or token != self._token:
            return
        door = EarlyDoor(report, self._open)
        self.admin = cast("Admin", door)
        snapshot = report.parts["snapshot"]
        self.rtt = snapshot.rtt_s if isinstance(snapshot, Snapshot) else None
        self._fresh = False
        self._wake.clear()
        self._post(Refreshed(token, report.parts, 0.0))
        await asyncio.sleep(PAINTED)
        with suppress(Exception):
            # A door that cannot be opened says so with the next reading.
            await door.opened()
        await self._pause(self.every)

    async def _pause(self, seconds: float) -> None:
        # Not `wait_for`: on Python 3.11 it forgets a cancel that comes with the wake-up, and then
        # the console never ends.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _poll(self) -> None:
        token, wanted = self._token, self._parts()
        started = monotonic()
        early = self.admin if isinstance(self.admin, EarlyDoor) else None
        if self.admin is None or early is not None:
            try:
                self.admin = await (early.opened() if early is not None else self._open())
            except Exception as error:
                self.admin = None
                failure = Failure(_words(error))
                self._post(Refreshed(token, dict.fromkeys(wanted, failure), 0.0))
                return
        admin = self.admin
        values = await asyncio.gather(*(self._part(admin, read) for read in wanted.values()))
        took = monotonic() - started
        snapshot = next((v for v in values if isinstance(v, Snapshot)), None)
        if snapshot is not None:
            # An implementation that cannot tell a round trip says 0: then the poll stands for it.
            trip = snapshot.rtt_s or took
            self.rtt = trip if self.rtt is None else 0.7 * self.rtt + 0.3 * trip
        self._took = took
        self._post(Refreshed(token, dict(zip(wanted, values, strict=True)), took))

    async def _part(self, admin: Admin, read: Read) -> object:
        try:
            async with asyncio.timeout(PART_LIMIT):
                return await read(admin)
        except TimeoutError as error:
            return Failure(str(error) or f"no answer within {PART_LIMIT:g} s")
        except Exception as error:
            return Failure(_words(error))

    # One log

    def follow(self, token: int, ref: JobRef | None) -> None:
        """Follow the log of a job from its oldest line on, or of none."""
        if self._tail is not None:
            self._tail.cancel()
        self._tail = None if ref is None else asyncio.create_task(self._read_log(token, ref))

    async def _read_log(self, token: int, ref: JobRef) -> None:
        cursor, trail = "", LogTrail()
        while True:
            if self.admin is None or self.frozen:
                await asyncio.sleep(TAIL_PAUSE)
                continue
            try:
                limit = FAR_AT_ONCE if (self.rtt or 0.0) > FAR else AT_ONCE
                chunk = await self.admin.log(ref, cursor, follow=True, limit=limit)
            except Exception as error:
                self._post(LogRead(token, Failure(_words(error))))
                await asyncio.sleep(2.0)
                continue
            cursor = chunk.cursor
            self._post(LogRead(token, chunk, trail.missed(chunk)))
            if chunk.ended and not chunk.lines:
                # A finished job may be retried and write again: look from time to time.
                await asyncio.sleep(2.0)
            else:
                came = len(chunk.lines)
                pause = TAIL_FULL if came >= limit else TAIL_MANY if came >= MANY else TAIL_PAUSE
                await asyncio.sleep(pause)


async def _shut(admin: Admin) -> None:
    """Close a door, for 2 s at most."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            await admin.close()


def _words(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
