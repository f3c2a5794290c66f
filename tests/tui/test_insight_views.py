"""The sheet that says why, view 8, and what dead jobs share, on the in-memory twin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import (
    Cause,
    ErrorGroup,
    Explanation,
    Fact,
    Node,
    ServerFacts,
    Shared,
    SlowCommand,
)


class Knowing(Twin):
    """A twin that knows of its server and of what failures share."""

    facts = ServerFacts(
        "valkey", "9.1.0", "redis://10.0.3.7:6379/0", "standalone", "primary", 86400.0 * 3,
        2 << 30, 3 << 30, 4 << 30, 1.1, "noeviction", "append-only file",
        START - timedelta(minutes=4), 40, 6, 812.0, 90_210,
        (Node("10.0.3.8:6379", "replica", lag_s=1.0, state="online"),),
        (SlowCommand(START, 14.2, "script work on shop:emails"),),
        ("memory is fragmented; try activedefrag",),
    )  # fmt: skip
    asked = 0

    async def server(self) -> ServerFacts:
        """Return what is known."""
        await self._call("server")
        return self.facts

    async def shared(self, group: ErrorGroup) -> Shared:
        """Return that an argument is missing."""
        await self._call("shared")
        self.asked += 1
        text = "argument currency is missing in all of 200 looked at ([bold]88%[/] have it)"
        return Shared(
            200, group.count,
            (Fact("missing", "currency", 1.0, text, "", "completed"),
             Fact("task", group.task, 1.0, f"task {group.task} 100%"),
             Fact("argument", "invoice", 1.0, "argument invoice in 100%")),
            arrivals=(0,) * 50 + (4,) * 10,
        )  # fmt: skip


def knowing() -> Knowing:
    """Return a filled twin that knows."""
    plain = filled()
    return Knowing(records=plain.records, details=plain.details, logs=plain.logs, crew=plain.crew)


async def test_why_says_the_verdict_and_the_causes_of_the_worst_queue() -> None:
    twin = filled()
    cause = Cause("failing", "98% of send_invoice in emails fail since 02:31 UTC", "look at Dead")
    busy = Cause("busy", "all 40 slots are busy, 38 with send_invoice")
    twin.explained["emails"] = Explanation("emails", (cause, busy))
    async with running(twin) as desk:
        await desk.until("emails")
        await desk.press("w")
        text = await desk.until("98% of send_invoice in emails fail since 02:31 UTC")
        assert "WHY emails" in text
        assert "VERDICT: WATCH" in text
        assert "250 dead jobs" in text
        assert "look at Dead" in text
        assert "all 40 slots are busy, 38 with send_invoice" in text
        await desk.press("w")
        await desk.until(lambda text: "WHY" not in text)


async def test_why_says_what_cannot_be_told_and_takes_every_key() -> None:
    async with running(filled()) as desk:
        await desk.until("emails")
        await desk.press("w")
        await desk.until("are unknown here")
        await desk.press("7", "x", "j", "escape")
        text = await desk.until(lambda text: "WHY" not in text)
        assert "VERDICT" in text


async def test_why_of_a_job_and_of_a_row_in_a_list() -> None:
    twin = filled()
    row = twin.of("scheduled")[0]
    found = Explanation(row.ref.id, (Cause("not due", "it is scheduled and due in 9m"),))
    twin.explained[row.ref.id] = found
    async with running(twin) as desk:
        await desk.press("4")
        await desk.until("nightly")
        for at in range(12):
            if row.ref.id[-8:] in next((li for li in desk.lines() if li.startswith("> ")), ""):
                break
            await desk.press("j" if at else "g")
        await desk.press("w")
        await desk.until("it is scheduled and due in 9m")
        await desk.press("escape", "enter")
        await desk.until(f"JOB {row.ref.id}")
        await desk.press("w")
        await desk.until("it is scheduled and due in 9m")


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (120, 40)])
async def test_view_8_shows_the_server(size: tuple[int, int]) -> None:
    async with running(knowing(), size=size) as desk:
        await desk.press("8")
        text = await desk.until("valkey 9.1.0 standalone")
        assert "noeviction" in text
        assert "2.0G of 4.0G" in text
        assert "append-only file" in text
        assert "! memory is fragmented; try activedefrag" in text
        if size[1] >= 24:
            assert "replica  10.0.3.8:6379" in text
            assert "14.2 ms" in text
            assert "script work on shop:emails" in text


async def test_view_8_lives_with_what_is_not_known() -> None:
    async with running(filled()) as desk:
        await desk.press("8")
        text = await desk.until("no slow log is kept here")
        assert "memory    ?" in text
        assert "clients   ?" in text
        desk.twin.failing.add("server")
        text = await desk.until("server is broken here")
        assert "memory    ?" in text


async def test_what_a_group_shares_stands_below_its_sample() -> None:
    twin = knowing()
    async with running(twin) as desk:
        await desk.press("6")
        text = await desk.until("argument currency is missing in all of 200 looked at")
        assert "[bold]88%[/] have it" in text.replace("\n", " ")
        assert "WHAT THEY SHARE of 200 looked at" in text
        assert "arrivals 1h " in text
        assert "KeyError: 'currency'" in text
        asked = twin.asked
        await desk.until(lambda text: twin.calls.count("errors") > 8)
        assert twin.asked == asked
        await desk.press("j")
        await desk.until(lambda text: twin.asked == asked + 1)


async def test_a_group_whose_common_facts_fail_shows_the_rest() -> None:
    twin = filled()
    twin.failing.add("shared")
    async with running(twin) as desk:
        await desk.press("6")
        text = await desk.until("shared is broken here")
        assert "KeyError: 'currency'" in text
