"""SAQ as one side of a measurement; run by `versus_saq.py` in an environment that has it.

Results are not kept; bulk is `gather`, since SAQ has no pipelined enqueue.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saq import Queue, Worker  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import rows


async def noop(_: Any, *, i: int, pad: str) -> None:
    rows.record(i)


async def nap(_: Any, *, i: int, pad: str) -> None:
    rows.record(i)
    await asyncio.sleep(float(os.environ["BENCH_NAP"]))
    rows.record(i, rows.FINISH)


async def void(_: Any, *, i: int, pad: str) -> None:
    return None


class Saq(rows.Side):
    batch = 100

    async def open(self) -> None:
        self.queue = Queue.from_url(rows.URL, max_concurrent_ops=100)
        await self.queue.connect()

    async def close(self) -> None:
        await self.queue.disconnect()

    async def one(self, index: int, job: str) -> None:
        await self.queue.enqueue(job, i=index, pad=rows.PAD, ttl=-1)

    async def bulk(self, indexes: Sequence[int], job: str) -> None:
        await asyncio.gather(*(self.one(index, job) for index in indexes))

    def work(self, concurrency: int) -> None:
        rows.run_loop(self._serve(concurrency))

    async def _serve(self, concurrency: int) -> None:
        await self.open()
        await Worker(self.queue, [noop, nap, void], concurrency=concurrency).start()


if __name__ == "__main__":
    rows.main(Saq())
