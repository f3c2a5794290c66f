"""Patch and retry, the pace of retries, and the operations on screen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.tui.deadstage import open_group, open_patch, open_sample
from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import Diff, JobRef, Operation
from qdeck_tui.screens.changes import changes_of, shown_diff
from qdeck_tui.screens.opsline import recent, told

LINE = 'args.currency = "EUR"'


async def type_line(desk: Desk, text: str = LINE) -> None:
    desk.burst(text)
    await desk.until(lambda screen: text in screen)


def biggest(twin: Twin) -> int:
    groups: dict[tuple[str, str], int] = {}
    for job in twin.of("dead"):
        key = (job.ref.queue, f"{job.task} {job.error}")
        groups[key] = groups.get(key, 0) + 1
    return max(groups.values())


async def test_a_group_is_patched_and_retried_with_its_number_typed() -> None:
    twin = filled(dead=900)
    number = biggest(twin)
    async with running(twin) as desk:
        await open_patch(desk)
        await type_line(desk)
        await desk.press("ctrl+x")
        text = await desk.until(f"type {number}")
        assert f"{number} change, 0 stay the same, 0 invalid" in text
        assert text.count('>  {"currency": "EUR"}') == 5
        assert "tries one job first" in text
        assert "20 a second, stops after 10 new failures" in text
        assert "can be undone for 24 hours" in text
        await desk.armed()
        desk.burst(f"{number}\r")
        await desk.until(f"patch and retry: {number} of {number} jobs")
        (operation,) = twin.started.values()
        assert (operation.rate, operation.stop_after, operation.canary) == (20.0, 10, "ok")
        assert operation.ok == number
    assert sum('"currency":"EUR"' in job.args for job in twin.records.values()) == number


async def test_marked_jobs_are_patched_with_a_yes() -> None:
    twin = filled(dead=30)
    async with running(twin) as desk:
        await open_group(desk)
        await desk.press("space", "space", "e")
        await desk.until("stop after")
        await type_line(desk)
        await desk.press("ctrl+x")
        text = await desk.until("Patch and retry 2 dead jobs")
        assert "2 change, 0 stay the same, 0 invalid" in text
        await desk.say_yes()
        await desk.until("patch and retry: 2 of 2 jobs")
    assert sum('"currency":"EUR"' in job.args for job in twin.records.values()) == 2


async def test_no_leaves_everything_and_forgets_the_draft() -> None:
    twin = filled(dead=30)
    before = dict(twin.records)
    async with running(twin) as desk:
        await open_patch(desk)
        await type_line(desk)
        await desk.press("ctrl+x")
        await desk.until("10 change")
        await desk.press("escape")
        await desk.until("nothing was done")
        await desk.pilot.pause()
        assert twin.drafts == {}
    assert twin.records == before


@pytest.mark.parametrize("line", ["", "currency", "= 3"])
async def test_a_line_that_is_no_change_stays_in_the_form(line: str) -> None:
    async with running(filled(dead=30)) as desk:
        await open_patch(desk)
        desk.burst(line)
        await desk.press("ctrl+x")
        await desk.until("set: ")
        assert "PATCH AND RETRY" in desk.text()
        assert desk.twin.drafts == {}


async def test_a_rate_that_is_none_stays_in_the_form() -> None:
    async with running(filled(dead=30)) as desk:
        await open_patch(desk)
        await type_line(desk)
        await desk.press("tab")
        desk.burst("fast")
        await desk.press("ctrl+x")
        await desk.until("jobs a second, or empty")


async def test_read_only_opens_no_form() -> None:
    async with running(filled(dead=30), read_only=True) as desk:
        await open_sample(desk)
        await desk.press("e")
        await desk.until("patch refused: this console is read-only")


async def test_a_retry_of_many_goes_slowly_and_stops_by_itself() -> None:
    twin = filled(dead=30)
    async with running(twin) as desk:
        await open_sample(desk)
        await desk.press("r")
        await desk.until("20 a second, stops after 10 new failures")
        await desk.say_yes()
        await desk.until("retry: 10 of 10 jobs")
        (operation,) = twin.started.values()
        assert (operation.rate, operation.stop_after, operation.canary) == (20.0, 10, "")


def going(**more: object) -> Operation:
    made = Operation(
        "op1", "retry", "running", 1204, 420, 420, 0, "ana@here", "emails",
        started_by="ana@here", completed=418, failed_again=2, rate=20.0, stop_after=10,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


async def test_what_runs_is_on_the_overview_and_among_the_dead_and_x_aborts_it() -> None:
    twin = filled(dead=30)
    twin.started["op1"] = going()
    async with running(twin) as desk:
        await desk.until("retry in emails: 420/1,204 started, 418 ok, 2 failed again")
        await desk.press("6")
        await desk.until("420/1,204 started, 418 ok, 2 failed again")
        await desk.press("x")
        await desk.until("Abort retry of 1,204 jobs?")
        await desk.press("escape")
        await desk.until("it goes on")
        assert "abort" not in twin.calls
        await desk.press("x")
        await desk.until("Abort retry of 1,204 jobs?")
        await desk.say_yes()
        await desk.until("aborted retry after 420 jobs")
        assert twin.started["op1"].state == "aborted"


async def test_nothing_to_abort_is_said() -> None:
    async with running(filled(dead=30)) as desk:
        await open_sample(desk)
        assert "OPERATIONS" not in desk.text()
        await desk.press("x")
        await desk.pilot.pause()
        assert "Abort" not in desk.text()


def test_an_operation_in_a_line_says_how_it_ended() -> None:
    line = told(going(state="stopped", reason="10 new failures", canary="failed"))
    assert line == (
        (
            " retry in emails stopped: 420/1,204 started, 418 ok, 2 failed again (10 new failures)",
            "bad",
        ),
    )
    assert "waits for its first job" in told(going(canary="waiting"))[0][0]
    assert "\x1b" not in told(going(queue="a\x1b[31m"))[0][0]


def test_what_ended_long_ago_is_not_shown() -> None:
    ended = going(state="done", finished_at=START)
    assert recent([ended, going()], START + timedelta(minutes=1)) == [going(), ended]
    assert recent([ended, going(state="done")], START + timedelta(minutes=9)) == []


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ('{"amount": 990}', '{"amount":990,"c":"E"}', '{"amount": 990}  >  {"c": "E"}'),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', '{"b": 2}  >  {"b": 3}'),
        ('{"a": 1, "b": 2}', '{"b": 2}', '{"a": 1}  >  {}'),
        ("{", "{", "{  >  {}"),
    ],
)
def test_a_diff_shows_what_changes(before: str, after: str, shown: str) -> None:
    assert shown_diff(Diff(JobRef("x", "q"), before, after)) == shown


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ('args.a = "x;y" ; -b', ['args.a = "x;y"', "-b"]),
        ("a = 1;b = 2;", ["a = 1", "b = 2"]),
        (r'a = "\";" ; b -> c', [r'a = "\";"', "b -> c"]),
        ("", []),
    ],
)
def test_changes_stand_with_a_semicolon_between_them_and_texts_may_hold_one(
    line: str, changes: list[str]
) -> None:
    assert [each.line for each in changes_of(line)] == changes


def test_a_diff_shows_why_a_change_is_refused() -> None:
    diff = Diff(JobRef("x", "q"), "{}", "{}", "argument 'c': expected\x1b string")
    assert shown_diff(diff).startswith("argument 'c': expected")
    assert "\x1b" not in shown_diff(diff)
