"""Workers fire the slots of schedules, each once and without a leader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.core.serving import eventually, new_deck, serving
from tests.core.slotcount import records, slots, whole
from tests.proxies import CuttingProxy
from tests.servers import Cluster, Server

from qdeck import Deck
from qdeck.admin import ScheduleRow, ScheduleSpec
from qdeck.schedule import decode_stored
from qdeck.ticker import Ticker


def task(deck: Deck) -> None:
    """Give a deck the task of these tests."""

    @deck.task(queue="q")
    async def mail() -> None:
        """Do nothing."""


def every_second(**terms: Any) -> ScheduleSpec:
    """Return a schedule that fires each second."""
    return ScheduleSpec("seconds", "* * * * * *", "mail", queue="q", **terms)


async def test_three_workers_fire_every_second_once(valkey: Server, prefix: str) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        task(deck)
        async with serving(deck), serving(deck), serving(deck):
            await deck.admin().add_schedule(every_second())

            async def enough() -> bool:
                return len(await slots(deck)) >= 4

            await eventually(enough)
        found = await slots(deck)
        assert whole(found)
        row = await deck.admin().schedule("seconds")
        assert row is not None
        assert all(past.late_s is not None for past in row.history)
        assert row.history[-1].outcome == "completed"


async def test_a_schedule_is_fired_though_an_idle_worker_knew_of_nothing_due(
    valkey: Server, prefix: str
) -> None:
    async with new_deck(valkey.url, prefix, block_timeout=60) as deck:
        task(deck)
        async with serving(deck):
            await asyncio.sleep(0.3)
            await deck.admin().add_schedule(every_second())

            async def fired() -> bool:
                return bool(await slots(deck))

            await eventually(fired, 20)


@pytest.fixture
async def deck(valkey: Server, prefix: str) -> AsyncIterator[Deck]:
    """A deck with the task of these tests."""
    async with new_deck(valkey.url, prefix) as made:
        task(made)
        yield made


async def row(deck: Deck, name: str = "seconds") -> ScheduleRow:
    """Return a schedule that is there."""
    found = await deck.admin().schedule(name)
    assert found is not None
    return found


async def put_back(deck: Deck, seconds: int, name: str = "seconds") -> int:
    """Have a schedule stand as it would after a stop of all workers; return its next slot."""
    keys = deck.keys("q")
    stored = decode_stored(await deck.call("HGET", keys.cron, name))
    assert stored is not None
    due = stored.next // 1000 * 1000 - seconds * 1000
    late = msgspec.structs.replace(stored, next=due, last=due - 1000)
    await deck.call("HSET", keys.cron, name, msgspec.msgpack.encode(late))
    await deck.call("ZADD", keys.cron_due, due, name)
    await deck.call("HSET", keys.meta, "cron_at", due)
    return due // 1000


async def drained(deck: Deck) -> None:
    """Tick until nothing is due."""
    ticker = Ticker(deck)
    while await ticker.step(deck.keys("q")) == 0.0:
        pass


@pytest.mark.parametrize("misfire", ["skip", "latest", "all"])
async def test_after_a_stop_of_all_workers_the_policy_decides(deck: Deck, misfire: Any) -> None:
    await deck.admin().add_schedule(every_second(misfire=misfire))
    first = await put_back(deck, 60)
    await drained(deck)
    found = await slots(deck)
    assert set(found.values()) == {1}
    stored = decode_stored(await deck.call("HGET", deck.keys("q").cron, "seconds"))
    assert stored is not None
    last = stored.next // 1000 - 1
    missed = sorted(slot for slot in found if slot < last - 3)
    if misfire == "all":
        assert sorted(found) == list(range(first, last + 1))
    else:
        assert missed == []
        assert len(found) >= (2 if misfire == "latest" else 1)
    history = (await row(deck)).history
    assert ("missed" in [past.outcome for past in history]) == (misfire != "all")


async def test_a_real_stop_longer_than_a_stall_is_made_up_for(deck: Deck) -> None:
    await deck.admin().add_schedule(every_second(misfire="all"))

    async def fired() -> bool:
        return len(await slots(deck)) > 0

    async with serving(deck):
        await eventually(fired)
    before = max(await slots(deck))
    await asyncio.sleep(12)

    async def caught_up() -> bool:
        return max(await slots(deck)) > before + 12

    async with serving(deck):
        await eventually(caught_up)
    assert whole(await slots(deck))


async def test_workers_that_tick_at_one_moment_fire_a_slot_once(deck: Deck) -> None:
    for number in range(60):
        spec = replace(every_second(misfire="all"), name=f"s{number}")
        await deck.admin().add_schedule(spec)
        await put_back(deck, 30, spec.name)
    await asyncio.gather(*(drained(deck) for _ in range(5)))
    for number in (0, 31, 59):
        assert whole(await slots(deck, f"s{number}"))


async def test_a_repeated_tick_after_a_lost_reply_fires_nothing_twice(
    proxy: CuttingProxy, valkey: Server, prefix: str
) -> None:
    async with new_deck(proxy.url, prefix) as cut:
        task(cut)
        await cut.admin().add_schedule(every_second(misfire="all"))
        await put_back(cut, 20)
        proxy.cut_after(lambda words: words[0] in (b"EVALSHA", b"EVAL"), times=3)
        await drained(cut)
        assert proxy.cuts
        assert whole(await slots(cut))


async def test_jobs_of_a_schedule_with_jitter_come_late_and_each_once(deck: Deck) -> None:
    await deck.admin().add_schedule(every_second(misfire="all", jitter=3000))
    await put_back(deck, 30)
    await drained(deck)
    found = await records(deck)
    late = [record.available / 1000 - record.created / 1000 for record in found if record.available]
    assert len(late) > 20
    assert max(late) > 500
    assert await deck.call("ZCARD", deck.keys("q").scheduled) == len(late)


async def test_a_slot_is_dropped_while_the_last_job_runs(deck: Deck) -> None:
    release = asyncio.Event()

    @deck.task(queue="q")
    async def slow() -> None:
        """Run until told to end."""
        await release.wait()

    spec = ScheduleSpec("slow", "* * * * * *", "slow", queue="q", overlap="skip")
    await deck.admin().add_schedule(spec)

    async def dropped() -> bool:
        words = [past.outcome for past in (await row(deck, "slow")).history]
        return words.count("overlap") >= 2

    async def fired_again() -> bool:
        return len(await slots(deck, "slow")) >= 2

    async with serving(deck):
        await eventually(dropped)
        assert len(await slots(deck, "slow")) == 1
        release.set()
        await eventually(fired_again)


async def test_a_disabled_schedule_comes_back_by_itself(deck: Deck) -> None:
    await deck.admin().add_schedule(every_second())
    until = datetime.now(UTC) + timedelta(seconds=2)
    await deck.admin().disable_schedule("seconds", until)
    revision = (await row(deck)).revision

    async def fired() -> bool:
        return (await row(deck)).last_slot is not None

    async with serving(deck):
        await eventually(fired)
    found = await row(deck)
    assert (found.enabled, found.disabled_until, found.revision) == (True, None, revision)
    assert min(await slots(deck)) > until.timestamp()


async def test_an_edit_while_a_worker_ticks_never_conflicts_with_the_tick(deck: Deck) -> None:
    await deck.admin().add_schedule(every_second())
    async with serving(deck):
        for number in range(60):
            now = await row(deck)
            spec = replace(now.spec, options={"timeout": number + 1})
            await deck.admin().edit_schedule(spec, now.revision or 0)
            await asyncio.sleep(0.03)
    assert (await row(deck)).revision == 61
    assert whole(await slots(deck))


async def test_a_full_queue_holds_slots_back_until_there_is_room(
    valkey: Server, prefix: str
) -> None:
    async with new_deck(valkey.url, prefix, max_size=2) as deck:
        task(deck)
        await deck.enqueue("mail", queue="q")
        await deck.enqueue("mail", queue="q")
        await deck.admin().add_schedule(every_second(misfire="all"))
        await put_back(deck, 0)

        async def tried() -> bool:
            return await Ticker(deck).step(deck.keys("q")) == 0.0

        await eventually(tried)
        assert await slots(deck) == {}
        at = await deck.call("ZSCORE", deck.keys("q").cron_due, "seconds")
        stored = decode_stored(await deck.call("HGET", deck.keys("q").cron, "seconds"))
        assert stored is not None
        assert float(at) > stored.next

        async def fired() -> bool:
            return len(await slots(deck)) >= 3

        async with serving(deck):
            await eventually(fired)
        assert whole(await slots(deck))


async def test_a_schedule_of_a_zone_that_is_unknown_here_stops_no_other(deck: Deck) -> None:
    await deck.admin().add_schedule(every_second())
    await deck.admin().add_schedule(replace(every_second(), name="odd"))
    keys = deck.keys("q")
    stored = decode_stored(await deck.call("HGET", keys.cron, "odd"))
    assert stored is not None
    spec = stored.spec.replace('"UTC"', '"Mars/Olympus"')
    raw = msgspec.msgpack.encode(msgspec.structs.replace(stored, spec=spec))
    await deck.call("HSET", keys.cron, "odd", raw)

    async def fired() -> bool:
        return len(await slots(deck)) >= 2

    async with serving(deck):
        await eventually(fired)
    assert await slots(deck, "odd") == {}
    assert "Mars/Olympus" in (await row(deck, "odd")).fault


async def test_queues_on_three_nodes_keep_their_own_time(cluster: Cluster, prefix: str) -> None:
    queues = [cluster.queue_on(node, prefix) for node in range(3)]
    async with new_deck(cluster.url, prefix) as deck:
        task(deck)
        for queue in queues:
            spec = replace(every_second(misfire="all"), name=f"on-{queue}", queue=queue)
            await deck.admin().add_schedule(spec)
        rows = await deck.admin().schedules()
        assert sorted(row.queue for row in rows) == sorted(queues)

        async def fired() -> bool:
            rows = await deck.admin().schedules()
            return all(len(row.history) >= 2 for row in rows)

        async with serving(deck, *queues):
            await eventually(fired)
        for row in await deck.admin().schedules():
            times = [past.slot for past in row.history]
            assert len(set(times)) == len(times)
            moved = queues[(queues.index(row.queue) + 1) % 3]
            await deck.admin().move_schedule(row.name, moved)
        assert {row.queue for row in await deck.admin().schedules()} == set(queues)


async def test_ticking_goes_on_after_an_outage(proxy: CuttingProxy, prefix: str) -> None:
    async with new_deck(proxy.url, prefix) as deck:
        task(deck)
        await deck.admin().add_schedule(every_second(misfire="all"))

        async def fired(more: int) -> bool:
            try:
                return len(await slots(deck)) >= more
            except Exception:  # the server is away
                return False

        async with serving(deck):
            await eventually(lambda: fired(1))
            proxy.refuse()
            proxy.cut()
            await asyncio.sleep(2)
            proxy.listen()
            await eventually(lambda: fired(5))
        assert whole(await slots(deck))


async def test_jobs_of_a_schedule_keep_to_the_limit_of_their_key(deck: Deck) -> None:
    most, now = 0, 0

    @deck.task(queue="q", limit_key="{name}")
    async def exclusive(name: str) -> None:
        """Count how many run at once."""
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1

    spec = ScheduleSpec(
        "limited", "* * * * * *", "exclusive", queue="q", payload={"name": "x"}, misfire="all"
    )
    await deck.admin().add_schedule(spec)
    await put_back(deck, 20, "limited")

    async def done() -> bool:
        return int(await deck.call("ZCARD", deck.keys("q").completed)) >= 20

    async with serving(deck):
        await eventually(done)
    assert most == 1
