"""Schedules in the console, end to end: a time is changed, one goes off until Monday, one runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import TypeVar

import pytest
from tests.servers import Server
from tests.tui.desk import Desk
from tests.tui.pty import Pty

from qdeck import Deck
from qdeck.admin import Admin, ScheduleRow, ScheduleSpec

T = TypeVar("T")
sized = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


class Office(Desk):
    """A desk with schedules, which somebody else looks at and changes too."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server, folder)
        self.url = server.url

    def ask(self, what: Callable[[Admin], Awaitable[T]]) -> T:
        """Return what somebody else's door answers."""

        async def asked() -> T:
            deck = Deck(self.url, prefix=self.prefix)
            admin = deck.admin(actor="bob@there")
            try:
                return await what(admin)
            finally:
                await admin.close()
                await deck.close()

        return asyncio.run(asked())

    def plan(self, name: str, expression: str, zone: str = "UTC") -> None:
        """Add a schedule."""
        spec = ScheduleSpec(name, expression, "quick", zone, payload={"number": 1})
        self.ask(lambda admin: admin.add_schedule(spec))

    def planned(self, name: str) -> ScheduleRow:
        """Return a schedule as it is now."""
        row = self.ask(lambda admin: admin.schedule(name))
        assert row is not None
        return row


@pytest.fixture
def office(valkey: Server, tmp_path: Path) -> Iterator[Office]:
    made = Office(valkey, tmp_path)
    made.plan("nightly_report", "0 2 * * 1-5", "Europe/Berlin")
    made.plan("cleanup_tmp", "*/30 * * * *")
    made.plan("backup_db", "30 3 * * *")
    yield made
    made.close()


def answer(pty: Pty, text: str) -> None:
    """Say yes to the question with a text, once it takes an answer."""
    pty.wait_to_answer(text)
    pty.press("y")


def filter_to(pty: Pty, letters: str, other: str) -> None:
    """Filter the list, and wait until another row has gone."""
    pty.press("/", letters, "enter")
    pty.wait(lambda: f"filter: {letters}" in pty.text and other not in pty.text, "filtered list")


@contextmanager
def at_cron(
    office: Office, letters: str = "", other: str = "", *, size: tuple[int, int] = (80, 24)
) -> Iterator[Pty]:
    """Open the view of schedules, filtered where letters are given."""
    with office.opened(size=size) as pty:
        pty.press("5")
        pty.wait_for("SCHEDULES 3")
        if letters:
            filter_to(pty, letters, other)
        yield pty


@sized
def test_a_schedule_is_moved_to_another_time_after_a_look_at_its_runs(
    office: Office, size: tuple[int, int]
) -> None:
    with at_cron(office, "rep", "cleanup_tmp", size=size) as pty:
        pty.press("e")
        pty.wait_for("At 02:00, Monday to Friday")
        pty.press("30 3 * * 1-5")
        pty.wait_for("At 03:30, Monday to Friday")
        pty.wait(lambda: pty.text.count(" 03:30 CE") >= 5, "next runs in its zone")
        pty.wait(lambda: pty.text.count(":30 UTC") >= 5, "next runs in the operator's zone")
        assert office.planned("nightly_report").expression == "0 2 * * 1-5"
        for text in ("SCHEDULES 3", "> nightly_report", *(("HISTORY", "24 H") * (size[0] > 100))):
            pty.wait_for(text)
        pty.resize(60, 16)
        pty.wait(lambda: pty.row_of("EDIT nightly_report") == 1, "editor over all of the screen")
        pty.wait_for("> when  [30 3 * * 1-5")
        pty.resize(*size)
        pty.wait_for("SCHEDULES 3")
        pty.wait_for("> when  [30 3 * * 1-5")
        pty.press("ctrl+x")
        answer(pty, "0 2 * * 1-5   Europe/Berlin → 30 3 * * 1-5")
        pty.wait_for("changed nightly_report")
        row = office.planned("nightly_report")
        assert (row.expression, row.zone) == ("30 3 * * 1-5", "Europe/Berlin")
        assert row.next_slot is not None
        assert row.next_slot.minute == 30
        assert row.payload == {"number": 1}


@sized
def test_a_schedule_goes_off_until_monday_and_on_again(
    office: Office, size: tuple[int, int]
) -> None:
    with at_cron(office, "cle", "nightly_report", size=size) as pty:
        pty.press("p")
        pty.wait_for("off until")
        pty.press("mon 9:00")
        pty.wait_for("Enter: off until Mon")
        pty.press("enter")
        pty.wait_for("off until Mon 09:00")
        row = office.planned("cleanup_tmp")
        assert not row.enabled
        assert row.disabled_until is not None
        until = row.disabled_until.astimezone(UTC)
        assert (until.weekday(), until.hour, until.minute) == (0, 9, 0)
        pty.press("p")
        pty.wait_for("on again")
        pty.press("enter")
        pty.wait_for("enabled cleanup_tmp")
        assert office.planned("cleanup_tmp").enabled


def test_a_schedule_is_added_in_plain_words_run_and_removed(office: Office) -> None:
    with at_cron(office) as pty:
        pty.press("n")
        pty.wait_for("NEW SCHEDULE")
        pty.press("hello", "tab", "weekdays 09:00", "tab", "tab", "quick", "tab", "tab")
        pty.press('{"number": 41}')
        pty.wait_for("At 09:00, Monday to Friday")
        pty.press("ctrl+x")
        answer(pty, "Add schedule hello?")
        pty.wait_for("SCHEDULES 4")
        assert office.planned("hello").expression == "0 9 * * 1-5"
        pty.press("/", "hello", "enter")
        pty.wait_for("filter: hello")
        pty.press("t")
        answer(pty, "Run hello now, once?")
        pty.wait_for("enqueued job")
        office.work("default")
        pty.wait(lambda: office.planned("hello").last_outcome == "completed", "finished run")
        pty.press("D")
        answer(pty, "Remove hello?")
        pty.wait_for("SCHEDULES 3")
        assert office.ask(lambda admin: admin.schedule("hello")) is None


def test_somebody_who_saved_first_is_not_overwritten(office: Office) -> None:
    with at_cron(office, "rep", "cleanup_tmp") as pty:
        pty.press("e")
        pty.wait_for("At 02:00")
        pty.press("30 3 * * 1-5")
        row = office.planned("nightly_report")
        other = ScheduleSpec(
            "nightly_report", "0 7 * * *", "quick", "Europe/Berlin", payload={"number": 2}
        )
        office.ask(lambda admin: admin.edit_schedule(other, row.revision or 0))
        pty.press("ctrl+x")
        pty.wait_for("by bob@there")
        pty.press("escape")
        pty.wait_for("was: 0 7 * * *")
        assert office.planned("nightly_report").expression == "0 7 * * *"


def test_what_was_done_to_a_schedule_is_taken_back(office: Office) -> None:
    with at_cron(office, "cle", "nightly_report") as pty:
        pty.press("D")
        answer(pty, "Remove cleanup_tmp?")
        pty.wait_for("SCHEDULES 2")
        pty.press("u")
        answer(pty, "remove schedule")
        pty.wait_for("SCHEDULES 3")
        assert office.planned("cleanup_tmp").expression == "*/30 * * * *"


def test_the_next_24_hours_stand_behind_the_history_on_a_low_screen(office: Office) -> None:
    with office.opened() as pty:
        pty.press("5")
        pty.wait_for("] next 24 h")
        pty.press("]")
        pty.wait_for("busiest ")
        assert " jobs)" in pty.text
        pty.press("]")
        pty.wait_for("── HISTORY")
