"""What an operator is told of jobs that wait for others or a key, and what becomes of orphans."""

from __future__ import annotations

import pytest
from tests.core.serving import eventually, finished, serving, state_of
from tests.core.test_acl import login
from tests.core.test_chains import Tasks, act, settle_by_hand
from tests.core.test_keys import Bills, awaited, held
from tests.servers import Server

from qdeck import Deck, Job, State, orphans
from qdeck import queue as verbs
from qdeck.admin import Cause, JobRef
from qdeck.courier import deliver_all
from qdeck.orphans import cancel_orphans


@pytest.fixture
async def tasks(deck: Deck) -> Tasks:
    """Tasks in two queues."""
    return Tasks(deck)


async def causes(deck: Deck, job: Job[str] | Job[None]) -> list[Cause]:
    """Return why a job is not running."""
    found = await deck.admin("eve").explain(JobRef(job.id, job.queue))
    return list(found.causes)


async def test_a_job_that_waits_names_what_it_waits_for(tasks: Tasks) -> None:
    group = tasks.deck.group([tasks.note.call(word) for word in "abc"])
    *members, last, end = await group.then(tasks.join.call(), tasks.note.call("z")).enqueue()
    (cause,) = await causes(tasks.deck, last)
    assert cause.word == "waiting"
    shown = ", ".join(f"{job.id} (pending in one)" for job in members)
    assert cause.text == f"it is waiting for 3 of 3 jobs: {shown}"
    (cause,) = await causes(tasks.deck, end)
    assert cause.text == f"it is waiting for job {last.id} (waiting in two)"
    await settle_by_hand(tasks.deck, members[0])
    await deliver_all(tasks.deck, "one")
    (cause,) = await causes(tasks.deck, last)
    assert cause.text.startswith("it is waiting for 2 of 3 jobs: ")
    found = await tasks.deck.admin("eve").job(JobRef(last.id, "two"))
    assert found is not None
    assert (found.row.state, found.row.due_at) == ("scheduled", None)
    assert found.row.message.startswith("waiting for ")


@pytest.mark.parametrize("end", ["dead", "cancelled", "not on record"])
async def test_a_chain_that_has_stopped_says_so_at_both_ends(tasks: Tasks, end: str) -> None:
    first, second = await tasks.note.call("a").then(tasks.join).enqueue()
    if end == "dead":
        assert await settle_by_hand(tasks.deck, first, "f") == "dead"
    else:
        await act(tasks.deck, "cancel", first)
    if end == "not on record":
        await act(tasks.deck, "delete", first)
    (cause,) = await causes(tasks.deck, second)
    assert cause.text == (
        f"it is waiting for job {first.id}, and the chain has stopped: it is {end}"
    )
    assert "run this one now, or cancel it" in cause.next_step
    if end != "not on record":
        assert cause.next_step.startswith("retry it to go on")
        told = (await causes(tasks.deck, first))[1]
        assert told.text == f"its chain has stopped with it: {second.id} waits for it"


async def test_a_job_held_for_its_key_names_who_has_the_places(deck: Deck) -> None:
    bills = Bills(deck)
    bills.gate.clear()
    jobs = await deck.enqueue_many(bills.bill.call("ann", str(n)) for n in range(4))
    async with serving(deck, grace=0.1):
        await eventually(lambda: awaited(held(deck), 3))
        cause = next(c for c in await causes(deck, jobs[2]) if c.word == "key limit")
        assert cause.text == (
            "it is waiting for its key 'c:ann', of which at most 1 run at once: "
            f"{jobs[0].id} has its places; 1 that wait for it come first"
        )
        whole = await deck.admin("eve").explain("default")
        assert "key limit" in [cause.word for cause in whole.causes]
        verdict = await deck.admin("eve").snapshot()
        assert "paused" not in str(verdict.verdict)


async def test_what_waits_in_vain_is_cancelled_after_an_hour(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    deck = tasks.deck
    first, second = await tasks.note.call("a").then(tasks.join).enqueue()
    third, fourth = await tasks.note.call("b").then(tasks.join).enqueue()
    await act(deck, "delete", first)
    assert await cancel_orphans(deck, "two") == 0
    monkeypatch.setattr(orphans, "GRACE_MS", -1000)
    assert await cancel_orphans(deck, "one") == 0
    assert await cancel_orphans(deck, "two") == 1
    gone = await finished(deck, second)
    assert gone.state is State.CANCELLED
    assert gone.message == "cancelled by qdeck, since what it waited for is gone"
    # Word of one that completed may lie in the outbox when its record is gone already.
    assert await settle_by_hand(deck, third) == "completed"
    await act(deck, "delete", third)
    assert await cancel_orphans(deck, "two") == 0
    async with serving(deck, "one"):
        await eventually(lambda: pending(deck, fourth))
    assert await cancel_orphans(deck, "two") == 0


async def pending(deck: Deck, job: Job[str]) -> bool:
    """Return whether a job is pending."""
    return await state_of(deck, job) is State.PENDING


async def test_deleting_a_job_that_waits_leaves_nothing_of_it(tasks: Tasks) -> None:
    deck = tasks.deck
    first, _, last = (
        await deck.group([tasks.note.call("a"), tasks.note.call("b")]).then(tasks.join).enqueue()
    )
    keys = deck.keys("two")
    await deck.execute(verbs.deliver(keys, [(last.id, f"one {first.id}")]))
    assert await deck.call("EXISTS", keys.done(last.id)) == 1
    await act(deck, "delete", last)
    assert await deck.call("EXISTS", keys.done(last.id), keys.job(last.id)) == 0


async def test_users_with_fewer_rights_chain_run_and_look(prefix: str) -> None:
    with Server() as server:
        producer = Tasks(Deck(login(server, "producer", prefix), prefix=prefix))
        worker = Tasks(Deck(login(server, "worker", prefix), prefix=prefix))
        viewer = Deck(login(server, "viewer", prefix), prefix=prefix)
        async with producer.deck, worker.deck, viewer:
            limited = producer.note.options(limit_key="k")
            group = producer.deck.group([limited.call(word) for word in "abc"])
            jobs = await group.then(producer.join).enqueue()
            last = JobRef(jobs[-1].id, "two")
            assert (await viewer.admin("eve").explain(last)).word == "waiting"
            async with serving(worker.deck, "one", "two", concurrency=3):
                assert await producer.deck.result(jobs[-1].id, timeout=30) == "abc"
            denied = {entry[7] for entry in server.ask("ACL", "LOG")}
            assert denied <= {b"config|get"}, "which tells how durable a server is, where it may"
