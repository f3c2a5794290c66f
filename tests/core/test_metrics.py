"""Metrics on a real server, read by Prometheus' own parser."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.commands import Program
from tests.core.serving import eventually, serving
from tests.servers import Server

from qdeck import Deck
from qdeck import queue as verbs
from qdeck.admin import ScheduleSpec
from qdeck.errors import SettingsError
from qdeck.lifetime import read_lifetime
from qdeck.reader import Reader

NAMES = {
    "queue_jobs_pending",
    "queue_jobs_processing",
    "queue_jobs_completed",
    "queue_jobs_failed",
    "queue_jobs_dead_letter",
    "queue_workers_active",
    "queue_job_duration_seconds",
    "queue_job_wait_seconds",
    "queue_job_retries",
    "cron_executions",
    "cron_task_duration_seconds",
}


def read(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def total(family: Metric, name: str, **labels: str) -> float:
    """Adds up the samples of a name that carry these labels."""
    return sum(
        sample.value
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def work_off(deck: Deck) -> None:
    """Runs jobs that succeed, fail once, and die, and leaves some waiting."""

    @deck.task(queue="mail", max_retries=2)
    async def send(n: int) -> None:
        await asyncio.sleep(0.01)

    @deck.task(queue="mail", max_retries=1)
    async def boom(n: int) -> None:
        raise KeyError(n) if n else OSError("no route")

    for n in range(5):
        await send.enqueue(n)
    await boom.enqueue(0)
    await boom.enqueue(1)
    await deck.worker(["mail"], burst=True, concurrency=2).run()
    await send.options(queue="bulk").enqueue(9)
    await send.options(delay=60).enqueue(9)


async def test_the_official_parser_reads_every_metric(deck: Deck, qdeck: Program) -> None:
    await work_off(deck)
    text = await asyncio.to_thread(lambda: qdeck.run("metrics").stdout)
    found = read(text)
    assert set(found) >= NAMES
    assert total(found["queue_jobs_pending"], "queue_jobs_pending", queue="bulk") == 1
    assert total(found["queue_jobs_processing"], "queue_jobs_processing") == 0
    completed = found["queue_jobs_completed"]
    assert total(completed, "queue_jobs_completed_total", queue="mail", task="send") == 5
    assert total(completed, "queue_jobs_completed_total") == 5
    failed = found["queue_jobs_failed"]
    assert total(failed, "queue_jobs_failed_total", error="OSError", task="boom") == 2
    assert total(failed, "queue_jobs_failed_total", error="KeyError", queue="mail") == 2
    assert total(failed, "queue_jobs_failed_total") == 4
    assert total(found["queue_job_retries"], "queue_job_retries_total", task="boom") == 2
    assert total(found["queue_jobs_dead_letter"], "queue_jobs_dead_letter", queue="mail") == 2
    assert total(found["queue_workers_active"], "queue_workers_active") == 0
    for name, runs in (("queue_job_duration_seconds", 5), ("queue_job_wait_seconds", 5)):
        family = found[name]
        assert family.type == "histogram"
        assert total(family, f"{name}_count", queue="mail", task="send") == runs
        assert total(family, f"{name}_bucket", task="send", le="+Inf") == runs
        buckets = [s.value for s in family.samples if s.labels.get("task") == "send"
                   and s.name.endswith("_bucket")]  # fmt: skip
        assert buckets == sorted(buckets)
    spent = total(
        found["queue_job_duration_seconds"], "queue_job_duration_seconds_sum", task="send"
    )
    assert spent > 0.04
    assert all(family.documentation for family in found.values())


async def test_metrics_of_a_server_without_any_queue_parse(qdeck: Program) -> None:
    found = read(await asyncio.to_thread(lambda: qdeck.run("metrics").stdout))
    assert set(found) >= NAMES
    assert total(found["queue_workers_active"], "queue_workers_active") == 0


async def test_slots_of_schedules_are_counted_by_what_became_of_them(
    deck: Deck, qdeck: Program
) -> None:
    @deck.task(queue="cron")
    async def rollup() -> None:
        await asyncio.sleep(0.01)

    door = deck.admin()
    await door.add_schedule(ScheduleSpec("often", "* * * * * *", "rollup", queue="cron"))
    async with serving(deck, "cron"):

        async def twice() -> bool:
            done = await deck.call("HGET", deck.keys("cron").totals, "cron:completed")
            return int(done or 0) >= 2

        await eventually(twice)
        found = read(await asyncio.to_thread(lambda: qdeck.run("metrics").stdout))
    await door.remove_schedule("often")
    executions = found["cron_executions"]
    assert total(executions, "cron_executions_total", status="fired", queue="cron") >= 2
    assert total(executions, "cron_executions_total", status="completed") >= 2
    times = found["cron_task_duration_seconds"]
    assert total(times, "cron_task_duration_seconds_count", task="rollup", queue="cron") >= 2


async def test_an_active_worker_is_counted(deck: Deck, qdeck: Program) -> None:
    async with serving(deck, "q"):
        await eventually(lambda: deck.call("ZCARD", deck.shared.workers))
        found = read(await asyncio.to_thread(lambda: qdeck.run("metrics").stdout))
        assert total(found["queue_workers_active"], "queue_workers_active") == 1


def numbers(lifetime: Any) -> dict[str, float]:
    """Flattens what must never go back."""
    flat: dict[str, float] = defaultdict(float)
    for task, counts in lifetime.tasks.items():
        for name, value in counts.items():
            flat[f"{name} {task}"] += value
    for key, buckets in lifetime.times.items():
        for bucket, value in buckets.items():
            flat[f"{key} {bucket}"] += value
    return flat


async def test_hours_that_are_over_are_added_once_and_no_number_goes_back(deck: Deck) -> None:
    keys, reader = deck.keys("q"), Reader(deck)
    this = int((await deck.call("TIME"))[0]) // 3600
    for back in (900, 30, 2, 1, 0):
        await deck.call("HSET", keys.hour(this - back), "ok", 9, "ok:send", 9, "run:40:send", 7,
                        "wait:3:send", 5, "ok:o:dd", 1)  # fmt: skip
    await deck.call("SADD", keys.tag + "h:" + str(this - 5), "not a hash")
    before = numbers(await read_lifetime(reader, keys))
    assert before["ok send"] == 45
    assert before["ok o:dd"] == 5
    calls = 0
    again = 1
    while again:
        again = await deck.execute(verbs.fold(keys))
        calls += 1
        assert numbers(await read_lifetime(reader, keys)) == before
    assert calls >= 4
    assert await deck.call("HGET", keys.life, "ok:send") == b"36"
    assert 0 < await deck.call("TTL", keys.hour(this - 1)) <= 172800
    assert await deck.execute(verbs.fold(keys)) == 0
    await deck.call("DEL", *(keys.hour(this - back) for back in (900, 30, 2, 1)))
    assert numbers(await read_lifetime(reader, keys)) == before
    await deck.call("DEL", keys.tag + "h:" + str(this - 5))


async def test_hours_live_until_they_are_added(valkey: Server, deck: Deck) -> None:
    await work_off(deck)
    keys = deck.keys("mail")
    this = int((await deck.call("TIME"))[0]) // 3600
    ttl = max([await deck.call("TTL", keys.hour(this - back)) for back in (0, 1)])
    assert ttl > 30 * 86400


async def test_a_hash_of_another_type_stops_the_adding(valkey: Server, prefix: str) -> None:
    async with Deck(valkey.url, prefix=prefix) as deck:
        await deck.call("SADD", deck.keys("q").life, "x")
        with pytest.raises(SettingsError, match="is a set, not a hash"):
            await deck.execute(verbs.fold(deck.keys("q")))
