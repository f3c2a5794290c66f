"""What a restore brought back is cleared again: the same copy, in the same order."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck import ledger
from qdeck.admin import Denied, QueueRow, Window
from qdeck.job import State


async def ids(desk: Desk, state: Any = "pending") -> list[str]:
    """Return the ids of a state in their order."""
    page = await desk.operator.jobs("q", state, Window(0, 1000))
    return [row.ref.id for row in page.rows]


async def shape(desk: Desk) -> Any:
    """Return the counts of the queue and of its tasks, and its error groups."""
    snapshot = await desk.operator.snapshot()
    assert isinstance(snapshot.queues, tuple)
    (row,) = snapshot.queues
    assert isinstance(row, QueueRow)
    flat = await desk.call("HGETALL", desk.deck.keys("q").tasks)
    pairs = zip(flat[::2], flat[1::2], strict=True) if isinstance(flat, list) else flat.items()
    tasks = {key: value for key, value in pairs if value != b"0"}
    groups = [(each.fingerprint, each.count) for each in (await desk.operator.errors()).groups]
    return row.pending, row.held, row.dead, row.scheduled, tasks, groups


async def test_a_restore_is_taken_back_into_the_same_copy(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        door = desk.operator
        await desk.put(3)
        await desk.put(2, priority="high")
        await desk.put(2, task="other", priority=0)
        order, before = await ids(desk), await shape(desk)
        await door.clear("q")
        (copy,) = await door.cleared()
        await door.restore(copy.id)
        (row,) = await door.audit(Window(0, 1))
        assert (row.verb, row.undoable) == ("restore", True)
        later = await desk.put(1)
        assert (await door.undo(dry_run=True)).text == "would clear 7 pending jobs of q again"
        assert await ids(desk) != later
        done = await door.undo()
        assert done.text == "cleared 7 pending jobs of q again; kept for 24 h"
        assert await ids(desk) == later
        (again,) = await door.cleared()
        assert (again.id, again.state, again.count) == (copy.id, "pending", 7)
        found = await desk.deck.job(order[0])
        assert found is not None
        assert found.state == State.CANCELLED
        with pytest.raises(Denied, match="was taken back by ana@here already"):
            await door.undo(row.id)
        # It can be restored as before, and that taken back as well.
        await door.restore(copy.id)
        await desk.complete(1)
        outcome = await door.undo()
        assert outcome.text == (
            "cleared 6 pending jobs of q again; kept for 24 h, 1 left alone: they are where the "
            "restore put them no more"
        )
        await door.restore(copy.id)
        assert await ids(desk) == [*order[1:-2], *later, *order[-2:]]
        assert (await shape(desk))[0] == before[0]


@pytest.mark.parametrize("state", ["scheduled", "dead"])
async def test_the_restore_of_every_state_is_taken_back(
    valkey: Server, prefix: str, state: Any
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        await desk.put(4, delay=3600 if state == "scheduled" else None)
        if state == "dead":
            await desk.fail(3)
            await desk.fail(1, fingerprint="f2")
        order, before = await ids(desk, state), await shape(desk)
        await door.clear("q", state)
        empty = await shape(desk)
        for _ in range(2):
            await door.restore((await door.cleared())[0].id)
            assert (await ids(desk, state), await shape(desk)) == (order, before)
            assert (await door.undo()).changed == 4
            assert (await ids(desk, state), await shape(desk)) == ([], empty)
        await door.restore((await door.cleared())[0].id)
        assert (await ids(desk, state), await shape(desk)) == (order, before)


async def test_jobs_that_a_pause_moved_since_are_cleared_again(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        await desk.put(3)
        before = await shape(desk)
        await door.clear("q")
        await door.restore((await door.cleared())[0].id)
        restored = (await door.audit(Window(0, 1)))[0].id
        await door.pause("q", "job")
        assert await desk.claim(1) == []
        await door.undo(restored)
        assert await desk.call("HGET", desk.deck.keys("q").meta, "held") == b"0"
        await door.resume("q", "job")
        await desk.tend()
        await door.restore((await door.cleared())[0].id)
        await desk.tend()
        assert await shape(desk) == before


async def test_what_was_done_with_all_of_them_since_is_left_alone(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door = desk.operator
        await desk.put(2)
        await door.clear("q")
        await door.restore((await door.cleared())[0].id)
        row = (await door.audit(Window(0, 1)))[0]
        await desk.complete(2)
        with pytest.raises(Denied, match="none of the 2 pending jobs is where the restore put it"):
            await door.undo(row.id)
        assert await door.cleared() == ()
        assert (await door.audit(Window(0, 1)))[0].id == row.id


async def test_many_jobs_are_noted_and_cleared_again_in_steps(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door, keys = desk.operator, desk.deck.keys("q")

        @desk.deck.task(queue="q")
        async def job(n: int) -> None: ...

        await desk.deck.enqueue_many(job.call(n) for n in range(5_200))
        every = await desk.call("ZRANGE", keys.ready, 0, -1)
        before = await shape(desk)
        await door.clear("q")
        (copy,) = await door.cleared()
        # The first calls note 1,000 of them each, and bring none back.
        act = ledger.Act("ana@here", "jobs")
        command = ledger.restore(keys, keys.ready, copy.id, act)
        step = ledger.read_restored(await desk.deck.execute(command))
        assert (step.moved, step.left, step.entry) == (0, 5_200, "")
        await door.restore(copy.id)
        assert await desk.call("ZRANGE", keys.ready, 0, -1) == every
        # Who clears again dies after a step; the jobs are in one place each, and it is carried on.
        again = ledger.reclear(keys, keys.ready, copy.id, act)
        half = ledger.read_recleared(await desk.deck.execute(again))
        assert (half.total, half.ahead, half.entry) == (100, 5_100, "")
        assert await desk.call("ZCARD", keys.ready) == 5_100
        assert (await door.cleared())[0].count == 100
        assert (await door.undo()).changed == 5_200
        assert await desk.call("ZCARD", keys.ready) == 0
        await door.restore(copy.id)
        assert await desk.call("ZRANGE", keys.ready, 0, -1) == every
        assert await shape(desk) == before
        left = await desk.call("KEYS", f"{keys.trash('')}*")
        assert len(left) == 2
        assert all([0 < await desk.call("TTL", key) <= 90_000 for key in left])


async def test_a_very_large_restore_is_for_good_and_says_so(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:

        @desk.deck.task(queue="q")
        async def job(n: int) -> None: ...

        await desk.deck.enqueue_many(job.call(n) for n in range(10_001))
        await desk.operator.clear("q")
        (copy,) = await desk.operator.cleared()
        outcome = await desk.operator.restore(copy.id)
        assert outcome.text == (
            "restored 10,001 pending jobs of q; this cannot be taken back: that is kept for up to "
            "10,000 jobs"
        )
        assert await desk.call("ZCARD", desk.deck.keys("q").ready) == 10_001
        assert await desk.call("KEYS", f"{desk.deck.keys('q').trash('')}*") == []


async def test_a_restore_that_follows_half_an_undo_of_another_can_be_taken_back(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        door, keys = desk.operator, desk.deck.keys("q")
        order = await desk.put(150)
        await door.clear("q")
        (copy,) = await door.cleared()
        await door.restore(copy.id)
        again = ledger.reclear(keys, keys.ready, copy.id, ledger.Act("ana@here", "jobs"))
        assert ledger.read_recleared(await desk.deck.execute(again)).ahead == 50
        await door.restore(copy.id)
        assert await ids(desk) == order
        assert (await door.undo()).changed == 150
        assert await ids(desk) == []
        await door.restore(copy.id)
        assert await ids(desk) == order


async def test_where_memory_is_full_a_restore_is_for_good_and_says_so() -> None:
    with Server(unix=True, options={"maxmemory-policy": "noeviction"}) as own:
        async with Desk(own.url, "full") as desk:
            order = await desk.put(3)
            await desk.operator.clear("q")
            await desk.call("CONFIG", "SET", "maxmemory", 1)
            done = await desk.operator.restore((await desk.operator.cleared())[0].id)
            assert done.text == (
                "restored 3 pending jobs of q; this cannot be taken back: the server's memory is "
                "full"
            )
            assert await ids(desk) == order
            assert not (await desk.operator.audit(Window(0, 1)))[0].undoable
            await desk.call("CONFIG", "SET", "maxmemory", 0)
