"""What failures share, what was, what happened and how the server is, on real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.core.desk import Desk
from tests.core.serving import eventually, serving
from tests.servers import Cluster, Sentinels, Server

from qdeck.admin import (
    ErrorGroup,
    Fact,
    Failure,
    JobRef,
    Operation,
    ScheduleRow,
    Shared,
    SlotRow,
    Window,
    WorkerRow,
)
from qdeck.causes import of_server
from qdeck.events import of_dead, of_operations, of_schedules, of_workers
from qdeck.keys import queue_keys
from qdeck.overview import Facts
from qdeck.stats import Tally

NOW = datetime(2026, 11, 22, 3, 0, 30, tzinfo=UTC)


async def only_group(desk: Desk) -> ErrorGroup:
    (group,) = (await desk.operator.errors()).groups
    return group


def of_kind(found: Shared, kind: str) -> list[Fact]:
    return [fact for fact in found.facts if fact.kind == kind]


async def kill(desk: Desk, payloads: list[dict[str, Any]], worker: str = "w1") -> None:
    """Lets jobs with these payloads die of the same error."""
    for payload in payloads:
        await desk.deck.enqueue("invoice", payload, queue="q")
    await desk.fail(len(payloads), task="invoice", message="'currency'")


async def test_an_argument_that_completed_jobs_have_is_named_as_missing(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for n in range(8):
            await desk.deck.enqueue("invoice", {"n": n, "currency": "EUR", "to": "a"}, queue="q")
        await desk.complete(8, task="invoice")
        await kill(desk, [{"n": n, "to": "b", "kind": "net"} for n in range(5)])
        found = await desk.operator.shared(await only_group(desk))
        assert (found.sample, found.total) == (5, 5)
        assert found.facts[0] == Fact(
            "missing",
            "currency",
            1.0,
            "argument currency is missing in all of 5 looked at (100% of 8 completed jobs have it)",
            "",
            "completed",
        )
        assert [f.name for f in of_kind(found, "missing")] == ["currency"]
        assert [(f.name, f.share) for f in of_kind(found, "task")] == [("invoice", 1.0)]
        assert [(f.name, f.share) for f in of_kind(found, "queue")] == [("q", 1.0)]
        assert {f.name: f.share for f in of_kind(found, "argument")} == {
            "n": 1.0,
            "to": 1.0,
            "kind": 1.0,
        }
        assert {f.name: f.value for f in of_kind(found, "value")} == {"to": '"b"', "kind": '"net"'}
        assert [f.name for f in of_kind(found, "worker")] == ["w1"]
        assert sum(found.arrivals) == 5
        assert len(found.arrivals) == 60
        assert found.first_at is not None
        assert found.last_at is not None
        assert found.first_at <= found.last_at


async def test_an_argument_of_the_published_schema_is_named_as_missing(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix, block_timeout=0.5) as desk:

        @desk.deck.task(queue="q", max_retries=0)
        async def invoice(n: int, cc: str | None = None, currency: str | None = None) -> None:
            raise KeyError("currency")

        async with serving(desk.deck, "q"):
            for n in range(4):
                await invoice.enqueue(n)
            await eventually(lambda: _dead(desk, 4))
        found = await desk.operator.shared(await only_group(desk))
        first, second = of_kind(found, "missing")
        # The one that the error names comes first.
        assert second.name == "cc"
        assert (first.name, first.source, first.share) == ("currency", "schema", 1.0)
        assert first.text.endswith("is null or missing in all of 4 looked at (the task takes it)")


async def _dead(desk: Desk, number: int) -> bool:
    return bool(await desk.call("ZCARD", desk.deck.keys("q").dead) == number)


async def test_shares_are_told_of_the_sample_and_unreadable_records_do_not_count(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await kill(desk, [{"n": n, "odd": True} if n % 2 else {"n": n} for n in range(10)])
        (newest, *_) = (await desk.operator.jobs("q", "dead", Window(0, 1, True))).rows
        await desk.call("SET", desk.deck.keys("q").job(newest.ref.id), b"\xc1")
        found = await desk.operator.shared(await only_group(desk))
        assert found.sample == 10
        shares = {fact.name: fact.share for fact in of_kind(found, "argument")}
        assert shares["n"] == 1.0
        assert 0.3 < shares["odd"] < 0.6
        assert of_kind(found, "missing") == []
        gone = ErrorGroup("q", "nothing", "invoice", "E", "m", 0)
        assert await desk.operator.shared(gone) == Shared(0, 0, (), arrivals=(0,) * 60)


async def test_history_counts_by_the_minute_and_by_the_hour(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(6)
        await desk.put(1, "other")
        await desk.complete(3)
        await desk.fail(1)
        await desk.fail(1, final=False)
        found = await desk.operator.history("q", 10)
        assert (found.queue, found.step_s, len(found.steps)) == ("q", 60, 10)
        for name, value in (("enqueued", 6), ("started", 5), ("ok", 3), ("failed", 2),
                            ("retried", 1), ("dead", 1), ("crashed", 0)):  # fmt: skip
            assert sum(getattr(step, name) for step in found.steps) == value, name
        ats = [step.at for step in found.steps]
        assert ats == [ats[0] + timedelta(minutes=n) for n in range(10)]
        runs = {(each.kind, each.task): sum(each.counts) for each in found.times}
        assert runs == {("run", "job"): 5, ("wait", "job"): 5}
        (run,) = (each for each in found.times if each.kind == "run")
        assert run.p50_s is not None
        assert 0.009 < run.p50_s < 0.015
        assert list(run.bounds_s) == sorted(run.bounds_s)
        everything = await desk.operator.history(None, 600)
        assert (everything.step_s, len(everything.steps)) == (3600, 10)
        assert sum(step.enqueued for step in everything.steps) == 7
        assert sum(sum(each.counts) for each in everything.times if each.kind == "run") == 5


async def test_events_name_workers_operations_and_deaths(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix, block_timeout=0.5) as desk:
        await desk.put(4)
        dead = await desk.fail(4)
        draft = await desk.operator.retry([JobRef(job_id, "q") for job_id in dead])
        await desk.finish(await desk.operator.start(draft))
        await desk.operator.pause("q")
        async with serving(desk.deck, "q"):
            await eventually(lambda: desk.call("ZCARD", desk.deck.shared.workers))
            found = await desk.operator.events()
        kinds = {event.kind: event for event in found}
        assert kinds["pause"].text.startswith("pause q")
        assert kinds["pause"].actor == "ana@here"
        assert kinds["dead"].text == "4 jobs of q died within 1m"
        assert kinds["worker"].text.endswith(" came and serves q")
        assert kinds["operation"].text.startswith("retry of 4 jobs has ended: 4 ok")
        assert kinds["operation"].actor == "ana@here"
        assert [event.at for event in found] == sorted((e.at for e in found), reverse=True)
        assert len(await desk.operator.events(1)) == 1


def test_a_lost_worker_and_bursts_are_events() -> None:
    lost = WorkerRow("w9", "host-c", 44, "lost", ("mail",), beat_age_s=60.0,
                     holds=(JobRef("1", "mail"),))  # fmt: skip
    (event,) = of_workers([lost], NOW)
    assert event.at == NOW - timedelta(seconds=60)
    assert event.text == "worker host-c:44 was heard for the last time and held 1 job"
    minute = int(NOW.timestamp() // 60)
    minutes = {minute - n: Tally({"dead": 5}) for n in (20, 19, 3)}
    minutes[minute - 10] = Tally({"dead": 1})
    bursts = list(of_dead([Facts(queue_keys("p", "mail"), minutes=minutes)], NOW))
    assert [burst.text for burst in bursts] == [
        "10 jobs of mail died within 2m",
        "5 jobs of mail died within 1m",
    ]
    slots = (
        SlotRow(NOW, outcome="missed", count=3),
        SlotRow(NOW, outcome="completed", late_s=540.0),
        SlotRow(NOW, outcome="completed", late_s=1.0),
    )
    late = of_schedules([ScheduleRow("nightly", "0 3 * * *", "job", history=slots)])
    assert [event.text for event in late] == [
        "schedule nightly missed its slot and 2 before it",
        "schedule nightly fired 9m late",
    ]
    drafted = Operation("1", "retry", "draft", 3, 0, 0, 0, created_at=NOW)
    assert list(of_operations([drafted])) == []


async def test_the_server_is_told_in_full(prefix: str) -> None:
    with Server() as server:
        async with Desk(server.url, prefix) as desk:
            await desk.put(1)
            server.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
            await desk.put(1)
            found = await desk.operator.server()
            assert (found.product, found.mode, found.role) == ("valkey", "standalone", "primary")
            assert found.memory_bytes
            assert found.clients
            assert found.keys
            assert found.persistence == "none"
            assert isinstance(found.slow, tuple)
            assert f"script enqueue on {prefix}:q" in {each.command for each in found.slow}
            assert "nothing is written to disk: a restart loses all jobs; set appendonly yes" in (
                found.warnings
            )
            server.ask("CONFIG", "SET", "maxmemory", str(int(found.memory_bytes * 1.05)))
            found = await desk.operator.server()
            assert any(text.startswith("memory is 9") for text in found.warnings)


async def test_replicas_and_nodes_of_a_cluster_are_told(
    sentinels: Sentinels, cluster: Cluster, prefix: str
) -> None:
    async with Desk(sentinels.url, prefix) as desk:

        async def replicated() -> bool:
            nodes = (await desk.operator.server()).nodes
            return [node.role for node in nodes] == ["replica"]

        await eventually(replicated)
    async with Desk(cluster.url, prefix) as desk:
        await desk.put(1)
        found = await desk.operator.server()
        assert found.mode == "cluster"
        assert [node.role for node in found.nodes] == ["primary"] * 3
        assert found.memory_bytes == sum(node.memory_bytes or 0 for node in found.nodes)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"loading": "1"}, "the server is loading its data from disk"),
        ({"aof_last_write_status": "err"}, "the last write to the append-only file failed"),
        ({"role": "slave", "master_link_status": "up", "master_host": "h", "master_port": "1"},
         "this server is a replica of h:1 and refuses writes"),
        ({"used_memory": "99", "maxmemory": "100"}, "the server's memory is full (99% of"),
    ],
)  # fmt: skip
def test_troubles_of_the_server_are_sentences(info: dict[str, str], said: str) -> None:
    (cause,) = of_server(info)
    assert cause.text.startswith(said)
    assert cause.next_step


async def test_a_user_without_the_slow_log_sees_the_rest(prefix: str) -> None:
    with Server() as server:
        server.ask("ACL", "SETUSER", "ann", "on", ">secret", "+@all", "-slowlog", "~*")
        url = server.url.replace("redis://", "redis://ann:secret@")
        async with Desk(url, prefix) as desk:
            found = await desk.operator.server()
            assert isinstance(found.slow, Failure)
            assert "may not read the slow log" in found.slow.reason
            assert found.memory_bytes
