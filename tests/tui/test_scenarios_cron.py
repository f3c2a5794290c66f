"""Schedules: the operator's scenarios in which one is moved, and one goes off for a while."""

from __future__ import annotations

from datetime import UTC

from tests.tui.night import Night, Operator

from qdeck.admin import ScheduleRow


def plan(night: Night, name: str) -> ScheduleRow:
    """Return a schedule as another operator sees it."""
    row = night.shop.operate(lambda admin: admin.schedule(name))
    assert row is not None
    return row


def test_a_nightly_report_is_moved_after_a_look_at_its_next_runs(
    night: Night, operator: Operator
) -> None:
    operator.press("5", "/")
    operator.type("rep")
    operator.press("enter")
    operator.sees("SCHEDULES 31", "filter: rep", "> nightly_report")
    operator.press("e")
    operator.sees("EDIT nightly_report", "At 02:00, Monday to Friday")
    operator.type("30 3 * * 1-5")
    operator.sees("At 03:30, Monday to Friday")
    operator.until(lambda: operator.screen.count(" 03:30 CE") >= 5, "five runs in its zone")
    operator.until(lambda: operator.screen.count(":30 UTC") >= 5, "the same in the own zone")
    assert plan(night, "nightly_report").expression == "0 2 * * 1-5"
    operator.press("ctrl+x")
    operator.reads("0 2 * * 1-5   Europe/Berlin → 30 3 * * 1-5", "y yes")
    operator.press("y")
    operator.sees("changed nightly_report")
    operator.within(6, 15)
    row = plan(night, "nightly_report")
    assert (row.expression, row.zone) == ("30 3 * * 1-5", "Europe/Berlin")


def test_a_schedule_goes_off_until_monday_and_comes_back_by_itself(
    night: Night, operator: Operator
) -> None:
    operator.press("5", "/")
    operator.type("cle")
    operator.press("enter")
    operator.sees("filter: cle", "> cleanup_tmp")
    operator.press("p")
    operator.sees("cleanup_tmp off until:")
    operator.type("mon 9:00")
    operator.sees("Enter: off until Mon")
    operator.press("enter")
    operator.sees("off until Mon 09:00")
    operator.within(5, 11)
    row = plan(night, "cleanup_tmp")
    assert row.disabled_until is not None
    until = row.disabled_until.astimezone(UTC)
    assert (row.enabled, until.weekday(), until.hour, until.minute) == (False, 0, 9, 0)
