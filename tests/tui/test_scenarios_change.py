"""Queues, running jobs and workers: the operator's scenarios in which something is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import wait_until
from tests.tui.night import Night, Operator

from qdeck.admin import QueueRow
from qdeck.job import State


def queue_of(night: Night, name: str) -> QueueRow:
    """Return a queue as another operator sees it."""
    queues = night.shop.operate(lambda admin: admin.snapshot()).queues
    assert isinstance(queues, tuple)
    return next(row for row in queues if row.name == name)


@contextmanager
def resumed(night: Night, queue: str, task: str | None = None) -> Iterator[None]:
    """Take a pause back at the end."""
    try:
        yield
    finally:
        night.shop.operate(lambda admin: admin.resume(queue, task))


def test_one_queue_is_paused_and_said_by_whom(night: Night, operator: Operator) -> None:
    with resumed(night, "billing"):
        operator.press("/")
        operator.type("bil")
        operator.press("enter")
        operator.sees("filter: bil", "> billing")
        operator.press("p")
        operator.sees("billing PAUSED")
        paused = queue_of(night, "billing").paused
        assert paused is not None
        operator.sees(f"paused by {paused.by} since")
        operator.within(3, 3)
        (held,) = night.shop.put([night.shop.call("charge_card", order=1, cents=5)])
        (other,) = night.shop.put([night.shop.call("index_page", page=2)])
        done = State.COMPLETED
        wait_until(lambda: night.shop.found(other.id, "search").state is done)
        assert night.shop.found(held.id, "billing").state is State.PENDING
    wait_until(lambda: night.shop.found(held.id, "billing").state is State.COMPLETED)


def test_one_task_is_paused_and_the_others_of_its_queue_still_run(
    night: Night, operator: Operator
) -> None:
    with resumed(night, "emails", "send_invoice"):
        operator.sees("> emails")
        operator.press("enter")
        operator.sees("Over > emails", "> send_invoice")
        operator.press("P")
        operator.sees("send_invoice PAU", "paused by", "P resume task")
        operator.within(2)
        night.shop.staff.hire("mails", 0.0)
        before = night.shop.count("emails", "completed")
        (welcome,) = night.shop.put([night.shop.call("send_welcome", 8, user=1)])
        (invoice,) = night.shop.put(
            [night.shop.call("send_invoice", 8, invoice=1, to="a", amount=1, currency="EUR")]
        )
        done = State.COMPLETED
        wait_until(lambda: night.shop.found(welcome.id, "emails").state is done)
        assert night.shop.found(invoice.id, "emails").state is State.PENDING
        assert night.shop.count("emails", "completed") > before
        night.shop.staff.hire("mails")


def test_the_running_job_is_cancelled_and_told_so(night: Night, operator: Operator) -> None:
    job = night.shop.overdue_job()
    tidying = night.shop.folder / "yearly.tidying"
    tidying.touch()
    with night.operator() as other:
        other.press("3")
        other.sees("▸─ RUNNING ─", f"> {job.id[-8:]}")
        other.press("enter")
        other.sees(f"JOB {job.id}", "RUNNING 1/")
        operator.press("3")
        operator.sees("▸─ RUNNING ─", f"> {job.id[-8:]}")
        operator.press("x")
        operator.reads("Cancel job")
        operator.press("y")
        operator.sees("asked to stop")
        operator.within(3)
        other.sees("asked to stop", "tidying up yearly")
        tidying.unlink()
        other.sees(f"JOB {job.id}", " CANCELLED 1/")
    assert night.shop.found(job.id, "reports").state is State.CANCELLED


def test_a_delayed_job_runs_now(night: Night, operator: Operator) -> None:
    operator.press("4")
    operator.sees("LATER SCHEDULED", "> ")
    job_id = next(
        each for each in night.shop.ids("billing", "scheduled") if operator.row(f"> {each[-8:]}")
    )
    operator.press("r")
    operator.reads("Run job", "y yes")
    operator.press("y")
    operator.within(3)
    wait_until(lambda: night.shop.found(job_id, "billing").state is State.COMPLETED)


def test_what_a_lost_worker_held_is_recovered_and_run_once_by_a_local_worker(
    night: Night, operator: Operator
) -> None:
    held = night.shop.ids("exports", "lease")
    assert len(held) == 3
    # Workers have a lease's time to find a server that has just started.
    wait_until(lambda: int(night.server.info()["uptime_in_seconds"]) > 15)
    operator.press("7")
    operator.sees("LOST", "> ")
    operator.press("r")
    operator.reads("Give back the jobs of", "y yes")
    operator.press("y")
    operator.sees("returned 3 jobs")
    assert sorted(night.shop.ids("exports", "ready")) == sorted(held)
    operator.press("n")
    operator.sees("START A LOCAL WORKER", "exports")
    operator.press("ctrl+x")
    operator.within(5)
    operator.sees("OUTPUT of local-1", "exporting 0.csv in run 2")
    done = State.COMPLETED
    wait_until(lambda: all(night.shop.found(each, "exports").state is done for each in held))
    assert [night.shop.found(each, "exports").attempt for each in held] == [2, 2, 2]
