"""Dead jobs: the operator's scenarios in which they are repaired, retried and watched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.servers import wait_until
from tests.tui.fixture import GROUPS
from tests.tui.night import Night, Operator
from tests.tui.staff import BRISK

from qdeck.job import State


@pytest.fixture
def dead(night: Night) -> Iterator[list[str]]:
    """The invoices that are dead, as many as there should be; mails go out meanwhile."""
    night.shop.staff.hire("mails", BRISK)
    yield night.shop.top_up()
    night.shop.staff.hire("mails")


def test_exactly_the_jobs_of_one_group_are_retried(
    night: Night, dead: list[str], operator: Operator
) -> None:
    operator.press("6")
    operator.sees("> ", "KeyError: 'currency'", f"{GROUPS[0]:,}")
    operator.press("r")
    operator.reads(f"Retry {GROUPS[0]:,} dead jobs of send_invoice", f"type {GROUPS[0]}")
    (late,) = night.shop.arrive(1)
    operator.type(str(GROUPS[0]))
    operator.press("enter")
    operator.sees(f"retry: {GROUPS[0]:,} of {GROUPS[0]:,} jobs")
    operator.within(3, 4)
    # They fail again, since nothing was repaired: a second claim tells that they were retried.
    wait_until(lambda: night.shop.found(dead[-1], "emails").attempt == 2)
    wait_until(lambda: set(night.shop.dead()) == {*dead, late})
    assert {night.shop.found(each, "emails").attempt for each in dead} == {2}
    assert night.shop.found(late, "emails").attempt == 1
    assert night.shop.found(late, "emails").state is State.DEAD
