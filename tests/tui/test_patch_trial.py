"""What a patch would make of the newest jobs, shown in its form while it is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.tui.deadstage import open_group, open_patch, open_sample
from tests.tui.stage import running
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck.admin import Change, Diff, Draft, JobRef, Selection
from qdeck_tui.screens.changes import whole_diff

LINE = 'args.currency = "EUR"'
COUNTS = "5 change, 0 stay the same, 0 invalid of the newest 5"


class Strict(Twin):
    """A twin whose task refuses what is no text."""

    async def patch(
        self,
        what: Sequence[JobRef] | Selection,
        changes: Sequence[Change],
        *,
        retry: bool = False,
        dry_run: bool = False,
    ) -> Draft:
        """Refuse a number for all jobs."""
        draft = await super().patch(what, changes, retry=retry, dry_run=dry_run)
        if not changes[0].value.isdecimal():
            return draft
        diffs = tuple(replace(each, problem="argument 'currency': no text") for each in draft.diffs)
        return replace(draft, changed=0, invalid=draft.total, diffs=diffs)


async def test_the_newest_job_is_shown_as_it_was_and_as_it_would_be_while_typing() -> None:
    twin = filled(dead=250)
    async with running(twin) as desk:
        await open_patch(desk)
        text = await desk.until("will   change 84 jobs, start 84 in webhooks, about 5 s")
        assert "diff   what it makes of the newest jobs is shown here" in text
        desk.burst(LINE)
        text = await desk.until(COUNTS)
        shown = 'diff   {"invoice": 88289}  >  {"invoice": 88289, "currency": "EUR"}'
        assert shown in text
        assert text.count("  >  {") == 1
        lines = text.splitlines()
        # The groups stay in sight above the form, the largest with the cursor.
        assert lines[2].startswith("▸─ 250 DEAD in 4 groups")
        assert all("│" not in line and "┌" not in line for line in lines[:10])
        assert twin.drafts == {}
        assert all("currency" not in job.args for job in twin.records.values())
        await desk.press("backspace", "backspace")
        desk.burst('SD"')
        await desk.until(lambda text: '> {"invoice": 88289, "currency": "EUSD"}' in compact(text))


async def test_a_tall_screen_shows_all_samples_below_the_groups() -> None:
    async with running(filled(dead=250), size=(120, 40)) as desk:
        await open_patch(desk)
        desk.burst(LINE)
        text = await desk.until(COUNTS)
        assert text.count('  >  {"invoice": ') == 5
        lines = text.splitlines()
        assert lines[2].startswith("▸─ 250 DEAD in 4 groups")
        assert all("┌" not in line for line in lines[:9])
        assert "diff   F3000289  {" in text


async def test_a_line_is_tried_once_it_rests_and_keys_wait_for_nothing() -> None:
    twin = filled(dead=250)
    async with running(twin) as desk:
        await open_patch(desk)
        await desk.until("will   change")
        await desk.pilot.pause()
        twin.pause_s = 1.0
        desk.burst(LINE)
        await desk.until(lambda text: f"set    [{LINE}" in text)
        assert COUNTS not in desk.text()
        await desk.until(COUNTS)
        assert twin.calls.count("patch") == 1
        # What is on its way when the form is closed is not waited for.
        desk.burst(" ; args.more = 2")
        await desk.until("args.more = 2")
        await desk.press("escape", "escape")
        await desk.until(lambda text: "PATCH AND RETRY" not in text)


async def test_what_the_task_refuses_is_said_in_the_form() -> None:
    plain = filled(dead=250)
    twin = Strict(records=plain.records, crew=plain.crew)
    async with running(twin) as desk:
        await open_patch(desk)
        desk.burst("args.currency = 5")
        text = await desk.until("0 change, 0 stay the same, 5 invalid of the newest 5")
        assert "diff   argument 'currency': no text" in text


async def test_a_change_that_changes_nothing_says_so() -> None:
    async with running(filled(dead=250)) as desk:
        await open_patch(desk)
        desk.burst("-args.nothing")
        text = await desk.until("0 change, 5 stay the same, 0 invalid of the newest 5")
        assert ">  {" not in text


async def test_marked_jobs_are_tried_themselves_and_a_line_that_cannot_be_tried_says_why() -> None:
    twin = filled(dead=30)
    async with running(twin) as desk:
        await open_group(desk)
        await desk.press("space", "space", "e")
        await desk.until("will   change 2 jobs, start 2 in webhooks, about 1 s")
        desk.burst(LINE)
        await desk.until("2 change, 0 stay the same, 0 invalid of the newest 2")
        twin.failing.add("patch")
        await desk.press("backspace")
        await desk.until("patch is broken here")
        assert "PATCH AND RETRY" in desk.text()


@pytest.mark.parametrize(("key", "said"), [("enter", "in webhooks"), ("slash", "")])
async def test_of_a_whole_list_a_few_are_tried(key: str, said: str) -> None:
    twin = filled(dead=90)
    async with running(twin) as desk:
        await open_sample(desk)
        await desk.press(key)
        if key == "slash":
            await desk.press("enter")
        await desk.until("newest first")
        await desk.press("a")
        await desk.until("rows marked")
        await desk.press("e")
        await desk.until("will   change")
        desk.burst(LINE)
        text = await desk.until(COUNTS)
        (will,) = [line for line in text.splitlines() if "will   " in line]
        assert said in will
        dead = twin.of("dead", said[3:] or None)
        newest = max(job.ref.id for job in dead if not said or job.task == "send_invoice")
        assert f'{{"invoice": {int(newest[-6:]) + 88000}}}' in text


async def test_no_rate_is_as_fast_as_it_goes() -> None:
    async with running(filled(dead=250)) as desk:
        await open_patch(desk)
        await desk.press("tab", "backspace")
        await desk.until("start 84 in webhooks, as fast as it goes")


def compact(text: str) -> str:
    """Return the screen with one space where there are several."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (70, '{"a": 1, "to": "x", "n": 9}  >  {"a": 1, "to": "x", "n": 9, "b": 2}'),
        (50, '{…, "n": 9}  >  {…, "n": 9, "b": 2}'),
        (34, '{"a":1,"to":"x","n":9}  >  {"b": …'),
    ],
)
def test_a_difference_is_as_whole_as_there_is_room(cells: int, shown: str) -> None:
    diff = Diff(JobRef("x", "q"), '{"a":1,"to":"x","n":9}', '{"a":1,"to":"x","n":9,"b":2}')
    assert whole_diff(diff, cells) == shown


def test_a_difference_of_all_arguments_names_what_goes_and_what_comes() -> None:
    diff = Diff(JobRef("x", "q"), '{"a": 1}', '{"b": 1}')
    assert whole_diff(diff, 40) == '{"a": 1}  >  {"b": 1}'
    assert whole_diff(diff, 15) == '{"a": 1}  >  {…'
