"""What belongs on a screen is there: palette and help, titles that say more, columns that hold what
an operator looks for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta

from tests.tui.cronstage import opened, typed
from tests.tui.plans import planned
from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import (
    AuditRow,
    ErrorGroup,
    Event,
    Fact,
    ServerInfo,
    Shared,
    Snapshot,
    Verdict,
    WorkerRow,
)
from qdeck_tui.actions import ROWS
from qdeck_tui.prompt import Prompt
from qdeck_tui.screens.pace import Pace

CAUSES = tuple(f"emails: cause number {number}" for number in range(1, 6))


@dataclass
class Busy(Twin):
    """A twin where something happened two hours and three days ago."""

    async def events(self, limit: int = 100) -> tuple[Event, ...]:
        """Return both."""
        return (
            Event(START - timedelta(hours=2), "worker", "a worker came"),
            Event(START - timedelta(days=3), "worker", "a worker went"),
        )


@dataclass
class Served(Twin):
    """A twin on a server that says how full it is."""

    memory: int = int(2.1 * (1 << 30))

    async def snapshot(self) -> Snapshot:
        """Return the twin's, with the server's state."""
        server = ServerInfo("valkey", "8.1", "there", self.memory, 4 << 30, "noeviction",
                            "append-only file")  # fmt: skip
        return replace(await super().snapshot(), server=server)


@dataclass
class Lacking(Twin):
    """A twin that knows an argument which the dead jobs lack."""

    @classmethod
    def like(cls, twin: Twin) -> Lacking:
        """Return one with the jobs of another."""
        return cls(records=twin.records, details=twin.details, crew=twin.crew)

    async def shared(self, group: ErrorGroup) -> Shared:
        """Return the twin's, and the argument."""
        found = await super().shared(group)
        return replace(found, facts=(Fact("missing", "currency", 1.0, "no currency"), *found.facts))


@dataclass
class Troubled(Twin):
    """A twin whose verdict has five causes."""

    async def snapshot(self) -> Snapshot:
        """Return the twin's, with another verdict."""
        return replace(await super().snapshot(), verdict=Verdict("DEGRADED", CAUSES, self.now))


async def test_every_action_has_a_name_in_the_prompt_and_a_line_in_the_help() -> None:
    assert all(row.help for row in ROWS)
    names = [row.command for row in ROWS]
    assert all(names)
    assert sorted({*names}) == sorted(names)
    async with running(planned()) as desk:
        await opened(desk)
        here = {"mark all", "edit", "zoom", "page down", "off", "copy", "zone"}
        assert here <= {*Prompt(desk.app).commands()}
        await desk.press("colon")
        await typed(desk, "mark all")
        await desk.press("enter")
        await desk.until("6 marked")


async def test_the_help_tells_the_keys_of_forms() -> None:
    async with running(filled(), size=(100, 60)) as desk:
        await desk.press("question_mark")
        await desk.until("HELP")
        await desk.press("end")
        text = await desk.until("FORMS AND QUESTIONS")
        assert "Ctrl+O" in text
        assert ":profile NAME" in text


async def test_causes_that_have_no_room_are_counted() -> None:
    twin = Troubled()
    twin.records = filled().records
    async with running(twin) as desk:
        text = await desk.until("+3 more: w")
        assert "(why: w)" in text
        assert "cause number 2" in text
        assert "cause number 3" not in text
        await desk.press("w")
        await desk.until("cause number 5")


async def test_the_footer_names_the_filter_before_what_clears_a_queue() -> None:
    async with running(filled()) as desk:
        await desk.until("/ filter")
        text = await desk.until("s sort")
        assert "D clear" not in text


async def test_a_schedule_that_is_off_still_shows_its_expression_and_zone() -> None:
    async with running(planned()) as desk:
        text = await opened(desk)
        row = next(line for line in text.splitlines() if "old_sync" in line)
        assert "0 4 * * *" in row
        assert "UTC" in row
        assert "off" in row
        row = next(line for line in text.splitlines() if "nightly_report" in line)
        assert "Berlin" in row


async def test_events_and_acts_say_when_they_were() -> None:
    twin = Busy()
    twin.records = filled().records
    twin.acts.append(AuditRow("1", START - timedelta(minutes=41), "ana@here", "pause", "q"))
    async with running(twin, size=(120, 40)) as desk:
        await desk.press("9")
        text = await desk.until("a worker came")
        assert "2h ago 01:12" in text
        assert "41m ago 02:31" in text
        assert "18 Nov 03:12" in text


def test_a_workers_pace_is_told_from_what_it_did_within_a_minute() -> None:
    pace, row = Pace(), WorkerRow("w1", done=100)
    assert pace.of(row) is None
    pace.tell([row], START)
    pace.tell([replace(row, done=101)], START + timedelta(seconds=2))
    assert pace.of(row) is None
    pace.tell([replace(row, done=160)], START + timedelta(seconds=30))
    assert pace.of(row) == 120
    for seconds in range(40, 100, 10):
        pace.tell([replace(row, done=160)], START + timedelta(seconds=seconds))
    assert pace.of(row) == 0
    pace.tell([replace(row, done=3)], START + timedelta(seconds=100))
    assert pace.of(row) is None
    pace.tell([], START + timedelta(seconds=101))
    assert pace.of(row) is None


async def test_a_wide_screen_names_the_views_with_numbers_and_the_servers_state() -> None:
    twin = Served()
    stock = filled()
    twin.records, twin.crew = stock.records, stock.crew
    async with running(twin, size=(120, 40)) as desk:
        text = await desk.until("mem 2.1G/4.0G noeviction aof")
        assert re.search(
            r"1 Overview   2 Queues \d   3 Running \d+   4 Later \d+   5 Cron   6", text
        )
        assert "6 Dead 250!" in text
        assert "(1!)" in text
        # What only trembles is not drawn again; what grows is.
        twin.memory = int(2.2 * (1 << 30))
        await desk.press("ctrl+r")
        await desk.until(lambda screen: twin.calls.count("snapshot") > 5 and "mem 2.1G" in screen)
        twin.memory = 3 << 30
        await desk.until("mem 3.0G/4.0G")
    async with running(twin) as desk:
        text = desk.text()
        assert "6Dead:250!" in text
        assert "noeviction" not in text


async def test_samples_fill_the_line_of_a_patch() -> None:
    async with running(Lacking.like(filled())) as desk:
        await desk.press("6")
        await desk.until("SAMPLE")
        await desk.press("e")
        await desk.until("Ctrl+T samples")
        await desk.press("ctrl+t", *"EUR")
        await desk.until('[args.currency = "EUR"')
        await desk.press("ctrl+t")
        await desk.until("[args.invoice = ")
        await desk.press("tab", "ctrl+t")
        await desk.until("no samples for this field")


async def test_a_new_job_can_take_the_payload_of_another() -> None:
    async with running(filled()) as desk:
        await desk.press("2", "enter")
        await desk.until("TASKS")
        await desk.until("JOBS PENDING")
        await desk.press("n", "tab")
        await desk.until("Ctrl+T samples")
        await desk.press("ctrl+t")
        await desk.until('payload    [{"')


async def test_a_wide_overview_has_workers_and_acts_beside_the_queues() -> None:
    twin = planned()
    twin.acts.append(
        AuditRow("1", START - timedelta(minutes=1), "ana@here", "pause", "queue emails")
    )
    async with running(twin, size=(120, 40)) as desk:
        text = await desk.until("ana")
        text = await desk.until("OPS LOG")
        await desk.until("03:11 ana        pause q")
        row = next(line for line in text.splitlines() if "TOP FAILURES" in line)
        assert "QUEUES" in row
        assert "WORKERS" in text
        assert "LOST" in text
        await desk.until("hourly_rollup")
        # On a smaller screen the same panes stand below each other.
        await desk.pilot.resize_terminal(80, 24)
        text = await desk.until(lambda screen: "OPS LOG" not in screen and "RUNNING" in screen)
        order = [text.index(word) for word in ("▸─ QUEUES", "TOP FAILURES", "NEXT CRON", "RUNNING")]
        assert order == sorted(order)
        await desk.press("plus")
        await desk.until(lambda screen: "TOP FAILURES" not in screen)
        await desk.press("underscore", "tab")
        await desk.until("▸─ TOP FAILURES")
        await desk.pilot.resize_terminal(130, 45)
        await desk.until("OPS LOG")


async def test_a_zoomed_pane_has_the_whole_screen() -> None:
    async with running(filled()) as desk:
        await desk.press("tab", "plus")
        await desk.until(lambda text: "QUEUES" not in text and text.count("post_hook") == 2)
        await desk.press("underscore")
        await desk.until(lambda text: "QUEUES" in text and text.count("post_hook") == 0)


async def test_a_low_screen_shows_events_in_the_place_of_operations() -> None:
    twin = Busy()
    twin.records = filled().records
    async with running(twin) as desk:
        await desk.press("9")
        text = await desk.until("OPERATIONS  (] events)")
        assert "EVENTS" not in text
        await desk.press("right_square_bracket")
        text = await desk.until("a worker came")
        assert "OPERATIONS  (" not in text
        await desk.press("tab")
        await desk.until("▸─ EVENTS")
        await desk.press("left_square_bracket")
        await desk.until("▸─ OPERATIONS")
