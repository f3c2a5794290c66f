"""What an operator sees, on real servers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import STATES, Action, Admin, Denied, Failure, JobRef, QueueRow, Window
from qdeck.operator import Operator


def as_protocol(operator: Operator) -> Admin:
    return operator


def rows(queues: tuple[QueueRow, ...] | Failure) -> dict[str, QueueRow]:
    assert not isinstance(queues, Failure)
    return {row.name: row for row in queues}


async def test_every_kind_of_server_shows_jobs_of_every_state(deck_url: str, prefix: str) -> None:
    async with Desk(deck_url, prefix) as desk:
        await desk.put(5)
        await desk.put(2, delay=60)
        await desk.put(1, "other")
        await desk.complete(1)
        await desk.fail(1)
        await desk.fail(1, final=False)
        await desk.claim(1)
        door = as_protocol(desk.operator)
        gone = (await door.jobs("q", "pending", Window())).rows[0].ref
        await desk.put(1)
        assert (await door.cancel([gone])).changed == 1
        snapshot = await door.snapshot()
        row = rows(snapshot.queues)["q"]
        assert [getattr(row, state) for state in STATES] == [1, 1, 2, 1, 1, 1, 1]
        assert set(rows(snapshot.queues)) == {"q", "other"}
        assert snapshot.processed_today == 2
        assert snapshot.failed_today == 2
        for state in STATES:
            page = await door.jobs(None, state, Window())
            assert page.total == len(page.rows)
            assert {job.state for job in page.rows} == {state}
        assert (await door.jobs(None, "pending", Window(), "queue:other args.n:0")).total == 1


async def test_a_snapshot_of_twelve_queues_takes_two_round_trips(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for n in range(12):
            await desk.put(3, f"q{n}")
        reader = desk.operator.reader
        await desk.operator.snapshot()
        before = reader.trips
        snapshot = await desk.operator.snapshot()
        assert reader.trips - before == 2
        assert all(row.pending == 3 for row in rows(snapshot.queues).values())


async def test_what_nothing_is_known_of_is_none_and_not_zero(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.complete(len(await desk.put(1)))
        row = rows((await desk.operator.snapshot()).queues)["q"]
        assert row.oldest_pending_s is None
        assert row.limit is None
        assert row.rate is None
        assert row.drain_s == 0.0
        await desk.put(1)
        row = rows((await desk.operator.snapshot()).queues)["q"]
        assert row.oldest_pending_s is not None
        assert row.drain_s is None


async def test_the_age_of_a_retried_job_counts_from_its_retry(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1)
        keys = desk.deck.keys("q")
        raw = await desk.call("GET", keys.job(job_id))
        long_ago = int((datetime.now(UTC) - timedelta(hours=2)).timestamp() * 1000)
        stamp = b"\xcf" + long_ago.to_bytes(8, "big")
        await desk.call("SET", keys.job(job_id), raw[:1] + stamp + raw[10:])
        row = rows((await desk.operator.snapshot()).queues)["q"]
        assert row.oldest_pending_s is not None
        assert row.oldest_pending_s > 7000
        await desk.fail(1)
        draft = await desk.operator.retry([JobRef(job_id, "q")])
        await desk.finish(await desk.operator.start(draft))
        row = rows((await desk.operator.snapshot()).queues)["q"]
        assert row.oldest_pending_s is not None
        assert row.oldest_pending_s < 7000


async def test_a_list_over_all_queues_has_one_order_however_deep_it_is_read(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for n in range(3):
            keys = desk.deck.keys(f"q{n}")
            await desk.call("SADD", desk.deck.shared.queues, f"q{n}")
            # Many share one moment, as after a bulk operation.
            for i in range(0, 600, 100):
                pairs = [x for j in range(i, i + 100) for x in (1000 + j // 50 * n, f"{n}-{j:04}")]
                await desk.call("ZADD", keys.dead, *pairs)

        async def ids(offset: int, limit: int, reverse: bool = False) -> list[str]:
            window = Window(offset, limit, reverse)
            page = await desk.operator.jobs(None, "dead", window)
            assert page.total == 1800
            return [row.ref.id for row in page.rows]

        whole = await ids(0, 400)
        for offset in range(400, 1800, 100):
            whole += await ids(offset, 100)
        assert len(set(whole)) == 1800
        assert await ids(350, 700) == whole[350:1050]
        assert await ids(0, 450, True) == whole[::-1][:450]
        assert await ids(700, 90, True) == whole[::-1][700:790]
        assert await ids(1790, 90, True) == whole[::-1][1790:]
        assert await ids(1800, 10) == []


async def test_a_deep_window_costs_few_round_trips(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for n in range(3):
            await desk.put(1, f"q{n}")
            keys = desk.deck.keys(f"q{n}")
            for i in range(0, 5000, 500):
                pairs = [x for j in range(i, i + 500) for x in (10**12 + j * 9973, f"{n}-{j}")]
                await desk.call("ZADD", keys.dead, *pairs)
        before = desk.operator.reader.trips
        page = await desk.operator.jobs(None, "dead", Window(9000, 50))
        assert len(page.rows) == 50
        assert desk.operator.reader.trips - before < 20


async def test_held_jobs_are_pending_and_listed(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1, task="slow")
        await desk.operator.pause("q", "slow")
        await desk.put(2, task="slow")
        await desk.put(2, task="fast")
        page = await desk.operator.jobs("q", "pending", Window())
        order = [(row.task, row.held) for row in page.rows]
        assert sorted(order) == [("fast", False)] * 2 + [("slow", True)] * 3
        assert page.total == 5
        deep = await desk.operator.jobs("q", "pending", Window(3, 2))
        assert deep.rows == page.rows[3:]
        row = rows((await desk.operator.snapshot()).queues)["q"]
        assert (row.pending, row.held) == (5, 2)
        held = page.rows[1]
        detail = await desk.operator.job(held.ref)
        assert detail is not None
        assert detail.row.state == "pending"
        assert detail.row.held


async def test_a_list_reads_little_of_large_payloads_and_shows_all_else(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        job = await desk.deck.enqueue(
            "job", {"text": "x" * 500_000}, queue="q", priority=7, max_retries=8
        )
        before = int(valkey.info()["total_net_output_bytes"])
        page = await desk.operator.jobs("q", "pending", Window())
        assert int(valkey.info()["total_net_output_bytes"]) - before < 100_000
        (row,) = page.rows
        assert (row.ref.id, row.task, row.priority, row.max_attempts) == (job.id, "job", 7, 9)
        assert row.args == ('{"text":"' + "x" * 500)[:200]
        assert row.created_at == job.created_at
        detail = await desk.operator.job(row.ref)
        assert detail is not None
        assert len(detail.payload) == 500_011


async def test_broken_records_are_rows_with_a_reason(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        keys = desk.deck.keys("q")
        broken = await desk.put(4)
        await desk.call("SET", keys.job(broken[0]), b"\xff\x00 not msgpack")
        await desk.call("DEL", keys.job(broken[1]))
        await desk.call("DEL", keys.job(broken[2]))
        await desk.call("LPUSH", keys.job(broken[2]), "a list")
        await desk.call("SET", keys.run(broken[3]), "a string")
        page = await desk.operator.jobs("q", "pending", Window())
        assert [row.task for row in page.rows] == ["?", "?", "?", "job"]
        assert [row.error for row in page.rows] == [
            "the record is not readable",
            "the record is missing",
            "the record is not readable",
            "",
        ]
        for row in page.rows:
            detail = await desk.operator.job(row.ref)
            assert detail is not None
            assert detail.row.task == row.task
            assert detail.reason == row.error
        assert (await desk.operator.jobs("q", "pending", Window(), "task:job")).total == 1


async def test_a_key_of_a_wrong_kind_costs_its_own_number_only(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        keys = desk.deck.keys("q")
        for name in ("dead", "errors", "tasks"):
            await desk.call("DEL", getattr(keys, name))
            await desk.call("SET", getattr(keys, name), "wrong")
        row = rows((await desk.operator.snapshot()).queues)["q"]
        assert (row.pending, row.dead) == (2, None)
        assert (await desk.operator.jobs("q", "dead", Window())).rows == ()
        assert (await desk.operator.errors()).groups == ()
        assert await desk.operator.tasks("q") == ()


async def test_a_job_is_shown_with_all_that_is_kept_of_it(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        (job_id,) = await desk.put(1, metadata={"by": "ana"}, priority="high", max_retries=1)
        ref = await desk.operator.find(job_id)
        assert ref == JobRef(job_id, "q")
        await desk.fail(1, final=False, delay_ms=0, message="first")
        tend = desk.operator.run_now([ref])
        assert (await tend).changed == 1
        await desk.fail(1, message="second: <b>")
        detail = await desk.operator.job(ref)
        assert detail is not None
        assert detail.row.state == "dead"
        assert (detail.row.attempt, detail.row.max_attempts, detail.row.priority) == (2, 2, 6)
        assert detail.payload == '{"n":0}'
        assert detail.metadata == '{"by":"ana"}'
        assert detail.result is None
        assert detail.error is not None
        assert (detail.error.type, detail.error.message) == ("OSError", "second: <b>")
        assert detail.error.traceback == "Traceback …"
        assert [(a.number, a.outcome, a.worker) for a in detail.attempts] == [
            (1, "retrying", "w1"),
            (2, "dead", "w1"),
        ]
        assert detail.attempts[1].error == "OSError: second: <b>"
        assert detail.row.error == "OSError: second: <b>"
        assert detail.row.finished_at is not None
        assert detail.reason == "no use"
        assert detail.crashes == 0
        assert await desk.operator.job(JobRef("nothing", "q")) is None
        assert await desk.operator.find("nothing") is None


async def test_a_result_is_shown_as_it_was_stored(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        (job_id,) = await desk.complete(1)
        detail = await desk.operator.job(JobRef(job_id, "q"))
        assert detail is not None
        assert (detail.row.state, detail.result) == ("completed", '"done"')


async def test_running_jobs_of_all_queues_are_listed_by_start(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        order = []
        for n in (2, 0, 1):
            await desk.put(1, f"q{n}")
            order += [claimed.id for claimed in await desk.claim(1, f"q{n}", f"w{n}")]
            await asyncio.sleep(0.005)
        page = await desk.operator.running(Window())
        assert [row.ref.id for row in page.rows] == order
        assert page.total == 3
        assert [row.worker for row in page.rows] == ["w2", "w0", "w1"]
        turned = await desk.operator.running(Window(1, 2, True))
        assert [row.ref.id for row in turned.rows] == order[::-1][1:]


async def test_a_running_job_is_shown_beside_the_usual_time_of_its_task(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(4)
        await desk.complete(3)
        await desk.claim(1)
        (row,) = (await desk.operator.running(Window())).rows
        assert row.usual_p95_s == pytest.approx(0.012, rel=0.13)
        (task,) = await desk.operator.tasks("q")
        assert task.run_p50 == row.usual_p95_s
        assert task.wait_p95 is not None
        assert task.failure_share == 0.0
        assert (task.pending, task.running, task.later, task.dead) == (0, 1, 0, 0)


async def test_tasks_of_a_queue_come_worst_first(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2, task="good")
        await desk.complete(2, task="good")
        await desk.put(4, task="bad")
        await desk.fail(3, task="bad")
        await desk.complete(1, task="bad")
        await desk.put(3, task="new")
        await desk.operator.pause("q", "new")
        found = await desk.operator.tasks("q")
        assert [row.task for row in found] == ["bad", "new", "good"]
        assert found[0].failure_share == 0.75
        assert found[0].dead == 3
        assert found[1].failure_share is None
        assert found[1].run_p50 is None
        assert found[1].paused is not None
        assert found[1].paused.by == "ana@here"


async def test_dead_jobs_are_grouped_by_error(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(5)
        await desk.put(1, "other")
        small = await desk.fail(1, message="odd", fingerprint="f2")
        large = await desk.fail(4)
        await desk.fail(1, "other")
        found = await desk.operator.errors()
        assert [(g.queue, g.fingerprint, g.count) for g in found.groups] == [
            ("q", "f1", 4),
            ("other", "f1", 1),
            ("q", "f2", 1),
        ]
        assert found.total_dead == 6
        assert found.complete
        first = found.groups[0]
        assert (first.task, first.type, first.message) == ("job", "OSError", "no route to host")
        assert first.new_per_hour == 4
        assert first.sample is not None
        assert first.sample.id in large
        page = await desk.operator.group(first, Window(0, 3))
        assert page.total == 4
        assert [row.ref.id for row in page.rows] == sorted(large, reverse=True)[:3]
        assert len((await desk.operator.errors("q")).groups) == 2
        # The sample of a group is one that is still there.
        await desk.finish(
            await desk.operator.start(await desk.operator.delete([JobRef(small[0], "q")]))
        )
        assert [g.fingerprint for g in (await desk.operator.errors("q")).groups] == ["f1"]


async def test_actions_tell_what_may_be_done_and_why_not(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(3)
        await desk.fail(1)
        await desk.claim(1)
        door = desk.operator
        known = set(get_args(Action))
        for state in ("pending", "running", "dead"):
            (row,) = (await door.jobs("q", state, Window())).rows
            found = door.actions(row)
            assert set(found) <= known
            allowed = {verb for verb, permission in found.items() if permission.allowed}
            assert (
                allowed
                == {
                    "pending": {"cancel", "delete"},
                    "running": {"cancel"},
                    "dead": {"retry", "delete"},
                }[state]
            )
            assert all(
                permission.reason for verb, permission in found.items() if verb not in allowed
            )
        queue = rows((await door.snapshot()).queues)["q"]
        assert {verb: each.allowed for verb, each in door.actions(queue).items()} == {
            "pause": True,
            "resume": False,
        }
        looking = desk.deck.admin(read_only=True)
        assert looking.read_only
        assert not any(each.allowed for each in looking.actions(queue).values())
        await looking.close()


async def test_names_that_no_queue_can_have_are_refused(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for call in (
            desk.operator.jobs("a b", "dead", Window()),
            desk.operator.tasks("a{b}"),
            desk.operator.job(JobRef("x", "a b")),
            desk.operator.pause("nowhere"),
        ):
            with pytest.raises(Denied):
                await call


async def test_a_server_that_is_away_is_an_os_error_in_words(prefix: str) -> None:
    user = ("ACL", "SETUSER", "ana", "on", ">tops3cret", "~*", "&*", "+@all")
    with Server() as server:
        server.ask(*user)
        url = server.url.replace("redis://", "redis://ana:tops3cret@")
        async with Desk(url, prefix) as desk:
            await desk.put(1)
            await desk.operator.snapshot()
            server.kill()
            for call in (
                desk.operator.snapshot,
                desk.operator.workers,
                lambda: desk.operator.log(JobRef("x", "q"), "", True),
            ):
                with pytest.raises(OSError, match=f"127.0.0.1:{server.port}") as raised:
                    await call()
                assert "tops3cret" not in str(raised.value)
                assert "\n" not in str(raised.value)
            assert "tops3cret" not in desk.operator.label
            server.start()
            server.ask(*user)
            snapshot = await desk.operator.snapshot()
            assert rows(snapshot.queues) == {}


async def test_the_label_names_server_and_prefix(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.operator.snapshot()
        version = ".".join(valkey.info()["valkey_version"].split(".")[:2])
        assert desk.operator.label == f"valkey {version} 127.0.0.1:{valkey.port}/0 {prefix}"
        assert desk.operator.actor == "ana@here"
        assert "@" in desk.deck.admin().actor
