"""Schedules that code declares: created once, never over an operator's edit, shown as drifted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.core.desk import Desk
from tests.core.serving import eventually, serving
from tests.servers import Server

import qdeck
from qdeck import Deck
from qdeck.admin import ScheduleRow
from qdeck.errors import InvalidCron, InvalidPayload, SettingsError
from qdeck.plan import Declared


@pytest.fixture
async def desk(valkey: Server, prefix: str) -> AsyncIterator[Desk]:
    """A deck with an operator's door."""
    async with Desk(valkey.url, prefix, default="q") as made:
        yield made


def declare(deck: Deck, expression: str, **terms: Any) -> None:
    """Declare a schedule of a task."""

    @deck.task
    async def report(scope: str = "all") -> None:
        """Do nothing."""

    report.cron(expression, **terms)


async def row(desk: Desk, name: str = "report") -> ScheduleRow:
    """Return a schedule that is there."""
    found = await desk.operator.schedule(name)
    assert found is not None
    return found


async def again(desk: Desk, valkey: Server, expression: str, **terms: Any) -> list[str]:
    """Start another process of the app, whose code may say something else."""
    other = Deck(valkey.url, prefix=desk.deck.settings.prefix, default="q")
    declare(other, expression, **terms)
    made = await other.declare()
    await other.close()
    return made


async def test_a_declared_schedule_is_created_once(desk: Desk, valkey: Server) -> None:
    declare(
        desk.deck,
        "0 9 * * mon-fri",
        tz="Europe/Berlin",
        payload={"scope": "eu"},
        priority="high",
        queue="reports",
        misfire="skip",
        jitter=5,
    )
    assert await desk.deck.declare() == ["report"]
    assert await desk.deck.declare() == []
    found = await row(desk)
    assert (found.expression, found.zone, found.queue) == (
        "0 9 * * mon-fri", "Europe/Berlin", "reports",
    )  # fmt: skip
    assert (found.payload, found.options, found.misfire, found.jitter) == (
        {"scope": "eu"}, {"priority": 6}, "skip", 5.0,
    )  # fmt: skip
    assert (found.declared, found.drifted, found.edited_by) == (True, None, "code")


async def test_an_operators_edit_outlives_a_restart(desk: Desk, valkey: Server) -> None:
    declare(desk.deck, "0 9 * * *")
    await desk.deck.declare()
    await desk.operator.edit_schedule(replace((await row(desk)).spec, expression="30 8 * * *"), 1)
    assert await again(desk, valkey, "0 9 * * *") == []
    found = await row(desk)
    assert (found.expression, found.revision, found.drifted) == ("30 8 * * *", 2, "0 9 * * *")
    await desk.operator.disable_schedule("report")
    await again(desk, valkey, "0 9 * * *")
    assert not (await row(desk)).enabled


async def test_a_changed_declaration_shows_as_drifted_and_is_adopted(
    desk: Desk, valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    declare(desk.deck, "0 9 * * *")
    await desk.deck.declare()
    before = await row(desk)
    with caplog.at_level(logging.WARNING, "qdeck.worker"):
        await again(desk, valkey, "0 10 * * *")
    assert "qdeck schedule adopt report" in caplog.text
    found = await row(desk)
    assert (found.expression, found.drifted) == ("0 9 * * *", "0 10 * * *")
    assert (found.next_slot, found.revision) == (before.next_slot, before.revision)
    assert desk.operator.schedule_actions(found)["adopt"].allowed
    planned = await desk.operator.adopt_schedule("report", dry_run=True)
    assert planned.text.startswith("would have adopted")
    assert (await desk.operator.adopt_schedule("report")).changed == 1
    found = await row(desk)
    assert (found.expression, found.drifted, found.revision) == ("0 10 * * *", None, 2)
    assert (await desk.operator.adopt_schedule("report")).changed == 0


async def test_an_older_revision_of_the_code_changes_nothing_back(
    desk: Desk, valkey: Server
) -> None:
    declare(desk.deck, "0 10 * * *")
    await desk.deck.declare()
    before = await row(desk)
    await again(desk, valkey, "0 9 * * *")
    found = await row(desk)
    assert (found.expression, found.next_slot) == ("0 10 * * *", before.next_slot)
    await again(desk, valkey, "0 10 * * *")
    assert await row(desk) == before


async def test_a_worker_creates_what_its_app_declares_and_fires_it(
    desk: Desk, valkey: Server
) -> None:
    declare(desk.deck, "* * * * * *")

    async def fired() -> bool:
        found = await desk.operator.schedule("report")
        return found is not None and found.last_outcome == "completed"

    async with serving(desk.deck):
        await eventually(fired)


async def test_a_removed_schedule_comes_back_with_the_next_start(desk: Desk) -> None:
    declare(desk.deck, "0 9 * * *")
    await desk.deck.declare()
    await desk.operator.remove_schedule("report")
    assert await desk.deck.declare() == ["report"]
    await desk.call("HDEL", desk.deck.keys("q").cron, "report")
    assert await desk.deck.declare() == ["report"]
    await desk.call("HSET", desk.deck.keys("q").cron, "report", b"\xc1")
    assert await desk.deck.declare() == []


async def test_a_declaration_of_a_schedule_that_moved_stays_with_it(
    desk: Desk, valkey: Server
) -> None:
    declare(desk.deck, "0 9 * * *")
    await desk.deck.declare()
    await desk.operator.move_schedule("report", "other")
    assert await again(desk, valkey, "0 10 * * *") == []
    found = await row(desk)
    assert (found.queue, found.drifted) == ("other", "0 10 * * *")


def declared(deck: Deck, task: str) -> list[Declared]:
    """Return what a task declares."""
    return list(deck.registry.get(task).plans)


def test_a_task_class_declares_a_schedule_of_an_instance() -> None:
    deck = Deck("redis://127.0.0.1:1")

    @deck.register
    class Bill(qdeck.Task, queue="payments"):
        order: int = 1

        async def handle(self) -> None:
            """Do nothing."""

    Bill(order=7).cron("@daily", name="bill-7", timeout=5)
    Bill().cron("@daily")
    first, second = declared(deck, "Bill")
    assert (first.name, first.queue, first.plan.payload) == ("bill-7", "payments", {"order": 7})
    assert first.plan.options == {"timeout": 5.0}
    assert (second.name, second.plan.payload) == ("Bill", {"order": 1})


def test_a_decorated_function_names_a_schedule_and_gives_its_payload() -> None:
    deck = Deck("redis://127.0.0.1:1")

    @deck.task
    def report(scope: str = "all") -> None:
        """Do nothing."""

    @report.cron("0 9 * * mon-fri", tz="Europe/Berlin")
    def weekdays() -> dict[str, str]:
        """Return the payload."""
        return {"scope": "eu"}

    assert weekdays() == {"scope": "eu"}
    (found,) = declared(deck, "report")
    assert (found.name, found.plan.payload) == ("weekdays", {"scope": "eu"})
    handle = report.options(queue="bulk", priority="low")
    handle.cron("@hourly", name="hourly", args=("us",), unique=True)
    found = declared(deck, "report")[1]
    assert (found.queue, found.plan.payload) == ("bulk", {"scope": "us"})
    assert found.plan.options == {"priority": 2, "unique": True}


def test_a_declaration_that_is_not_usable_is_refused_where_it_stands() -> None:
    deck = Deck("redis://127.0.0.1:1")

    @deck.task
    def report(scope: str) -> None:
        """Do nothing."""

    with pytest.raises(InvalidCron, match="hour"):
        report.cron("0 25 * * *", payload={"scope": "x"})
    with pytest.raises(InvalidPayload, match="scope"):
        report.cron("0 5 * * *")
    with pytest.raises(SettingsError, match="Mars"):
        report.cron("0 5 * * *", tz="Mars", args=("x",))
    with pytest.raises(SettingsError, match="delay"):
        report.cron("0 5 * * *", args=("x",), delay=3)
    with pytest.raises(SettingsError, match="schedule name"):
        report.cron("0 5 * * *", args=("x",), name="a b")
    report.cron("0 5 * * *", args=("x",))
    with pytest.raises(SettingsError, match="name="):
        report.cron("0 6 * * *", args=("x",))
    assert len(declared(deck, "report")) == 1


async def test_two_tasks_that_declare_one_name_are_refused_at_the_start(desk: Desk) -> None:
    @desk.deck.task
    def one() -> None:
        """Do nothing."""

    @desk.deck.task
    def two() -> None:
        """Do nothing."""

    one.cron("@daily", name="same")
    two.cron("@daily", name="same")
    with pytest.raises(SettingsError, match="'one' and 'two'"):
        await desk.deck.worker().run()
