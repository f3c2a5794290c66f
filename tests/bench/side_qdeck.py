"""qdeck as one side of a measurement: bulk is `enqueue_many` of 5,000 calls, 500 a script."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qdeck

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import rows

deck = qdeck.Deck(rows.URL, prefix="bench")


@deck.task
async def noop(i: int, pad: str) -> None:
    rows.record(i)


@deck.task
async def nap(i: int, pad: str) -> None:
    rows.record(i)
    await asyncio.sleep(float(os.environ["BENCH_NAP"]))
    rows.record(i, rows.FINISH)


@deck.task
async def void(i: int, pad: str) -> None:
    return None


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "void": void}


class Qdeck(rows.Side):
    batch = 5000

    async def close(self) -> None:
        await deck.close()

    async def one(self, index: int, job: str) -> None:
        await TASKS[job].enqueue(index, rows.PAD)

    async def bulk(self, indexes: Sequence[int], job: str) -> None:
        await deck.enqueue_many([TASKS[job].call(index, rows.PAD) for index in indexes])

    def sync(self, index: int, job: str) -> None:
        TASKS[job].enqueue_sync(index, rows.PAD)

    def work(self, concurrency: int) -> None:
        rows.run_loop(deck.worker(concurrency=concurrency).run())


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    rows.main(Qdeck())
