"""qdeck for a harness that measures job queues side by side: bulk is `enqueue_many` of 5,000 calls,
500 a script.

The harness puts its own folder on the path (`common`) and names this file with `--driver`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import common as c  # type: ignore[import-not-found]

import qdeck

ASYNC, BULK, BATCH = True, "enqueue_many(5000)", 5000
deck = qdeck.Deck(c.URL, prefix="bench")


@deck.task
async def noop(i: int, pad: str) -> None:
    c.record(i)


@deck.task
async def sleep(i: int, pad: str) -> None:
    c.record(i)
    await asyncio.sleep(c.SLEEP_S)
    c.record(i, c.FINISH)


@deck.task
async def void(i: int, pad: str) -> None:
    return None


TASKS: dict[str, Any] = {"noop": noop, "sleep": sleep, "void": void}

if c.VARIANT == "sync":
    ASYNC = False

    def setup() -> None:
        return None

    def enqueue_one(_: None, i: int, job: str = "noop") -> None:
        TASKS[job].enqueue_sync(i, c.PAD)

    def enqueue_bulk(_: None, ids: Iterable[int], job: str = "noop") -> None:
        deck.enqueue_many_sync([TASKS[job].call(i, c.PAD) for i in ids])

else:

    async def setup() -> None:  # type: ignore[misc]
        await deck.connector.ensure()

    async def teardown(_: None) -> None:
        await deck.close()

    async def enqueue_one(_: None, i: int, job: str = "noop") -> None:  # type: ignore[misc]
        await TASKS[job].enqueue(i, c.PAD)

    async def enqueue_bulk(  # type: ignore[misc]
        _: None, ids: Iterable[int], job: str = "noop"
    ) -> None:
        await deck.enqueue_many([TASKS[job].call(i, c.PAD) for i in ids])


def run_worker() -> None:
    import uvloop

    logging.basicConfig(level=logging.WARNING)
    uvloop.run(deck.worker(concurrency=c.CONC or 10).run())
