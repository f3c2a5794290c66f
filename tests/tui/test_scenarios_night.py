"""All of a night: the queue that backs up is found, its failing task is paused, its dead jobs are
repaired, and it is seen to drain.
"""

from __future__ import annotations

from tests.tui.fixture import GROUPS
from tests.tui.night import Night, Operator
from tests.tui.staff import BRISK

from qdeck.admin import Operation, TaskRow
from qdeck.job import State

COUNT = GROUPS[0]


def newest(night: Night, known: set[str]) -> Operation:
    """Return the bulk operation that is not among those known; an empty one before it is there."""
    found = night.shop.operate(lambda admin: admin.operations())
    fresh = [operation for operation in found if operation.id not in known]
    return fresh[0] if fresh else Operation("", "patch", "draft", 0, 0, 0, 0)


def task_of(night: Night, name: str) -> TaskRow:
    """Return a task of the mails as another operator sees it."""
    rows = night.shop.operate(lambda admin: admin.tasks("emails"))
    return next(row for row in rows if row.task == name)


def test_a_failing_task_is_paused_its_jobs_are_patched_and_it_goes_on(
    night: Night, operator: Operator
) -> None:
    dead = night.shop.top_up()
    known = {each.id for each in night.shop.operate(lambda admin: admin.operations())}
    night.shop.staff.hire("mails", BRISK)
    try:
        operator.sees("> emails")
        operator.press("enter")
        operator.sees("Over > emails", "> send_invoice", "ERROR GROUPS")
        operator.press("P")
        operator.until(lambda: task_of(night, "send_invoice").paused, "the task is paused")
        operator.sees("paused by")
        operator.press("tab")
        operator.sees("▸─ ERROR GROUPS", f"{COUNT:,}", "KeyError: 'currency'")
        operator.press("enter")
        operator.sees("billing/money.py:11", "argument currency is missing")
        operator.press("e")
        operator.sees("PATCH AND RETRY", "stop after")
        operator.type('args.currency = "EUR"')
        operator.press("ctrl+x")
        operator.reads(f"{COUNT:,} change, 0 stay the same, 0 invalid", f"type {COUNT}")
        operator.type(str(COUNT))
        operator.press("enter")
        operator.within(7, 25)
        operator.until(lambda: newest(night, known).canary == "ok", "the first one is good")
        operator.until(lambda: task_of(night, "send_invoice").paused is None, "it is resumed")
        operator.until(lambda: (newest(night, known).completed or 0) > 20, "the others complete")
        operator.sees("0 failed again")
        assert newest(night, known).failed_again == 0
        job = night.shop.found(dead[0], "emails")
        assert job.payload["currency"] == "EUR"
        assert job.state is not State.DEAD
    finally:
        operation = newest(night, known)
        if operation.state == "running":
            night.shop.operate(lambda admin: admin.abort(operation.id))
        night.shop.operate(lambda admin: admin.resume("emails", "send_invoice"))
        night.shop.staff.hire("mails")
