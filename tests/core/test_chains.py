"""Chains and groups on a real server: what waits starts once, when all before it have completed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.core.apps import tied
from tests.core.crew import crew
from tests.core.serving import check_sets, eventually, finished, new_deck, serving, state_of
from tests.servers import Cluster, Server

from qdeck import Context, Deck, Job, JobDead, State
from qdeck import queue as verbs
from qdeck.courier import deliver_all
from qdeck.links import decode_names
from qdeck.record import Settle


class Tasks:
    """Tasks of one deck that note their runs in order."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self.ran: list[Any] = []
        self.fail: set[str] = set()

        @deck.task(queue="one", max_retries=0)
        async def note(ctx: Context, word: str) -> str:
            self.ran.append((word, ctx.after))
            if word in self.fail:
                raise ValueError(word)
            return word

        @deck.task(queue="two")
        async def join(ctx: Context) -> str:
            words = [await deck.result(job_id, timeout=0) for job_id in ctx.after]
            self.ran.append(("".join(words), ctx.after))
            return "".join(words)

        self.note, self.join = note, join

    @property
    def words(self) -> list[str]:
        """What ran, in order."""
        return [word for word, _ in self.ran]


@pytest.fixture
async def tasks(deck: Deck) -> Tasks:
    """Tasks in two queues."""
    return Tasks(deck)


def states(jobs: list[Job[Any]]) -> list[str]:
    """Return the states of jobs as they were returned."""
    return [str(job.state) for job in jobs]


async def act(deck: Deck, verb: str, job: Job[Any]) -> None:
    """Do an operator's verb to one job."""
    answer = await deck.execute(verbs.move(deck.keys(job.queue), verb, "eve", [job.id]))
    assert verbs.read_moved(answer)[0].outcome in ("pending", "cancelled", "deleted")


async def settle_by_hand(deck: Deck, job: Job[Any], kind: str = "c") -> str:
    """Run a job as a worker that vanishes right after its settle."""
    keys = deck.keys(job.queue)
    worker = f"hand:{time.monotonic_ns()}"
    turn = verbs.read_turn(await deck.execute(verbs.work(keys, worker, 1, 1, 15.0, [])))
    (claimed,) = turn.claimed
    assert claimed.id == job.id
    found = await deck.find(job.id)
    assert found is not None
    assert found.record is not None
    links = found.record.body.links
    settle = Settle(job.id, claimed.fence, kind, job.task, 1.0, '"x"', 0, "no")
    settle.then = links.then if links and kind == "c" else ""
    turn = verbs.read_turn(await deck.execute(verbs.work(keys, worker, 2, 0, 15.0, [settle])))
    return turn.settled[0]


async def test_each_step_of_a_chain_runs_once_after_the_one_before(tasks: Tasks) -> None:
    a, b, c = (tasks.note.call(word) for word in "abc")
    jobs = await a.then(b, tasks.join.call(), c).enqueue()
    assert states(jobs) == ["pending", "scheduled", "scheduled", "scheduled"]
    assert [job.available_at is None for job in jobs] == [False, True, True, True]
    assert jobs[1].message == f"waiting for {jobs[0].id}"
    waiting = await tasks.deck.job(jobs[2].id)
    assert waiting is not None
    assert (waiting.state, waiting.available_at) == (State.SCHEDULED, None)
    assert waiting.message == f"waiting for {jobs[1].id}"
    async with serving(tasks.deck, "one", "two"):
        done = [await finished(tasks.deck, job) for job in jobs]
    assert [job.result for job in done] == ["a", "b", "b", "c"]
    assert tasks.ran == [
        ("a", ()),
        ("b", (jobs[0].id,)),
        ("b", (jobs[1].id,)),
        ("c", (jobs[2].id,)),
    ]
    assert done[3].available_at is not None
    assert done[3].created_at is not None
    assert done[3].available_at >= done[3].created_at
    assert done[3].message is None


async def test_the_job_after_a_group_starts_when_all_of_it_have_completed(tasks: Tasks) -> None:
    words = [tasks.note.call(str(number)) for number in range(10)]
    group = tasks.deck.group([*words[:9], words[9].then(tasks.join)])
    flow = group.then(tasks.join.call(), tasks.deck.group([tasks.note.call(w) for w in "xy"]))
    jobs = await flow.enqueue()
    async with serving(tasks.deck, "one", "two"):
        done = [await finished(tasks.deck, job) for job in jobs]
    assert {job.state for job in done} == {State.COMPLETED}
    assert done[11].result == "0123456789"
    assert sorted(tasks.words[-2:]) == ["x", "y"]
    assert len(tasks.ran) == 14


async def test_a_burst_worker_runs_a_chain_to_its_end(tasks: Tasks) -> None:
    jobs = tasks.note.call("a").then(tasks.join, tasks.note.call("b")).enqueue_sync()
    worker = tasks.deck.worker(["one", "two"], burst=True)
    await asyncio.wait_for(worker.run(), 60)
    assert [await state_of(tasks.deck, job) for job in jobs] == [State.COMPLETED] * 3


@pytest.mark.parametrize("end", ["dead", "cancelled"])
async def test_a_member_that_does_not_complete_stops_the_chain_until_it_is_retried(
    tasks: Tasks, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.fail = {"b"} if end == "dead" else set()
    jobs = await tasks.note.call("a").then(tasks.note.call("b"), tasks.join).enqueue()
    if end == "cancelled":
        assert await tasks.deck.cancel(jobs[1].id) == "cancelled"
    async with serving(tasks.deck, "one", "two"):
        assert (await finished(tasks.deck, jobs[1])).state == end
        assert (await finished(tasks.deck, jobs[0])).state is State.COMPLETED
        assert await state_of(tasks.deck, jobs[2]) is State.SCHEDULED
        if end == "dead":
            assert f"{jobs[1].id} is dead, and its chain stops: {jobs[2].id}" in caplog.text
            with pytest.raises(JobDead):
                await tasks.deck.result(jobs[1].id)
        tasks.fail.clear()
        await act(tasks.deck, "retry", jobs[1])
        assert (await finished(tasks.deck, jobs[2])).result == "b"
    assert tasks.words == (["a", "b", "b", "b"] if end == "dead" else ["a", "b", "b"])


async def test_the_delay_of_a_step_counts_from_the_end_of_the_one_before(tasks: Tasks) -> None:
    later = tasks.join.options(delay=1000).call()
    first, second = await tasks.note.call("a").then(later).enqueue()
    async with serving(tasks.deck, "one", "two"):
        done = await finished(tasks.deck, first)

        async def dated() -> Job[Any] | None:
            found = await tasks.deck.job(second.id)
            return found if found is not None and found.available_at is not None else None

        found = await eventually(dated)
    assert found.state is State.SCHEDULED
    assert found.message is None
    wait = (found.available_at - done.finished_at).total_seconds()
    assert 999 <= wait <= 1030


async def test_what_a_vanished_worker_left_in_the_outbox_is_delivered_once(tasks: Tasks) -> None:
    deck = tasks.deck
    first, second = await tasks.note.call("a").then(tasks.join).enqueue()
    assert await settle_by_hand(deck, first) == "completed"
    outbox = deck.keys("one").outbox
    raw = await deck.call("HGET", outbox, first.id)
    assert decode_names(raw.decode()) == [("two", second.id)]
    assert await state_of(deck, second) is State.SCHEDULED
    assert await asyncio.gather(*(deliver_all(deck, "one") for _ in range(5))) != [0] * 5
    assert await deck.call("EXISTS", outbox) == 0
    assert await state_of(deck, second) is State.PENDING
    await deck.call("HSET", outbox, first.id, raw)
    async with serving(deck, "two"):
        await finished(deck, second)
    # A delivery that comes late, or again, finds nothing that waits.
    for _ in range(2):
        await deck.call("HSET", outbox, first.id, raw)
        assert await deliver_all(deck, "one") == 1
    assert tasks.words == ["x"]
    assert await deck.call("ZCARD", deck.keys("two").ready) == 0


async def test_a_worker_delivers_what_it_finds_when_it_starts(tasks: Tasks) -> None:
    first, second = await tasks.note.call("a").then(tasks.note.call("b")).enqueue()
    assert await settle_by_hand(tasks.deck, first) == "completed"
    async with serving(tasks.deck, "one"):
        assert (await finished(tasks.deck, second)).state is State.COMPLETED


async def test_one_member_counts_once_however_often_it_is_delivered(tasks: Tasks) -> None:
    deck = tasks.deck
    first, _, last = (
        await deck.group([tasks.note.call("a"), tasks.note.call("b")]).then(tasks.join).enqueue()
    )
    await settle_by_hand(deck, first)
    raw = await deck.call("HGET", deck.keys("one").outbox, first.id)
    for _ in range(3):
        await deliver_all(deck, "one")
        await deck.call("HSET", deck.keys("one").outbox, first.id, raw)
    assert await deck.call("SCARD", deck.keys("two").done(last.id)) == 1
    assert await state_of(deck, last) is State.SCHEDULED


async def test_a_job_that_waits_can_be_run_now_cancelled_and_deleted(tasks: Tasks) -> None:
    deck = tasks.deck
    jobs = (
        await tasks.note.call("a")
        .then(deck.group([tasks.note.call(word) for word in "bcd"]))
        .enqueue()
    )
    for verb, job in zip(("run_now", "cancel", "delete"), jobs[1:], strict=True):
        await act(deck, verb, job)
    async with serving(deck, "one"):
        await finished(deck, jobs[0])
        await finished(deck, jobs[1])
        await eventually(lambda: deck_empty(deck))
    assert sorted(tasks.words) == ["a", "b"]
    assert await state_of(deck, jobs[2]) is State.CANCELLED


async def deck_empty(deck: Deck) -> bool:
    """Return whether nothing waits in the outbox of queue one."""
    return not await deck.call("EXISTS", deck.keys("one").outbox)


async def test_a_step_of_a_paused_task_is_held_and_goes_on_when_it_is_resumed(
    tasks: Tasks,
) -> None:
    admin = tasks.deck.admin("eve")
    first, second = await tasks.note.call("a").then(tasks.join).enqueue()
    await admin.pause("two", task="join")
    async with serving(tasks.deck, "one", "two"):
        await finished(tasks.deck, first)
        held = tasks.deck.keys("two").held("join")
        await eventually(lambda: tasks.deck.call("ZCARD", held))
        assert await state_of(tasks.deck, second) is State.PENDING
        await admin.resume("two", task="join")
        assert (await finished(tasks.deck, second)).result == "a"


async def test_a_flow_over_many_queues_and_chunks_is_enqueued_whole(
    deck: Deck, valkey: Server, prefix: str
) -> None:
    @deck.task
    async def work(n: int) -> int:
        return n

    heads = [work.options(queue=f"q{n % 3}").call(n) for n in range(700)]
    end = work.options(queue="q9").call(7)
    jobs = await deck.group(heads).then(end).enqueue()
    counts = check_sets(valkey, prefix)
    assert (counts["ready"], counts["scheduled"]) == (700, 1)
    async with serving(deck, "q0", "q1", "q2", "q9", concurrency=50):
        assert (await finished(deck, jobs[-1])).result == 7
    assert check_sets(valkey, prefix)["completed"] == 701


async def test_a_chain_goes_over_the_nodes_of_a_cluster(cluster: Cluster, prefix: str) -> None:
    queues = [cluster.queue_on(node, prefix) for node in range(3)]
    async with new_deck(cluster.url, prefix) as deck:
        tasks = Tasks(deck)
        heads = [tasks.note.options(queue=queues[n % 3]).call(str(n)) for n in range(6)]
        ends = [tasks.join.options(queue=queue, limit_key="k").call() for queue in queues]
        jobs = await deck.group(heads).then(*ends).enqueue()
        async with serving(deck, *queues):
            done = [await finished(deck, job) for job in jobs]
    assert [job.result for job in done[6:]] == ["012345"] * 3


async def test_chains_and_groups_survive_killed_workers(
    valkey: Server, prefix: str, tmp_path: Path
) -> None:
    dice = random.Random(5)
    async with new_deck(valkey.url, prefix) as deck:
        for task in tied.deck.registry:
            deck.registry.add(task)
        total = 0
        for chain in range(120):
            steps = [tied.step.call(chain, number) for number in range(3)]
            flow = steps[0].then(*steps[1:], tied.last.call(chain))
            if chain % 3 == 0:
                flow = deck.group(steps).then(tied.last.call(chain))
            total += len(await deck.send_flow(flow))
        keys = [deck.keys("first"), deck.keys("second")]

        def completed() -> int:
            return sum(int(valkey.ask("ZCARD", each.completed)) for each in keys)

        with crew(valkey, prefix, tmp_path, lease=1.5, app="tied") as workers:
            for _ in range(4):
                workers.start("-c", "4")
            deadline = time.monotonic() + 150
            kills = 0
            while completed() < total:
                assert time.monotonic() < deadline, workers.log()[-5000:]
                await asyncio.sleep(0.5)
                if kills < 8:
                    workers.end(dice.choice(workers.living))
                    workers.start("-c", "4")
                    kills += 1
        counts = check_sets(valkey, prefix)
        assert counts == dict.fromkeys(counts, 0) | {"completed": total}
        assert [valkey.ask("EXISTS", each.outbox) for each in keys] == [0, 0]
        raw = valkey.ask("HGETALL", tied_name(prefix, "steps"))
        ran = Counter(raw[i].decode() for i in range(0, len(raw), 2))
        for chain in range(120):
            expected = [f"{chain} {number} True" for number in range(3)]
            expected.append(f"{chain} end {3 if chain % 3 == 0 else 2}")
            assert all(ran.pop(word) == 1 for word in expected)
        assert ran == Counter(), "a step ran before the one before had completed"


def tied_name(prefix: str, word: str) -> str:
    """Return a key that the app of tied tasks writes."""
    return f"{{{prefix}-effects}}:{word}"
