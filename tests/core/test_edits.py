"""Payloads of single jobs, new jobs by hand, and the way of a job to another queue."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.core.desk import Desk
from tests.servers import Cluster, Server

import qdeck
from qdeck import ledger
from qdeck.admin import Denied, JobDetail, JobRef, JobWishes, Selection, Window
from qdeck.job import Job, State
from qdeck.keys import QueueKeys
from qdeck.removal import carry_all


async def detail_of(desk: Desk, job_id: str, queue: str = "q") -> JobDetail:
    """Return one job as an operator sees it."""
    found = await desk.operator.job(JobRef(job_id, queue))
    assert found is not None
    return found


async def job_of(desk: Desk, job_id: str) -> Job[Any]:
    """Return one job as the application sees it."""
    found = await desk.deck.job(job_id)
    assert found is not None
    return found


async def publish(desk: Desk) -> None:
    """Say what the task `mail` takes, as a worker does."""

    async def mail(to: str, count: int = 1) -> None: ...

    handle = qdeck.Deck("sync://").task(mail)
    raw = msgspec.json.encode(handle.spec.describe())
    await desk.call("HSET", desk.deck.shared.tasks, "mail", raw)


@pytest.mark.parametrize("state", ["pending", "scheduled", "dead", "held"])
async def test_a_payload_is_replaced_and_the_old_one_kept(
    deck_url: str, prefix: str, state: str
) -> None:
    async with Desk(deck_url, prefix) as desk:
        (job_id,) = await desk.put(1, delay=3600 if state == "scheduled" else None)
        if state == "held":
            await desk.operator.pause("q", "job")
        if state == "dead":
            await desk.fail(1)
        was = (await job_of(desk, job_id)).state
        outcome = await desk.operator.edit_payload(JobRef(job_id, "q"), '{"n": 7,  "x": "é"}')
        assert (outcome.changed, outcome.text) == (1, f"replaced the payload of {job_id[-8:]} in q")
        job, detail = await job_of(desk, job_id), await detail_of(desk, job_id)
        assert (job.state, job.payload) == (was, {"n": 7, "x": "é"})
        assert (detail.payload, detail.was) == ('{"n": 7,  "x": "é"}', '{"n":0}')
        assert detail.edited_by == "ana@here"
        assert detail.edited_at is not None
        (row, *_) = await desk.operator.audit()
        assert (row.verb, row.target) == ("edit", f"job {job_id} in q")
        await desk.operator.undo(outcome.entry)
        assert (await job_of(desk, job_id)).payload == {"n": 0}
        assert (await detail_of(desk, job_id)).payload == '{"n":0}'


async def test_an_edited_job_runs_with_its_new_payload(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        ran = []

        @desk.deck.task(queue="q")
        async def mail(to: str) -> None:
            ran.append(to)

        job = await mail.enqueue("wrong")
        await desk.operator.edit_payload(JobRef(job.id, "q"), '{"to":"right"}')
        await desk.deck.worker("q", burst=True).run()
        assert ran == ["right"]
        assert (await job_of(desk, job.id)).state is State.COMPLETED
        assert (await detail_of(desk, job.id)).was == '{"to":"wrong"}'


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"count":1}', "'to'"),
        ('{"to":5}', "'to'"),
        ('{"to":"a","count":"many"}', "'count'"),
        ('{"to":"a","colour":1}', "'colour'"),
        ("[1]", "object"),
        ("{", "JSON"),
    ],
)
async def test_a_payload_that_the_task_refuses_is_not_saved(
    valkey: Server, prefix: str, payload: str, said: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await publish(desk)
        job = await desk.deck.enqueue("mail", {"to": "a"}, queue="q")
        with pytest.raises(Denied, match=said):
            await desk.operator.edit_payload(JobRef(job.id, "q"), payload)
        with pytest.raises(Denied, match=said):
            await desk.operator.enqueue_new("mail", payload, JobWishes(queue="q"))
        assert (await detail_of(desk, job.id)).payload == '{"to":"a"}'
        assert (await detail_of(desk, job.id)).was is None
        assert (await desk.operator.jobs("q", "pending", Window())).total == 1


async def test_running_and_unknown_jobs_are_not_edited(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1)
        await desk.claim(1)
        with pytest.raises(Denied, match="runs"):
            await desk.operator.edit_payload(JobRef(job_id, "q"), "{}")
        with pytest.raises(Denied, match="no readable record"):
            await desk.operator.edit_payload(JobRef("nothing", "q"), "{}")
        assert (await detail_of(desk, job_id)).payload == '{"n":0}'


async def test_an_edit_is_not_taken_back_over_another(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1)
        ref = JobRef(job_id, "q")
        first = await desk.operator.edit_payload(ref, '{"n":1}')
        await desk.operator.edit_payload(ref, '{"n":2}')
        with pytest.raises(Denied, match="changed it since"):
            await desk.operator.undo(first.entry)
        assert (await job_of(desk, job_id)).payload == {"n": 2}
        dry = await desk.operator.edit_payload(ref, '{"n":3}', dry_run=True)
        assert dry.changed == 1
        same = await desk.operator.edit_payload(ref, '{"n":2}')
        assert same.changed == 0
        assert (await job_of(desk, job_id)).payload == {"n": 2}


async def test_a_unique_key_of_the_arguments_follows_them(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        first = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique=True)
        second = await desk.deck.enqueue("job", {"n": 2}, queue="q", unique=True)
        with pytest.raises(Denied, match="unique key"):
            await desk.operator.edit_payload(JobRef(first.id, "q"), '{"n":2}')
        await desk.operator.edit_payload(JobRef(first.id, "q"), '{"n":3}')
        again = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique=True)
        assert again.created
        taken = await desk.deck.enqueue("job", {"n": 3}, queue="q", unique=True)
        assert (taken.created, taken.id) == (False, first.id)
        await desk.complete(3)
        free = await desk.deck.enqueue("job", {"n": 3}, queue="q", unique=True)
        assert free.created
        assert second.created


async def test_a_job_is_enqueued_by_hand_and_on_record(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await publish(desk)
        wishes = JobWishes(queue="q", priority=8, delay_s=60, metadata={"by": "hand"})
        dry = await desk.operator.enqueue_new("mail", '{"to":"a"}', wishes, dry_run=True)
        assert dry.changed == 1
        assert (await desk.operator.audit()) == ()
        outcome = await desk.operator.enqueue_new("mail", '{"to":"a"}', wishes)
        (ref,) = outcome.refs
        job = await job_of(desk, ref.id)
        assert (job.state, job.priority, job.task) == (State.SCHEDULED, 8, "mail")
        assert (job.payload, job.metadata) == ({"to": "a"}, {"by": "hand"})
        (row,) = await desk.operator.audit()
        assert (row.verb, row.target, row.count, row.outcome) == (
            "enqueue",
            f"job {ref.id}",
            1,
            "scheduled",
        )
        assert row.actor == "ana@here"
        with pytest.raises(Denied, match="priority"):
            await desk.operator.enqueue_new("mail", '{"to":"a"}', JobWishes(priority=12))


async def test_a_job_is_enqueued_again(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        first = await desk.deck.enqueue("job", {"n": 5}, queue="q", priority=7, unique="k")
        await desk.complete(1)
        outcome = await desk.operator.enqueue_again(JobRef(first.id, "q"))
        job = await job_of(desk, outcome.refs[0].id)
        assert job.id != first.id
        assert (job.payload, job.priority, job.state) == ({"n": 5}, 7, State.PENDING)


async def test_jobs_move_to_another_queue_under_their_ids(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        pending = await desk.put(2)
        later = await desk.put(1, delay=3600)
        due = (await job_of(desk, later[0])).available_at
        (busy,) = await desk.claim(1)
        refs = [JobRef(each, "q") for each in [*pending, *later, "nothing"]]
        outcome = await desk.operator.move_queue(refs, "other")
        assert (outcome.changed, outcome.text) == (2, "moved 2 jobs to other")
        assert {(each.ref.id, each.reason) for each in outcome.skipped} == {
            (busy.id, "it runs"),
            ("nothing", "it is not waiting any more"),
        }
        moved = await job_of(desk, pending[1])
        assert (moved.queue, moved.state, moved.payload) == ("other", State.PENDING, {"n": 1})
        moved = await job_of(desk, later[0])
        assert (moved.queue, moved.state, moved.available_at) == ("other", State.SCHEDULED, due)
        assert await desk.operator.find(pending[1]) == JobRef(pending[1], "other")
        assert (await desk.operator.jobs("q", "pending", Window())).total == 0
        assert [job.id for job in await desk.claim(5, "other")] == [pending[1]]
        (row,) = await desk.operator.audit(queue="q")
        assert (row.verb, row.count, row.outcome) == ("move", 2, "to queue other")


async def test_a_move_that_died_half_way_is_carried_on_once(cluster: Cluster, prefix: str) -> None:
    source, target = (cluster.queue_on(node, prefix) for node in (0, 1))
    async with Desk(cluster.url, prefix) as desk:
        ids = await desk.put(3, source)
        keys: QueueKeys = desk.deck.keys(source)
        command = ledger.depart(keys, target, ids, ledger.Act("eve", "3 jobs"))
        assert ledger.read_departed(await desk.deck.execute(command)).moved == ids
        assert await desk.claim(3, source) == []
        assert {(await job_of(desk, each)).state for each in ids} == {State.PENDING}
        ways = {each: await desk.call("HGET", keys.moving, each) for each in ids}
        records = {each: await desk.call("GET", keys.job(each)) for each in ids}
        assert await carry_all(desk.deck, source) == 3
        assert sorted(job.id for job in await desk.claim(9, target)) == sorted(ids)
        # Whoever died before the last step left the job on its way: it has arrived all the same,
        # even where nothing is known of it any more.
        draft = await desk.operator.delete(Selection("completed", target))
        await desk.operator.forget(draft)
        await desk.call("UNLINK", desk.deck.keys(target).job(ids[0]))
        for each in ids:
            await desk.call("SET", keys.job(each), records[each])
            await desk.call("HSET", keys.moving, each, ways[each])
        assert await carry_all(desk.deck, source) == 3
        assert await desk.claim(9, target) == []
        assert await desk.call("HLEN", keys.moving) == 0


async def test_a_worker_carries_on_what_is_on_its_way(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1)
        keys = desk.deck.keys("q")
        await desk.deck.execute(ledger.depart(keys, "other", [job_id], ledger.Act("eve", "x")))
        await desk.deck.worker("q", burst=True).run()
        assert (await job_of(desk, job_id)).queue == "other"


async def test_a_unique_key_stays_with_a_moved_job(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        job = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        await desk.operator.move_queue([JobRef(job.id, "q")], "other")
        here = await desk.deck.enqueue("job", {"n": 1}, queue="q", unique="k")
        there = await desk.deck.enqueue("job", {"n": 1}, queue="other", unique="k")
        assert here.created
        assert (there.created, there.id) == (False, job.id)


async def test_a_job_cannot_move_to_where_it_is(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1)
        with pytest.raises(Denied, match="already"):
            await desk.operator.move_queue([JobRef(job_id, "q")], "q")
        with pytest.raises(Denied, match="name"):
            await desk.operator.move_queue([JobRef(job_id, "q")], "no such name!")
        dry = await desk.operator.move_queue([JobRef(job_id, "q")], "other", dry_run=True)
        assert dry.changed == 1
        assert (await job_of(desk, job_id)).queue == "q"
