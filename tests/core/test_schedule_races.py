"""Changes to schedules that meet: with each other, with ticks, and with replies that get lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.core.desk import Desk
from tests.core.serving import eventually, new_deck, serving
from tests.core.slotcount import slots
from tests.proxies import CuttingProxy
from tests.servers import Server

from qdeck import Deck
from qdeck.admin import Conflict, Denied, ScheduleSpec
from qdeck.plan import Plan
from qdeck.schedule import Step, job_of_slot, read_tick, store, tick
from qdeck.ticker import Ticker

HOURLY = ScheduleSpec("report", "0 * * * *", "mail", queue="q")


@pytest.fixture
async def desk(valkey: Server, prefix: str) -> AsyncIterator[Desk]:
    """An operator's door."""
    async with Desk(valkey.url, prefix) as made:
        yield made


def scripts(words: list[bytes]) -> bool:
    """Whether a request runs a script."""
    return words[0] in (b"EVALSHA", b"EVAL")


@pytest.mark.parametrize("verb", ["add", "edit", "disable", "enable", "remove", "trigger", "move"])
async def test_a_verb_whose_reply_is_lost_happens_once_and_is_no_conflict(
    proxy: CuttingProxy, valkey: Server, prefix: str, verb: str
) -> None:
    async with Desk(proxy.url, prefix) as desk:
        door = desk.operator
        if verb != "add":
            await door.add_schedule(HOURLY)
        if verb == "enable":
            await door.disable_schedule("report")
        calls: dict[str, Any] = {
            "add": lambda: door.add_schedule(HOURLY),
            "edit": lambda: door.edit_schedule(replace(HOURLY, expression="5 * * * *"), 1),
            "disable": lambda: door.disable_schedule("report"),
            "enable": lambda: door.enable_schedule("report"),
            "remove": lambda: door.remove_schedule("report"),
            "trigger": lambda: door.trigger_schedule("report"),
            "move": lambda: door.move_schedule("report", "other"),
        }
        proxy.cut_after(scripts)
        assert (await calls[verb]()).changed == 1
        assert proxy.cuts
        found = await door.schedule("report")
        if verb == "remove":
            assert found is None
            return
        assert found is not None
        revisions = {"add": 1, "edit": 2, "disable": 2, "enable": 3, "trigger": 1}
        assert verb == "move" or found.revision == revisions[verb]
        assert found.enabled == (verb != "disable")
        jobs = await desk.call("ZCARD", desk.deck.keys("q").ready)
        assert jobs == (1 if verb == "trigger" else 0)


async def test_two_operators_who_add_one_name_at_once_are_told(valkey: Server, prefix: str) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        doors = [deck.admin(actor=f"op{number}") for number in range(6)]
        told = await asyncio.gather(
            *(
                door.add_schedule(replace(HOURLY, expression=f"{number} * * * *"))
                for number, door in enumerate(doors)
            ),
            return_exceptions=True,
        )
        assert sum(not isinstance(each, BaseException) for each in told) == 1
        assert sum(isinstance(each, Conflict) for each in told) == 5


async def test_two_switches_of_one_person_at_once_do_not_both_succeed(
    valkey: Server, prefix: str
) -> None:
    async with new_deck(valkey.url, prefix) as deck:
        door = deck.admin(actor="ana")
        await door.add_schedule(HOURLY)
        edits = (replace(HOURLY, expression=f"{n} * * * *") for n in range(5))
        told = await asyncio.gather(
            *(door.edit_schedule(spec, 1) for spec in edits), return_exceptions=True
        )
        assert sum(isinstance(each, Conflict) for each in told) == 4
        found = await door.schedule("report")
        assert found is not None
        assert found.revision == 2


async def test_a_tick_between_look_and_edit_moves_the_edited_slot_on(desk: Desk) -> None:
    await desk.operator.add_schedule(replace(HOURLY, expression="* * * * * *"))
    entry = await desk.operator._timetable.entry("report")
    assert entry is not None
    assert entry.plan is not None
    await asyncio.sleep(1.1)
    keys = desk.deck.keys("q")
    ticker = Ticker(desk.deck)
    while await ticker.step(keys) == 0.0:
        pass
    # The slot that was computed before the tick has been handled by it.
    revision = await desk.operator._put_plan(
        entry, entry.stored.spec, None, next_slot=entry.stored.next
    )
    found = await desk.operator.schedule("report")
    assert revision == 2
    assert found is not None
    assert found.last_slot is not None
    assert found.next_slot is not None
    assert found.next_slot > found.last_slot


async def test_a_tick_computed_from_an_older_revision_never_fires_its_slot(desk: Desk) -> None:
    await desk.operator.add_schedule(replace(HOURLY, expression="* * * * * *"))
    keys, timetable = desk.deck.keys("q"), desk.operator._timetable
    old = await timetable.entry("report")
    assert old is not None
    due = old.stored.next
    await desk.operator.edit_schedule(replace(HOURLY, expression="0 3 * * *"), 1)
    await asyncio.sleep(1.2)
    plan = Plan(expression="* * * * * *", task="mail")
    job = (due, *job_of_slot("report", plan, due, desk.deck.settings, {}))
    late = tick(keys, "report", 1, due, Step((due,), due + 1000), [job])
    assert read_tick(await desk.deck.execute(late)).word == "moved"
    assert await desk.call("ZCARD", keys.ready) == 0


async def test_verbs_that_meet_a_removal_say_so(desk: Desk) -> None:
    await desk.operator.add_schedule(HOURLY)
    entry = await desk.operator._timetable.entry("report")
    assert entry is not None
    await desk.operator.remove_schedule("report")
    with pytest.raises(Denied, match="no schedule 'report'"):
        await desk.operator._put_plan(entry, entry.stored.spec, None)
    with pytest.raises(Denied, match="no schedule 'report'"):
        await desk.operator._fire_plan(entry, [(0, "job", b"\x90")], "")


async def test_a_worker_leaves_an_unreadable_schedule_alone_and_fires_the_others(
    desk: Desk, valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    @desk.deck.task(queue="q")
    async def mail() -> None:
        """Do nothing."""

    keys = desk.deck.keys("q")
    for name in ("broken", "odd", "report"):
        await desk.operator.add_schedule(replace(HOURLY, name=name, expression="* * * * * *"))
    await desk.call("HSET", keys.cron, "broken", b"\xc1")
    # What scripts can read and this version cannot: its plan is no plan.
    await desk.deck.execute(store(keys, "odd", 1, "7", next_slot=None))

    async def fired() -> bool:
        return len(await slots(desk.deck, "report")) >= 2

    async with serving(desk.deck):
        await eventually(fired)
    assert "broken is not readable" in caplog.text
    assert "odd cannot fire" in caplog.text
    assert await slots(desk.deck, "odd") == {}


async def test_a_worker_fires_for_a_task_that_only_others_know(valkey: Server, prefix: str) -> None:
    async with new_deck(valkey.url, prefix) as knows, new_deck(valkey.url, prefix) as ticks:

        @knows.task(queue="q", max_retries=7, priority="critical")
        async def mail() -> None:
            """Do nothing."""

        async with serving(knows, "elsewhere"):
            await asyncio.sleep(0.2)
        await knows.admin().add_schedule(replace(HOURLY, expression="* * * * * *"))
        ticker, keys = Ticker(ticks), ticks.keys("q")

        async def fired() -> bool:
            await ticker.step(keys)
            return len(await slots(knows, "report")) >= 2

        await eventually(fired)
        (raw, *_) = await ticks.call("ZRANGE", keys.ready, 0, 0)
        job = await ticks.job(raw.decode(), queue="q")
        assert job is not None
        assert (job.priority, job.max_attempts) == (8, 8)


async def test_a_server_that_is_away_is_said_by_the_door(proxy: CuttingProxy, prefix: str) -> None:
    async with Desk(proxy.url, prefix) as desk:
        await desk.operator.add_schedule(HOURLY)
        proxy.refuse()
        with pytest.raises(OSError, match=r"."):
            await desk.operator.schedules()
        proxy.listen()
        assert len(await desk.operator.schedules()) == 1


async def test_a_declaration_that_others_record_meanwhile_is_tried_again(
    valkey: Server, prefix: str
) -> None:
    decks = [Deck(valkey.url, prefix=prefix, default="q") for _ in range(5)]
    for number, deck in enumerate(decks):

        @deck.task(name="mail")
        def mail() -> None:
            """Do nothing."""

        mail.cron(f"{number} * * * *")
    made = await asyncio.gather(*(deck.declare() for deck in decks))
    assert sorted(made) == [[], [], [], [], ["mail"]]
    found = await decks[0].admin().schedule("mail")
    assert found is not None
    assert found.revision == 1
    stored = await decks[0].call("HGET", decks[0].keys("q").cron, "mail")
    assert msgspec.msgpack.decode(stored)[7].startswith('{"expression"')
    for deck in decks:
        await deck.close()
