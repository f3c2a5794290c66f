"""What an operator changes, on real servers, and that it changes nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.core.desk import Desk
from tests.servers import Cluster, Server

from qdeck.admin import Denied, Draft, JobRef, Selection, Window
from qdeck.errors import ReadOnly
from qdeck.operation import advance_all
from qdeck.operator import Operator


async def states(desk: Desk, ids: list[str]) -> list[str]:
    found = [await desk.deck.job(job_id) for job_id in ids]
    return ["gone" if job is None else str(job.state) for job in found]


async def test_a_retried_group_runs_again_and_nothing_else(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        await desk.put(4)
        group = await desk.fail(3)
        other = await desk.fail(1, fingerprint="f2")
        found = (await desk.operator.errors()).groups[0]
        draft = await desk.operator.retry(Selection("dead", found.queue, found.fingerprint))
        assert draft.total == 3
        assert {row.ref.id for row in draft.samples} == set(group)
        assert draft.expires_at is not None
        assert await states(desk, group) == ["dead"] * 3
        operation = await desk.finish(await desk.operator.start(draft))
        assert (operation.state, operation.total, operation.done) == ("done", 3, 3)
        assert (operation.ok, operation.skipped, operation.actor) == (3, 0, "ana@here")
        assert await states(desk, group) == ["pending"] * 3
        assert await states(desk, other) == ["dead"]
        assert [job.id for job in await desk.claim(3)] == group


async def test_one_draft_holds_what_was_frozen_over_all_queues(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for queue in ("a", "b", "c"):
            await desk.put(3, queue)
        await desk.fail(2, "a")
        await desk.fail(1, "b")
        draft = await desk.operator.delete(Selection("dead"))
        assert draft.total == 3
        # Whatever dies from now on is not meant.
        await desk.fail(1, "c")
        operation = await desk.finish(await desk.operator.start(draft))
        assert (operation.ok, operation.queue) == (3, "a, b")
        page = await desk.operator.jobs(None, "dead", Window())
        assert [row.ref.queue for row in page.rows] == ["c"]
        (listed,) = await desk.operator.operations()
        assert (listed.id, listed.verb, listed.total) == (draft.id, "delete", 3)


async def test_operations_over_the_queues_of_a_cluster(cluster: Cluster, prefix: str) -> None:
    queues = [cluster.queue_on(node, prefix) for node in range(3)]
    async with Desk(cluster.url, prefix) as desk:
        for queue in queues:
            await desk.put(3, queue)
            await desk.fail(2, queue)
        draft = await desk.operator.retry(Selection("dead"))
        assert draft.total == 6
        assert (await desk.finish(await desk.operator.start(draft))).ok == 6
        page = await desk.operator.jobs(None, "pending", Window())
        assert page.total == 9
        assert (await desk.operator.workers()) == ()


async def test_more_than_one_step_of_ids_is_frozen_once_each(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        keys = desk.deck.keys("q")
        for i in range(0, 2300, 100):
            pairs = [x for j in range(i, i + 100) for x in (j, f"job-{j}")]
            await desk.call("ZADD", keys.completed, *pairs)
        draft = await desk.operator.delete(Selection("completed", "q"))
        assert draft.total == 2300
        operation = await desk.finish(await desk.operator.start(draft))
        assert (operation.total, operation.ok) == (2300, 2300)
        assert (await desk.operator.jobs("q", "completed", Window())).total == 0


async def test_named_jobs_in_a_state_that_does_not_allow_it_are_not_frozen(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        waiting = await desk.put(3)
        (done,) = await desk.complete(1)
        (running,) = await desk.claim(1)
        refs = [JobRef(job_id, "q") for job_id in [*waiting, "nothing", done]]
        assert (await desk.operator.retry(refs)).total == 0
        draft = await desk.operator.delete(refs)
        assert draft.total == 2
        operation = await desk.finish(await desk.operator.start(draft))
        assert operation.ok == 2
        assert await states(desk, waiting) == ["gone", "running", "gone"]
        assert running.id == waiting[1]


async def test_held_jobs_can_be_deleted(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        await desk.operator.pause("q", "job")
        (held,) = await desk.put(1)
        draft = await desk.operator.delete([JobRef(held, "q")])
        assert (await desk.finish(await desk.operator.start(draft))).ok == 1
        await desk.put(2)
        draft = await desk.operator.delete(Selection("pending", "q"))
        assert draft.total == 3
        assert (await desk.finish(await desk.operator.start(draft))).ok == 3


async def test_a_job_that_changed_meanwhile_is_skipped_and_counted(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        dead = await desk.fail(2)
        draft = await desk.operator.retry(Selection("dead"))
        first = await desk.operator.retry([JobRef(dead[0], "q")])
        await desk.finish(await desk.operator.start(first))
        operation = await desk.finish(await desk.operator.start(draft))
        assert (operation.total, operation.done) == (2, 2)
        assert (operation.ok, operation.skipped) == (1, 1)


async def test_a_query_freezes_what_it_matches(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(6)
        await desk.put(2, "other")
        draft = await desk.operator.delete(Selection("pending", None, None, "args.n:>3 queue:q"))
        assert draft.total == 2
        assert [row.args for row in draft.samples] == ['{"n":4}', '{"n":5}']
        await desk.finish(await desk.operator.start(draft))
        assert (await desk.operator.jobs(None, "pending", Window())).total == 6
        with pytest.raises(Denied, match="colour"):
            await desk.operator.delete(Selection("pending", None, None, "colour:red"))


async def test_a_forgotten_draft_leaves_nothing(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        dead = await desk.fail(len(await desk.put(1)))
        before = set(await desk.call("KEYS", f"{{{prefix}:q}}*"))
        draft = await desk.operator.retry(Selection("dead"))
        await desk.operator.forget(draft)
        assert set(await desk.call("KEYS", f"{{{prefix}:q}}*")) == before
        with pytest.raises(Denied):
            await desk.operator.start(draft)
        assert await states(desk, dead) == ["dead"]


async def test_a_draft_that_expired_starts_nowhere(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for queue in ("a", "b"):
            await desk.put(1, queue)
            await desk.fail(1, queue)
        draft = await desk.operator.retry(Selection("dead"))
        operation = draft.id.split(" ")[0]
        assert 0 < await desk.call("TTL", desk.deck.keys("b").operation(operation)) <= 900
        await desk.call("DEL", desk.deck.keys("b").operation(operation))
        with pytest.raises(Denied, match="expired"):
            await desk.operator.start(draft)
        assert (await desk.operator.jobs(None, "dead", Window())).total == 2


async def test_nothing_to_do_is_a_draft_of_none(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        draft = await desk.operator.retry(Selection("dead"))
        assert (draft.total, draft.samples) == (0, ())
        operation = await desk.operator.start(draft)
        assert (operation.state, operation.total) == ("done", 0)
        await desk.operator.forget(draft)


async def test_running_jobs_cannot_be_selected_for_deletion(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        with pytest.raises(Denied, match="running"):
            await desk.operator.delete(Selection("running"))
        with pytest.raises(Denied, match="pending"):
            await desk.operator.retry(Selection("pending"))


async def test_workers_carry_an_operation_on(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        assert not await advance_all(desk.deck, "q")
        await desk.put(450)
        dead = await desk.fail(450)
        operation = await desk.operator.start(await desk.operator.retry(Selection("dead")))
        drafted = await desk.operator.delete(Selection("dead"))
        assert operation.state == "running"
        for _ in range(1000):
            wait = await advance_all(desk.deck, "q")
            if wait is None:
                break
            await asyncio.sleep(wait)
        assert set(await states(desk, dead)) == {"pending"}
        assert {each.state for each in await desk.operator.operations()} == {"done"}
        assert (await desk.finish(await desk.operator.start(drafted))).skipped == 450


async def test_operations_that_are_gone_are_forgotten_by_workers(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        keys = desk.deck.keys("q")
        for n in range(230):
            await desk.call("ZADD", keys.ops, n, f"gone{n}")
        assert not await advance_all(desk.deck, "q")
        assert await desk.call("ZCARD", keys.ops) == 0


async def test_cancel_ends_waiting_jobs_and_asks_running_ones(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ids = await desk.put(3)
        await desk.complete(1)
        await desk.claim(1, worker="w7")
        refs = [JobRef(job_id, "q") for job_id in [*ids, "nothing"]]
        outcome = await desk.operator.cancel(refs)
        assert outcome.changed == 2
        assert outcome.text == "cancelled 1 job, asked 1 job to stop"
        assert [(each.ref.id, each.reason) for each in outcome.skipped] == [
            (ids[0], "it has finished already"),
            ("nothing", "there is no record of it"),
        ]
        waiting = await desk.call("LRANGE", desk.deck.shared.control("w7"), 0, -1)
        assert waiting == [f"cancel {ids[1]}".encode()]
        (row,) = (await desk.operator.running(Window())).rows
        assert row.cancel_requested


async def test_run_now_makes_waiting_jobs_pending(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        later = await desk.put(2, delay=3600)
        (pending,) = await desk.put(1)
        outcome = await desk.operator.run_now([JobRef(each, "q") for each in [*later, pending]])
        assert (outcome.changed, outcome.text) == (2, "made pending 2 jobs")
        assert [each.reason for each in outcome.skipped] == ["it is pending"]
        assert len(await desk.claim(5)) == 3


async def test_pauses_say_who_and_since_when(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        assert (await desk.operator.pause("q")).text == "paused q"
        assert (await desk.operator.pause("q")).changed == 0
        snapshot = await desk.operator.snapshot()
        assert isinstance(snapshot.queues, tuple)
        (row,) = snapshot.queues
        assert row.paused is not None
        assert row.paused.by == "ana@here"
        assert row.paused.since is not None
        assert abs((snapshot.at - row.paused.since).total_seconds()) < 60
        assert await desk.claim(1) == []
        assert (await desk.operator.resume("q")).text == "resumed q"
        assert len(await desk.claim(1)) == 1
        assert (await desk.operator.pause("q", "job")).text == "paused job in q"
        with pytest.raises(Denied, match="no task 'jib'"):
            await desk.operator.pause("q", "jib")
        with pytest.raises(Denied, match="no queue 'k'"):
            await desk.operator.pause("k")


Write = Callable[[Operator], Awaitable[object]]
WRITES: dict[str, Write] = {
    "pause": lambda door: door.pause("q"),
    "resume": lambda door: door.resume("q", "job"),
    "cancel": lambda door: door.cancel([JobRef("x", "q")]),
    "run_now": lambda door: door.run_now([JobRef("x", "q")]),
    "retry": lambda door: door.retry(Selection("dead")),
    "delete": lambda door: door.delete([JobRef("x", "q")]),
    "start": lambda door: door.start(Draft("x q", "retry", 1)),
    "advance": lambda door: door.advance("x q", "q"),
    "forget": lambda door: door.forget(Draft("x q", "retry", 1)),
    "quiet": lambda door: door.quiet("w1"),
    "unquiet": lambda door: door.unquiet("w1"),
    "stop": lambda door: door.stop("w1"),
}


@pytest.mark.parametrize("verb", WRITES)
async def test_a_read_only_door_refuses_every_write(valkey: Server, prefix: str, verb: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        door = desk.deck.admin(read_only=True)
        with pytest.raises(Denied, match="read-only") as caught:
            await WRITES[verb](door)
        assert isinstance(caught.value, ReadOnly)
        await door.close()
