"""Acts that are taken back, a queue that is cleared, a job that is edited or moved: the operator's
scenarios of undo and of single jobs.
"""

from __future__ import annotations

from datetime import timedelta

from tests.servers import wait_until
from tests.tui.night import Night, Operator

from qdeck.admin import JobRef, QueueRow, Window
from qdeck.job import State


def queues(night: Night) -> dict[str, QueueRow]:
    """Return the queues as another operator sees them."""
    rows = night.shop.operate(lambda admin: admin.snapshot()).queues
    assert isinstance(rows, tuple)
    return {row.name: row for row in rows}


def test_everything_is_stopped_and_goes_on_again(night: Night, operator: Operator) -> None:
    before = {name for name, row in queues(night).items() if row.paused}
    operator.press(":")
    operator.type("pause all")
    operator.press("enter")
    operator.reads("Pause", "y yes")
    operator.press("y")
    operator.until(lambda: all(row.paused for row in queues(night).values()), "all are paused")
    operator.within(3, 9)
    operator.press("u")
    operator.reads("Undo pause of", "y yes")
    operator.press("y")
    operator.until(
        lambda: {name for name, row in queues(night).items() if row.paused} == before,
        "what was paused before is paused",
    )


def test_a_queue_is_cleared_and_its_jobs_come_back_in_their_order(
    night: Night, operator: Operator
) -> None:
    def waiting() -> list[str]:
        page = night.shop.operate(lambda admin: admin.jobs("thumbnails", "pending", Window()))
        return [row.ref.id for row in page.rows]

    before = waiting()
    assert len(before) == 10
    operator.press("/")
    operator.type("thu")
    operator.press("enter")
    operator.sees("filter: thu", "> thumbnails")
    operator.press("D")
    operator.reads("Clear 10 pending jobs of thumbnails?", "type 10")
    operator.type("10")
    operator.press("enter")
    operator.sees("cleared 10 pending jobs")
    assert waiting() == []
    operator.press("u")
    operator.reads("Undo clear of", "y yes")
    operator.press("y")
    operator.within(6, 5)
    operator.sees("restored 10 pending jobs")
    assert waiting() == before


def test_the_payload_of_one_dead_job_is_fixed_and_it_completes(
    night: Night, operator: Operator
) -> None:
    night.shop.top_up()
    operator.press("6")
    operator.sees("DEAD in 5 groups", "KeyError: 'currency'")
    operator.press("enter")
    operator.sees("Dead > KeyError", "of 1,204")
    groups = night.shop.operate(lambda admin: admin.errors()).groups
    page = night.shop.operate(lambda admin: admin.group(groups[0], Window(0, 50)))
    refs = [row.ref for row in page.rows]
    operator.until(
        lambda: any(operator.row(f"> {ref.id[-8:]}") for ref in refs), "the cursor is on a job"
    )
    ref = next(ref for ref in refs if operator.row(f"> {ref.id[-8:]}"))
    operator.press("e")
    operator.sees("set ")
    operator.type("amount = true")
    operator.press("ctrl+x")
    operator.sees("argument 'amount': expected", "nothing was changed")
    assert night.shop.found(ref.id, "emails").state is State.DEAD
    operator.press("escape")
    operator.sees("Esc again drops it")
    operator.press("escape")
    operator.until(lambda: "EDIT " not in operator.screen, "it is closed")
    operator.press("e")
    operator.sees("set ")
    keys = operator.keys
    operator.type('currency = "EUR"')
    operator.press("ctrl+x")
    operator.reads("y yes")
    operator.press("y")
    assert operator.keys - keys == 2
    wait_until(lambda: night.shop.found(ref.id, "emails").state is not State.DEAD)
    assert night.shop.found(ref.id, "emails").payload["currency"] == "EUR"
    detail = night.shop.operate(lambda admin: admin.job(JobRef(ref.id, "emails")))
    assert detail is not None
    assert detail.was is not None
    assert '"currency"' not in detail.was
    operator.press(":")
    operator.paste(ref.id)
    operator.sees(f"open job {ref.id[-8:]}")
    operator.press("enter")
    operator.sees(f"JOB {ref.id}")
    operator.press("]", "]", "]")
    operator.sees(detail.payload, f"before {detail.edited_by} edited it", detail.was)


def test_a_delayed_job_is_moved_by_two_hours(night: Night, operator: Operator) -> None:
    operator.press("4")
    operator.sees("LATER SCHEDULED", "> ")
    job_id = next(
        each for each in night.shop.ids("billing", "scheduled") if operator.row(f"> {each[-8:]}")
    )
    before = night.shop.found(job_id, "billing").available_at
    assert before is not None
    operator.press("m")
    operator.sees(" due:")
    operator.type("+2h")
    operator.sees(" → ")
    operator.press("enter")
    operator.within(3, 3)
    operator.sees("moved 1 job: due")
    after = night.shop.found(job_id, "billing").available_at
    assert after is not None
    assert abs(after - before - timedelta(hours=2)) < timedelta(seconds=2)
    operator.press("u")
    operator.reads("Undo move", "y yes")
    operator.press("y")
    operator.until(
        lambda: night.shop.found(job_id, "billing").available_at == before, "it is as before"
    )
