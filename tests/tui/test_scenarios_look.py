"""What is wrong, where and why: the operator's scenarios in which nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import wait_until
from tests.tui.fixture import FIRST
from tests.tui.night import Night, Operator

from qdeck.admin import STATES, JobRef
from qdeck.job import Job, State


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """A shop that nobody has repaired yet."""
    with Night.made(tmp_path_factory.mktemp("shop")) as made:
        yield made


def test_the_first_screen_tells_whether_anything_is_wrong(operator: Operator) -> None:
    operator.sees("VERDICT: ! DEGRADED since", "% of send_invoice fail since", "emails: ")
    operator.until(
        lambda: operator.row("% of send_invoice").startswith(" emails:"), "the queue is named"
    )
    operator.until(lambda: operator.row("> ").startswith("> emails"), "the worst is preselected")
    operator.within(0)


def test_the_job_far_beyond_its_usual_time_is_the_first_of_those_that_run(
    night: Night, operator: Operator
) -> None:
    job = night.shop.overdue_job()
    operator.press("3")
    operator.until(lambda: first_of_running(operator), "a job that runs")
    row = first_of_running(operator)
    assert row.startswith(f"> {job.id[-8:]} build_report"), row
    assert " !" in row
    operator.within(1)


def test_the_log_of_that_job_is_followed(night: Night, operator: Operator) -> None:
    job = night.shop.overdue_job()
    operator.press("3")
    operator.until(lambda: job.id[-8:] in first_of_running(operator), "the job that runs")
    operator.press("enter")
    operator.sees("follow ON", f"JOB {job.id}")
    for _ in range(3):
        line = newest(night, job)
        operator.sees(line)
    operator.within(2)


def test_a_log_is_searched_and_saved_without_losing_a_line(
    night: Night, operator: Operator
) -> None:
    job = night.shop.overdue_job()
    wait_until(lambda: len(log_of(night, job)) > 20)
    operator.press("3")
    operator.until(lambda: job.id[-8:] in first_of_running(operator), "the job that runs")
    operator.press("enter")
    operator.sees("follow ON")
    operator.keys = 0
    operator.press("/")
    operator.type("currency")
    operator.press("enter")
    operator.sees("find currency", "row 7 has no currency", "follow off")
    operator.press("n")
    operator.sees("row 17 has no currency")
    operator.press("G")
    operator.sees("follow ON", newest(night, job))
    operator.press("O")
    operator.sees("saved to", ".log")
    operator.within(5, 8)
    saved = next(Path(night.shop.folder).glob(f"*{job.id[-8:]}*.log")).read_text()
    numbers = [int(line.split(" row ")[1].split()[0]) for line in saved.splitlines()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 20


def test_a_job_is_opened_by_its_pasted_id_whatever_its_state(
    night: Night, operator: Operator
) -> None:
    shop = night.shop
    later, *_ = shop.ids("billing", "scheduled")
    (failed,) = shop.put([shop.call("post_hook", hook=5_000, event="late")], max_retries=3)
    wait_until(lambda: shop.found(failed.id, "webhooks").state is State.RETRYING)
    ref = JobRef(shop.ids("billing", "scheduled")[-1], "billing")
    shop.operate(lambda admin: admin.cancel([ref]))
    jobs = {
        "pending": shop.ids("emails", "ready")[0],
        "running": shop.ids("emails", "lease")[0],
        "scheduled": later,
        "retrying": failed.id,
        "completed": shop.ids("search", "completed")[0],
        "dead": shop.ids("webhooks", "dead")[0],
        "cancelled": ref.id,
    }
    assert set(jobs) == set(STATES)
    for state, job_id in jobs.items():
        operator.keys = 0
        operator.press(":")
        operator.paste(f"  {job_id}\n")
        operator.sees(f"open job {job_id[-8:]}")
        operator.press("enter")
        operator.sees(f"JOB {job_id}", state.upper())
        operator.within(2)
        operator.press("escape")
        operator.until(lambda: operator.row("VERDICT"), "the way back")


def test_the_dead_jobs_with_an_invoice_are_found(night: Night, operator: Operator) -> None:
    wanted = FIRST + 3
    operator.press("6", "/")
    operator.type(str(wanted))
    operator.press("enter")
    operator.sees(f"filter: {wanted}  1  ", "scanned all", "> ")
    (job_id,) = [row.split()[1] for row in operator.screen.split("\n") if row.startswith("> ")]
    found = next(each for each in night.shop.dead() if each.endswith(job_id))
    assert night.shop.found(found, "emails").payload["invoice"] == wanted
    operator.within(3, 5)


def test_the_largest_group_of_failures_comes_first_with_exact_counts(
    night: Night, operator: Operator
) -> None:
    dead = len(night.shop.top_up())
    operator.press("6")
    operator.sees("3,012 DEAD in 5 groups", "KeyError: 'currency'")
    for text, counts in {
        "send_invoice": [">", f"{dead:,}", "new", f"{dead:,}"],
        "Gone: HTTP 410": ["1,100", "0"],
        "ConnectTimeout": ["700", "61"],
    }.items():
        operator.until(
            lambda text=text, counts=counts: operator.row(text).split()[: len(counts)] == counts,  # type: ignore[misc]
            f"{counts} of {text}",
        )
    operator.within(1)


def test_the_newest_traceback_shows_the_frames_of_the_own_code(operator: Operator) -> None:
    operator.press("6")
    operator.sees(
        "billing/money.py:11", "billing/mail.py:13", "shop/tasks.py", "KeyError: 'currency'"
    )
    operator.within(1)


def first_of_running(operator: Operator) -> str:
    """Return the first row of the view of running jobs, empty before it is on the screen."""
    rows = operator.screen.split("\n")
    at = next((at for at, row in enumerate(rows) if row.startswith("▸─ RUNNING ─")), None)
    if at is None or rows[at + 1].split()[:2] != ["JOB", "TASK"]:
        return ""
    return rows[at + 2]


def log_of(night: Night, job: Job[object]) -> list[str]:
    """Return the lines of a job's log that are stored."""
    keys = night.shop.deck.keys(job.queue)
    entries = night.shop.deck.call_sync("XRANGE", keys.log(job.id), "-", "+")
    return [dict(zip(flat[::2], flat[1::2], strict=True))[b"x"].decode() for _, flat in entries]


def newest(night: Night, job: Job[object]) -> str:
    """Wait for a new line in a job's log, and return it."""
    before = len(log_of(night, job))
    wait_until(lambda: len(log_of(night, job)) > before)
    assert night.shop.found(job.id, job.queue).state is State.RUNNING
    return log_of(night, job)[-1]
