"""Child processes for `run="process"` tasks: started by spawn, killed on timeout and cancel.

Owns the pool (pebble's) and the socket on which children report. One per worker, made when the
first process task is claimed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import msgspec
from pebble import ProcessExpired, ProcessPool

from qdeck.child import Order, Report, enter, failed_child, run_in_child
from qdeck.outcome import Outcome, simple

__all__ = ["Children"]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Report).decode
#: Runs of one child before a fresh one takes its place, so that leaks stay bounded.
_RUNS_OF_A_CHILD = 1000


class Children:
    """Up to `size` child processes; reports of their runs go to `take` on the worker's loop.

    `server` is the socket of the worker's own `memory` server, which children share, or "".
    """

    def __init__(self, size: int, take: Callable[[Report], None], server: str = "") -> None:
        self._size = size
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._folder = Path(tempfile.mkdtemp(prefix="qdeck-"))
        path = str(self._folder / "reports")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path)
        self._loop.add_reader(self._socket.fileno(), self._drain)
        self._path = path
        self._server = server
        # Pebble starts all children of a pool at once, so each child is a pool of its own, made
        # when all others are busy.
        self._pools: list[ProcessPool] = []
        self._idle: list[ProcessPool] = []

    async def run(self, order: Order) -> Outcome:
        """Run one order in a child; cancelling this kills the child."""
        pool = self._pick()
        future = pool.schedule(run_in_child, args=[_encode(order)])
        try:
            outcome: Outcome = await asyncio.wrap_future(future)
        except ProcessExpired as error:
            return failed_child(order.task, error.exitcode)
        except BrokenProcessPool:
            return simple(
                order.task,
                "ChildFailed",
                "its child process ended before it could begin; the worker's log says why",
            )
        except asyncio.CancelledError:
            future.cancel()
            raise
        finally:
            self._idle.append(pool)
        self._drain()
        return outcome

    def _pick(self) -> ProcessPool:
        while self._idle:
            pool = self._idle.pop()
            if pool.active:
                return pool
            # Its child could not be started or prepared, which ends a pool for good.
            self._pools.remove(pool)
        return self._grow()

    def _grow(self) -> ProcessPool:
        if len(self._pools) >= self._size:
            raise RuntimeError(f"more than {self._size} runs at a time")
        pool = ProcessPool(
            max_workers=1,
            max_tasks=_RUNS_OF_A_CHILD,
            initializer=enter,
            initargs=[self._path, os.getpid(), self._server],
            context=get_context("spawn"),
        )
        self._pools.append(pool)
        return pool

    def _drain(self) -> None:
        for _ in range(200):
            try:
                raw = self._socket.recv(1 << 18)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return
            try:
                report = _decode(raw)
            except msgspec.MsgspecError:
                continue
            self._take(report)

    async def close(self) -> None:
        """Kill what still runs, and leave nothing behind."""
        self._loop.remove_reader(self._socket.fileno())
        for pool in self._pools:
            pool.stop()
        await asyncio.gather(*(asyncio.to_thread(pool.join, 10) for pool in self._pools))
        self._drain()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def file_of(module: str) -> str:
    """Return the file of a loaded module, or an empty string."""
    return getattr(sys.modules.get(module), "__file__", None) or ""
