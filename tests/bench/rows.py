"""What runs in the processes that are measured: the proof that a job ran, and a producer's loop.

Standard library only, since the environments of the other libraries run it too. A handler appends
one row with a single `O_APPEND` write, so rows of many processes never mix and survive a kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = [
    "FINISH",
    "PAD",
    "START",
    "URL",
    "Row",
    "Side",
    "count",
    "main",
    "read",
    "record",
    "run_loop",
]

URL: Final = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
#: Makes a payload of about 100 bytes as JSON: {"i": 12345, "pad": "xxx…"}.
PAD: Final = "x" * 80
#: What a row says: the handler began, or it ended.
START: Final = 0
FINISH: Final = 1
_ROW: Final = struct.Struct("<QQQ")
_fd = -1


class Row(NamedTuple):
    """One line of the proof; `at_ns` is the monotonic clock that all processes share."""

    job: int
    at_ns: int
    kind: int
    pid: int


def record(index: int, kind: int = START) -> None:
    """Append a row to the file that BENCH_RECORD names."""
    global _fd
    if _fd < 0:
        _fd = os.open(os.environ["BENCH_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_fd, _ROW.pack(index, time.monotonic_ns(), kind << 32 | os.getpid()))


def read(path: Path) -> list[Row]:
    """Return every whole row."""
    data = path.read_bytes()
    whole = data[: len(data) // _ROW.size * _ROW.size]
    return [Row(i, at, kind >> 32, kind & 0xFFFFFFFF) for i, at, kind in _ROW.iter_unpack(whole)]


def count(path: Path) -> int:
    """Return how many whole rows there are."""
    return path.stat().st_size // _ROW.size


class Side:
    """One library: how it enqueues and works; what it cannot do raises NotImplementedError.

    Jobs are "noop" (records its index), "nap" (sleeps BENCH_NAP seconds between two rows) and
    "void" (does nothing).
    """

    #: How many jobs `bulk` is given at a time.
    batch = 500

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def one(self, index: int, job: str) -> None:
        """Enqueue one job."""
        raise NotImplementedError

    async def bulk(self, indexes: Sequence[int], job: str) -> None:
        """Enqueue many jobs the library's best way."""
        raise NotImplementedError

    def sync(self, index: int, job: str) -> None:
        """Enqueue one job without an event loop."""
        raise NotImplementedError

    def work(self, concurrency: int) -> None:
        """Serve jobs until the process is ended."""
        raise NotImplementedError


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop, or on asyncio's loop where that is not installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def _gaps(count: int) -> list[float]:
    """Return the pauses before the jobs of a latency run, in seconds: 5 to 10 ms, always alike."""
    chance = random.Random(7)
    return [chance.uniform(0.005, 0.010) for _ in range(count)]


async def _produce(side: Side, mode: str, indexes: range, job: str) -> dict[str, Any]:
    stamps: list[int] = []
    await side.open()
    # The first call connects and loads scripts; it is not measured.
    await side.one(10**9, "void")
    begun, used = time.perf_counter(), time.process_time()
    if mode == "bulk":
        for at in range(0, len(indexes), side.batch):
            await side.bulk(indexes[at : at + side.batch], job)
    elif mode == "latency":
        for index, gap in zip(indexes, _gaps(len(indexes)), strict=True):
            await asyncio.sleep(gap)
            stamps.append(time.monotonic_ns())
            await side.one(index, job)
    else:
        for index in indexes:
            await side.one(index, job)
    said = _said(begun, used, stamps)
    await side.close()
    return said


def _produce_sync(side: Side, mode: str, indexes: range, job: str) -> dict[str, Any]:
    stamps: list[int] = []
    side.sync(10**9, "void")
    begun, used = time.perf_counter(), time.process_time()
    for index, gap in zip(indexes, _gaps(len(indexes)), strict=True):
        if mode == "latency-sync":
            time.sleep(gap)
            stamps.append(time.monotonic_ns())
        side.sync(index, job)
    return _said(begun, used, stamps)


def _said(begun: float, used: float, stamps: list[int]) -> dict[str, Any]:
    wall, cpu = time.perf_counter() - begun, time.process_time() - used
    return {"seconds": wall, "cpu": cpu, "stamps": stamps}


def main(side: Side) -> None:
    """Do what the arguments say: `worker CONCURRENCY`, or `MODE JOBS JOB FIRST` to produce."""
    action = sys.argv[1]
    if action == "worker":
        side.work(int(sys.argv[2]))
        return
    first = int(sys.argv[4])
    indexes, job = range(first, first + int(sys.argv[2])), sys.argv[3]

    async def produce() -> None:
        said.update(await _produce(side, action, indexes, job))

    said: dict[str, Any] = {}
    if action.endswith("sync"):
        said = _produce_sync(side, action, indexes, job)
    else:
        run_loop(produce())
    sys.stdout.write(json.dumps(said) + "\n")
