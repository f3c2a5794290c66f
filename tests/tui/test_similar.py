"""The line of a job about the dead ones that failed like it, and the way to their group."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.tui.deadstage import open_job
from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import ErrorGroup, Fact, Shared


class Placed(Twin):
    """A twin that knows where jobs failed."""

    async def shared(self, group: ErrorGroup) -> Shared:
        """Return two workers."""
        await self._call("shared")
        hosts = (("host-[b]a", 0.51), ("host-b", 0.49))
        facts = tuple(Fact("worker", name, share, "") for name, share in hosts)
        return Shared(84, group.count, facts)


async def test_a_dead_job_says_how_many_failed_like_it_and_opens_their_group() -> None:
    async with running(filled()) as desk:
        text = await open_job(desk, "similar: ")
        assert "similar: 84 dead, first 03:07:50   = group" in text
        await desk.press("=")
        text = await desk.until("▸─ 125 DEAD in 2 groups")
        assert "Dead > KeyError > F3000289 > KeyError" in text
        (row,) = [line for line in text.splitlines() if line.startswith(">")]
        assert " 84 " in row
        await desk.press("escape")
        await desk.until("LOG error attempts")
        # The table of actions tells of it: the help, and the prompt.
        await desk.press("?")
        await desk.until("the dead jobs that failed like this one")
        await desk.press("escape")
        await desk.press("colon", *"similar")
        await desk.until("Enter: the dead jobs that failed like this one")
        await desk.press("enter")
        await desk.until("▸─ 125 DEAD in 2 groups")


async def test_it_says_on_which_workers_and_since_which_day() -> None:
    plain = filled()
    old = plain.of("dead", "webhooks")[0]
    plain.records[old.ref.id] = replace(old, finished_at=START - timedelta(days=19))
    async with running(Placed(records=plain.records, crew=plain.crew)) as desk:
        said = "similar: 84 dead, first Nov 02 03:12, 100% on host-[b]a and 1 more   = group"
        await open_job(desk, said)


@pytest.mark.parametrize("failing", ["errors", "shared"])
async def test_a_part_that_fails_leaves_the_rest(failing: str) -> None:
    twin = filled()
    async with running(twin) as desk:
        await open_job(desk, "similar: ")
        await desk.press("escape")
        await desk.until("newest first")
        twin.failing.add(failing)
        twin.calls.clear()
        await desk.press("enter")
        await desk.until("LOG error attempts")
        await desk.until(lambda text: failing in twin.calls and "DEAD 1/4" in text)
        await desk.pilot.pause()
        assert "similar" not in desk.text()
        await desk.press("=")
        assert "Traceback" not in desk.text()


async def test_a_job_without_an_error_says_nothing_of_others() -> None:
    async with running(filled()) as desk:
        await desk.press("3")
        await desk.until("▸─ RUNNING")
        await desk.press("enter")
        await desk.until("LOG error attempts")
        await desk.until("RUNNING 1/4")
        await desk.press("=")
        assert "similar" not in desk.text()
        assert "DEAD in" not in desk.text()


async def test_another_key_is_told_in_the_line() -> None:
    async with running(filled(), keys={"similar": "B"}) as desk:
        await open_job(desk, "   B group")
        await desk.press("B")
        await desk.until("▸─ 125 DEAD in 2 groups")
