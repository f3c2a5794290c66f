"""What an operator sees, on real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import STATES, Admin, Denied, Failure, JobRef, QueueRow, Verdict, Window
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


async def test_reads_show_everything_unless_told_otherwise(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(2)
        await desk.put(1, "other", "report")
        await desk.claim(1, "other")
        door = desk.operator
        assert [row.task for row in (await door.jobs()).rows] == ["job", "job"]
        assert [row.task for row in (await door.running()).rows] == ["report"]
        assert [(row.queue, row.task) for row in await door.tasks()] == [
            ("other", "report"),
            ("q", "job"),
        ]
        verdict = await door.verdict()
        assert isinstance(verdict, Verdict)
        assert (verdict.word, verdict.causes) == ("DOWN", ("no worker runs; 2 jobs pending in q",))
