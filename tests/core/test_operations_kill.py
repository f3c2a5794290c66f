"""Bulk operations outlive who started them, and many jobs are handled exactly once."""

from __future__ import annotations

import asyncio
import sys

from tests.core.desk import Desk
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.admin import Selection
from qdeck.operation import carry_on
from qdeck.record import Body, Settle, encode_body

STARTER = """
import asyncio, sys

from qdeck import Deck
from qdeck.admin import Selection


async def main(url: str, prefix: str) -> None:
    door = Deck(url, prefix=prefix).admin(actor="gone@there")
    operation = await door.start(await door.retry(Selection("dead", "q")))
    for _ in range(3):
        operation = await door.advance(operation.id, operation.queue)
    print(operation.id, flush=True)
    await asyncio.sleep(600)


asyncio.run(main(*sys.argv[1:]))
"""


async def kill_many(desk: Desk, count: int) -> None:
    """Make dead jobs, 500 a step."""
    keys, counter = desk.deck.keys("q"), 0
    for made in range(0, count, 500):
        entries: list[str | bytes] = []
        for n in range(made, made + 500):
            entries += (f"dead-{n:06d}", encode_body(Body("job", f'{{"n":{n}}}', max_retries=0)))
        await desk.deck.execute(verbs.enqueue(keys, 0, entries))
        for _ in range(500 // verbs.BATCH):
            counter += 2
            answer = await desk.deck.execute(
                verbs.work(keys, "maker", counter, verbs.BATCH, 60.0, [])
            )
            ends = [
                Settle(j.id, j.fence, "f", "job", 1.0, 0, 0, "no use", "OSError", "no", "", "f1")
                for j in verbs.read_turn(answer).claimed
            ]
            await desk.deck.execute(verbs.work(keys, "maker", counter + 1, 0, 60.0, ends))


async def until_ended(desk: Desk, name: str) -> None:
    """Watch an operation without doing a step of it."""
    while (await desk.operator.operation(name)).state == "running":  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_workers_finish_what_a_killed_process_started(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await kill_many(desk, 1000)
        starter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STARTER, valkey.url, prefix, stdout=asyncio.subprocess.PIPE
        )
        assert starter.stdout is not None
        name = (await starter.stdout.readline()).decode().strip()
        starter.kill()
        await starter.communicate()
        before = await desk.operator.operation(name)
        assert before.state == "running"
        assert 0 < before.done < 1000
        hands = [asyncio.create_task(carry_on(desk.deck, ["q"])) for _ in range(3)]
        await until_ended(desk, name)
        for hand in hands:
            hand.cancel()
        await asyncio.wait(hands)
        after = await desk.operator.operation(name)
        assert (after.state, after.done, after.ok, after.skipped) == ("done", 1000, 1000, 0)
        assert (after.started_by, after.queue) == ("gone@there", "q")
        assert await desk.call("ZCARD", desk.deck.keys("q").ready) == 1000
        assert await desk.call("ZCARD", desk.deck.keys("q").dead) == 0


async def test_two_operators_handle_each_job_once(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await kill_many(desk, 500)
        other = desk.deck.admin(actor="max@there")
        mine, its = await desk.operator.retry(Selection("dead", "q")), await other.retry(
            Selection("dead", "q")
        )  # fmt: skip
        first, second = await desk.operator.start(mine), await other.start(its, anyway=True)

        async def finish(name: str) -> None:
            operation = await other.operation(name)
            while operation.state == "running":
                operation = await other.advance(name, "q")

        await asyncio.gather(desk.finish(first), finish(second.id))
        ends = [await desk.operator.operation(each.id) for each in (first, second)]
        assert [each.done for each in ends] == [500, 500]
        assert sum(each.ok for each in ends) == 500
        assert sum(each.skipped for each in ends) == 500
        assert await desk.call("ZCARD", desk.deck.keys("q").ready) == 500
        await other.close()
