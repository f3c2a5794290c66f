"""Dead jobs: the operator's scenarios in which they are repaired, retried and watched."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.servers import wait_until
from tests.tui.fixture import GROUPS
from tests.tui.night import Night, Operator
from tests.tui.staff import BRISK

from qdeck.admin import Operation
from qdeck.job import State

COUNT = GROUPS[0]
PATCH = 'args.currency = "EUR"'


@pytest.fixture
def dead(night: Night) -> list[str]:
    """The invoices that are dead, as many as there should be."""
    return night.shop.top_up()


@contextmanager
def mails(night: Night) -> Iterator[None]:
    """Let mails go out meanwhile; at other times all slots are taken."""
    night.shop.staff.hire("mails", BRISK)
    try:
        yield
    finally:
        night.shop.staff.hire("mails")


def newest(night: Night) -> Operation:
    """Return the bulk operation that was started last."""
    return night.shop.operate(lambda admin: admin.operations())[0]


def go(night: Night, operator: Operator) -> None:
    """Type the number, and wait until the server has the operation."""
    before = len(night.shop.operate(lambda admin: admin.operations()))
    operator.type(str(COUNT))
    operator.press("enter")
    operator.until(
        lambda: len(night.shop.operate(lambda admin: admin.operations())) > before, "it is started"
    )


def wait_long(operator: Operator, what: Callable[[], bool], name: str) -> None:
    """Wait for what takes a minute at the default rate."""
    operator.pty.wait(what, name, timeout=240.0)


def retry(operator: Operator) -> None:
    """Retry the largest group, with its number typed."""
    operator.press("6")
    operator.sees("> ", "KeyError: 'currency'", f"{COUNT:,}")
    operator.press("r")
    operator.reads(
        f"Retry {COUNT:,} dead jobs of send_invoice",
        "20 a second, stops after 10 new failures",
        f"type {COUNT}",
    )


def test_exactly_the_jobs_of_one_group_are_retried(
    night: Night, dead: list[str], operator: Operator
) -> None:
    retry(operator)
    (late,) = night.shop.arrive(1)
    go(night, operator)
    operator.until(lambda: newest(night).done > 100, "it is in the middle")
    operator.within(3, 4)
    operator.pty.hang_up()
    assert newest(night).state == "running"
    wait_until(lambda: newest(night).state == "done", patience=240)
    operation = newest(night)
    assert (operation.total, operation.ok, operation.skipped) == (COUNT, COUNT, 0)
    assert night.shop.dead() == [late]
    assert night.shop.found(dead[0], "emails").state is State.PENDING
    # Nothing has run them, so that all can be taken back.
    undone = night.shop.operate(lambda admin: admin.undo_operation(operation.id))
    assert undone.changed == COUNT
    assert set(night.shop.dead()) == {*dead, late}


def test_a_retry_stops_after_ten_new_failures(
    night: Night, dead: list[str], operator: Operator
) -> None:
    with mails(night):
        retry(operator)
        go(night, operator)
        operator.sees("retry stopped: 10 new failures", "1 marked")
        operator.within(3, 4)
        operation = newest(night)
        assert (operation.state, operation.new_failures) == ("stopped", 10)
        assert (operation.done, operation.completed) == (10, 0)
        wait_until(lambda: set(night.shop.dead()) == set(dead))
        again = [each for each in dead if night.shop.found(each, "emails").attempt > 1]
        assert len(again) == 10
        # The same once more, and nobody is there when it is to stop.
        with night.operator() as second:
            retry(second)
            go(night, second)
            second.pty.hang_up()
        wait_until(lambda: newest(night).state != "running")
        operation = newest(night)
        assert (operation.state, operation.new_failures) == ("stopped", 10)
        assert (operation.done, operation.completed) == (10, 0)
        wait_until(lambda: set(night.shop.dead()) == set(dead))
        assert sum(night.shop.found(each, "emails").attempt - 1 for each in dead) == 20


def test_payloads_are_patched_and_retried_after_a_good_first_one(
    night: Night, dead: list[str], operator: Operator
) -> None:
    before = {each: night.shop.found(each, "emails").attempt for each in dead}
    with mails(night):
        operator.press("6")
        operator.sees("> ", "KeyError: 'currency'", f"{COUNT:,}")
        operator.press("e")
        operator.sees("PATCH AND RETRY", "stop after")
        operator.type(PATCH)
        operator.sees(PATCH)
        operator.press("ctrl+x")
        operator.reads(f"{COUNT:,} change, 0 stay the same, 0 invalid", f"type {COUNT}")
        assert operator.screen.count('>  {"currency": "EUR"}') == 5
        assert "tries one job first" in operator.screen
        go(night, operator)

        operator.until(lambda: newest(night).canary == "ok", "the first one is good")
        operator.until(lambda: newest(night).done > 100, "it is in the middle")
        operator.within(4, 25)
        operator.pty.hang_up()
        assert newest(night).state == "running"
        with night.operator() as second:
            second.until(
                lambda: " ok, 0 failed again" in second.row("patch and retry in emails: "),
                "progress on return",
            )
            wait_long(second, lambda: newest(night).completed == COUNT, "all complete")
            second.press("6")
            second.sees(f"{COUNT:,}/{COUNT:,} started, {COUNT:,} ok, 0 failed again")
        operation = newest(night)
        assert (operation.state, operation.ok, operation.failed_again) == ("done", COUNT, 0)
        for job_id in dead:
            job = night.shop.found(job_id, "emails")
            assert (job.state, job.attempt) == (State.COMPLETED, before[job_id] + 1)
            assert job.payload["currency"] == "EUR"


def test_an_operation_goes_on_without_the_terminal_that_started_it(
    night: Night, dead: list[str]
) -> None:
    with night.operator() as first:
        retry(first)
        go(night, first)
        first.until(lambda: newest(night).done > 0, "it runs")
        first.pty.signal(signal.SIGKILL)
    operation = newest(night)
    assert operation.state == "running"
    wait_until(lambda: newest(night).done > operation.done + 20)
    with night.operator() as second:
        second.sees("retry in emails: ")
        second.press("6")
        second.sees("OPERATIONS")
        second.press("x")
        second.reads(f"Abort retry of {COUNT:,} jobs?")
        second.press("y")
        second.sees("aborted retry after")
    aborted = newest(night)
    assert aborted.state == "aborted"
    night.shop.operate(lambda admin: admin.undo_operation(aborted.id))
    assert set(night.shop.dead()) == set(dead)
