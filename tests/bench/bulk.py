"""What a bulk retry of very many dead jobs costs those who claim normal jobs meanwhile.

    python tests/bench/bulk.py [JOBS]

Two processes carry the operation on, as workers do. Jobs of the queue `normal` come one at a time,
and the time from enqueue to claim is taken before the operation runs and while it does. What is
retried waits in a queue of its own, so that the retried jobs themselves take no slot.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

from qdeck import queue as verbs
from qdeck.admin import Selection
from qdeck.deck import Deck
from qdeck.operation import carry_on
from qdeck.record import Body, Settle, encode_body

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.servers import Server

__all__ = ["main"]


async def kill_many(deck: Deck, queue: str, count: int) -> None:
    """Make dead jobs, 500 a step."""
    keys, worker = deck.keys(queue), "maker"
    counter, made = 0, 0
    while made < count:
        entries: list[str | bytes] = []
        for n in range(500):
            entries += (f"dead-{made + n:06d}", encode_body(Body("job", '{"n":1}', max_retries=0)))
        await deck.execute(verbs.enqueue(keys, 0, entries))
        for _ in range(500 // verbs.BATCH + 1):
            counter += 1
            turn = verbs.read_turn(
                await deck.execute(verbs.work(keys, worker, counter, verbs.BATCH, 60.0, []))
            )
            ends = [
                Settle(j.id, j.fence, "f", "job", 1.0, 0, 0, "no use", "OSError", "no", "", "f1")
                for j in turn.claimed
            ]
            counter += 1
            await deck.execute(verbs.work(keys, worker, counter, 0, 60.0, ends))
        made += 500


async def latency(deck: Deck, seconds: float, done: asyncio.Event | None = None) -> list[float]:
    """Return the ms from enqueue to claim of jobs that come one at a time."""
    keys, counter, found = deck.keys("normal"), int(time.monotonic() * 1000), []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not (done is not None and done.is_set()):
        begun = time.perf_counter()
        await deck.enqueue("job", {"n": 1}, queue="normal")
        counter += 1
        turn = verbs.read_turn(await deck.execute(verbs.work(keys, "w1", counter, 1, 15.0, [])))
        found.append((time.perf_counter() - begun) * 1000)
        counter += 1
        ended = [Settle(j.id, j.fence, "p", "job", 1.0, None) for j in turn.claimed]
        await deck.execute(verbs.work(keys, "w1", counter, 0, 15.0, ended))
        await asyncio.sleep(0.005)
    return found


def told(name: str, found: list[float]) -> None:
    """Print the figures of one run."""
    cuts = statistics.quantiles(found, n=100)
    print(f"{name}: p50 {cuts[49]:.2f} ms, p95 {cuts[94]:.2f} ms, {len(found)} jobs")  # noqa: T201


async def main(count: int, server: Server) -> None:
    """Measure and print."""
    deck, starter = Deck(server.url, prefix="bench"), Deck(server.url, prefix="bench")
    await kill_many(deck, "bulk", count)
    told("before", await latency(deck, 5.0))
    door = starter.admin(actor="bench")
    draft = await door.retry(Selection("dead", "bulk"))
    begun = time.monotonic()
    operation = await door.start(draft)
    hands = [multiprocessing.Process(target=carry, args=(server.url,)) for _ in range(2)]
    for hand in hands:
        hand.start()
    done = asyncio.Event()

    async def watch() -> None:
        while (await door.operation(operation.id)).state == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        done.set()

    watcher = asyncio.create_task(watch())
    told("meanwhile", await latency(deck, 600.0, done))
    await watcher
    found = await door.operation(operation.id)
    print(f"{found.ok} of {found.total} in {time.monotonic() - begun:.1f} s")  # noqa: T201
    for hand in hands:
        hand.kill()
        hand.join()
    await door.close()
    for each in (deck, starter):
        await each.close()


def carry(url: str) -> None:
    """Carry operations on until killed, in a process of its own."""
    asyncio.run(carry_on(Deck(url, prefix="bench"), ["bulk"]))


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    with Server() as own:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, own))
