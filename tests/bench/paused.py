"""How long other jobs wait for their start where very many jobs of a paused task stand before them.

    python tests/bench/paused.py [JOBS] [OTHERS]

The jobs are enqueued, then the others, then the task is paused and a worker of ten slots begins.
Where no more than 600 others are ready, the pause itself moves the jobs aside; else the worker
does so in steps.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from qdeck import queue as verbs
from qdeck.deck import Deck
from qdeck.job import new_id
from qdeck.record import Body, encode_body

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rows import PAD
from tests.servers import Server

__all__ = ["main"]


async def main(jobs: int, others: int, server: Server) -> None:
    """Measure and print."""
    deck, started = Deck(server.url, prefix="bench"), list[float]()

    @deck.task(queue="q")
    async def other(n: int) -> None:
        started.append(time.monotonic())

    @deck.task(queue="q")
    async def held(pad: str) -> None:
        return None

    keys, body = deck.keys("q"), encode_body(Body("held", f'{{"pad":"{PAD}"}}'))
    for _ in range(0, jobs, verbs.CHUNK):
        parts = [part for _ in range(verbs.CHUNK) for part in (new_id(), body)]
        await deck.execute(verbs.enqueue(keys, 0, parts))
    await deck.enqueue_many(other.call(n) for n in range(others))
    door = deck.admin(actor="bench")
    begun = time.monotonic()
    await door.pause("q", "held")
    paused = time.monotonic()
    worker = deck.worker("q", concurrency=10)
    running = asyncio.create_task(worker.run())
    while len(started) < others:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await worker.stop()
    await running
    print(  # noqa: T201
        f"{jobs:,} jobs paused in {1000 * (paused - begun):.1f} ms; the first of {others:,} others "
        f"started after {started[0] - begun:.2f} s, the last after {started[-1] - begun:.2f} s"
    )
    await door.close()
    await deck.close()


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:]]
    with Server() as own:
        jobs, others = sizes + [1_000_000, 100][len(sizes) :]
        asyncio.run(main(jobs, others, own))
