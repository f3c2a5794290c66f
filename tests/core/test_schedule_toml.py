"""Schedules as text: what is exported is imported again, byte for byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Denied, ScheduleSpec

HOURLY = ScheduleSpec("report", "0 * * * *", "mail", queue="q", payload={"to": "a"})


@pytest.fixture
async def desk(valkey: Server, prefix: str) -> AsyncIterator[Desk]:
    """An operator's door."""
    async with Desk(valkey.url, prefix) as made:
        yield made


PLANS = [
    HOURLY,
    ScheduleSpec("a:b.c", "0 0 3 * * 1-5", "mail", zone="America/New_York", misfire="skip"),
    ScheduleSpec(
        "odd",
        "@daily",
        "report",
        queue="q2",
        payload={"z": None, "a": [1, {"big": 2**70}], "t": 'quote " and \\ and é'},
        options={"unique": True, "expires": 60, "metadata": {"x": None}},
        jitter=1.5,
        overlap="skip",
        catch_up=10,
    ),
]


async def test_an_export_that_is_imported_exports_the_same_bytes(
    desk: Desk, valkey: Server, prefix: str
) -> None:
    for spec in PLANS:
        await desk.operator.add_schedule(spec)
    await desk.operator.disable_schedule("report")
    until = datetime(2099, 1, 1, 12, 30, tzinfo=UTC)
    await desk.operator.disable_schedule("a:b.c", until)
    text = await desk.operator.export_schedules()
    again = await desk.operator.import_schedules(text)
    assert (again.added, again.changed, len(again.unchanged)) == ((), (), 3)
    async with Desk(valkey.url, f"{prefix}-2") as other:
        planned = await other.operator.import_schedules(text, dry_run=True)
        assert (len(planned.added), planned.dry_run) == (3, True)
        assert await other.operator.schedules() == ()
        assert len((await other.operator.import_schedules(text)).added) == 3
        assert await other.operator.export_schedules() == text
        ours = [replace(r, edited_at=None, revision=None) for r in await desk.operator.schedules()]
        theirs = [
            replace(r, edited_at=None, revision=None) for r in await other.operator.schedules()
        ]
        assert theirs == ours


async def test_an_import_changes_what_differs(desk: Desk) -> None:
    for spec in PLANS:
        await desk.operator.add_schedule(spec)
    text = await desk.operator.export_schedules()
    await desk.operator.disable_schedule("a:b.c")
    await desk.operator.edit_schedule(replace(HOURLY, expression="7 * * * *"), 1)
    await desk.operator.move_schedule("odd", "q9")
    done = await desk.operator.import_schedules(text)
    assert sorted(done.changed) == ["a:b.c", "odd", "report"]
    assert await desk.operator.export_schedules() == text


TASK = '[schedules.a]\nexpression = "* * * * *"\ntask = "t"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "no TOML"),
        ("x = 1", "'x' is not known"),
        ("schedules = 1", "schedules"),
        ("[schedules]\na = 1", "no table"),
        ('[schedules.a]\nexpression = "* * * * *"', "task is missing"),
        ('[schedules.a]\nexpression = "* * * * *"\ntask = "t"\nx = 1', "'x' is not known"),
        ('[schedules.a]\nexpression = "99 * * * *"\ntask = "t"', "minute"),
        ('[schedules.a]\nexpression = "* * * * *"\ntask = "t"\nenabled = 1', "enabled"),
        ('[schedules.a]\nexpression = "* * * * *"\ntask = "t"\npayload = "{"', "payload"),
        ('[schedules.a]\nexpression = "* * * * *"\ntask = "t"\ndisabled_until = 1', "until"),
        (f"{TASK}payload = {{d = nan}}", "'d': NaN is no JSON value"),
        (f"{TASK}payload = {{a = [1, {{b = -inf}}]}}", r"'a\[1\].b': -Infinity is no JSON"),
        (f"{TASK}options = {{metadata = {{d = nan}}}}", "metadata 'd': NaN is no JSON value"),
        (f"{TASK}payload = {{d = 2026-01-02}}", r'payload.d = 2026-01-02 .*"2026-01-02" in quotes'),
        (f"{TASK}payload = {{d = [[07:30:00]]}}", r"payload.d\[0\]\[0\] = 07:30:00 is a date or"),
        (f"{TASK}options.metadata.at = 2026-01-02T03:04:05Z", "options.metadata.at = 2026"),
        ('[schedules."a b"]\nexpression = "* * * * *"\ntask = "t"', "schedule name"),
    ],
)
async def test_a_text_that_is_not_usable_changes_nothing(desk: Desk, text: str, words: str) -> None:
    fine = '[schedules.fine]\nexpression = "* * * * *"\ntask = "t"\n'
    with pytest.raises(Denied, match=words):
        await desk.operator.import_schedules(text)
    if text.startswith("[schedules."):
        with pytest.raises(Denied, match=words):
            await desk.operator.import_schedules(fine + text)
    assert await desk.operator.schedules() == ()
