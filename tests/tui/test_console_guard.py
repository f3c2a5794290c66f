"""The dialog before a write: what was typed ahead is dropped, and what is frozen is what moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck.admin import QueueRow, TaskRow
from qdeck_tui.actions import ROWS, conflicts, remap


@asynccontextmanager
async def on_dead(twin: Twin) -> AsyncIterator[Desk]:
    """Open the console on the groups of dead jobs."""
    async with running(twin) as desk:
        await desk.press("6")
        await desk.until("DEAD in")
        yield desk


async def test_yes_in_the_same_packet_as_its_key_confirms_nothing() -> None:
    twin = filled()
    async with on_dead(twin) as desk:
        desk.burst("ryyy")
        text = await desk.until("typed too early")
        assert "Retry 84 dead jobs" in text
        assert not twin.started
        await desk.say_yes()
        await desk.until("84 of 84 jobs")


async def test_keys_typed_ahead_never_open_a_second_dialog() -> None:
    twin = filled()
    async with on_dead(twin) as desk:
        desk.burst("rDDyyxq")
        await desk.until("Retry 84")
        await desk.press("escape")
        await desk.until("nothing was done")
        assert desk.app.sheet is None
        assert not twin.started
        assert desk.app.is_running


async def test_the_dialog_is_open_before_anything_is_counted() -> None:
    twin = filled()
    async with on_dead(twin) as desk:
        twin.pause_s = 0.8
        await desk.press("r")
        await desk.until("counting")
        desk.burst("y")
        await desk.until("Retry 84")
        assert not twin.started


async def test_enter_is_no_answer_and_n_is_no() -> None:
    twin = filled()
    async with on_dead(twin) as desk:
        await desk.press("D")
        await desk.until("y yes")
        await desk.armed()
        await desk.press("enter")
        assert desk.app.sheet is not None
        await desk.armed()
        await desk.press("n")
        await desk.until("nothing was done")
        assert not twin.started
        assert not twin.drafts


async def test_above_a_hundred_the_number_is_typed() -> None:
    twin = filled(dead=600)
    async with on_dead(twin) as desk:
        await desk.press("r")
        await desk.until("type 200 and Enter")
        await desk.armed()
        await desk.press("y", "1", "9", "9", "enter")
        await desk.until("that is not the number")
        assert not twin.started
        await desk.press("ctrl+u", "2", "0", "0", "enter")
        await desk.until("200 of 200 jobs")
        assert len(twin.of("pending")) == 240


async def test_jobs_that_die_while_the_dialog_is_open_are_not_retried() -> None:
    twin = filled()
    async with on_dead(twin) as desk:
        await desk.press("r")
        await desk.until("Retry 84")
        for row in twin.of("running"):
            twin.records[row.ref.id] = replace(
                row, task="send_invoice", state="dead", error="KeyError: 'currency'",
            )  # fmt: skip
        await desk.say_yes()
        await desk.until("84 of 84 jobs")
        assert len(twin.of("dead")) == 250 - 84 + 3


async def test_a_verb_acts_on_the_marks_and_names_their_number() -> None:
    twin = filled()
    async with running(twin) as desk:
        await desk.press("6", "enter")
        await desk.until("send_invoice in")
        await desk.press("V", "j", "j", "V", "D")
        await desk.until("Delete 3 marked jobs")
        await desk.say_yes()
        await desk.until("3 of 3 jobs")
        assert len(twin.of("dead")) == 247


async def test_all_of_a_window_is_marked_loaded_or_not() -> None:
    twin = filled(dead=900)
    async with running(twin) as desk:
        await desk.press("6", "slash", *"invoice", "enter")
        await desk.until("of 900")
        await desk.press("a", "r")
        await desk.until("type 900 and Enter")


async def test_a_running_job_is_cancelled_after_a_yes() -> None:
    twin = filled()
    async with running(twin) as desk:
        await desk.press("3")
        await desk.until("build_report")
        await desk.press("x")
        await desk.until("Cancel job")
        await desk.say_yes()
        await desk.until("1 now cancelled")
        assert len(twin.of("running")) == 2


async def test_what_is_denied_says_why() -> None:
    twin = filled()
    twin.read_only = True
    async with on_dead(twin) as desk:
        await desk.press("r")
        await desk.until("the server is read-only")
        assert desk.app.sheet is None


async def test_a_console_that_is_read_only_writes_nothing_until_told() -> None:
    twin = filled()
    async with running(twin, read_only=True) as desk:
        await desk.press("7")
        await desk.until("host-a:11")
        await desk.press("Q")
        await desk.until("this console is read-only")
        await desk.press("colon", *"rw", "enter")
        await desk.press("j")
        await desk.press("Q")
        await desk.until("quiet")


async def test_a_reversible_key_within_a_burst_is_dropped_and_said() -> None:
    twin = filled()
    async with running(twin) as desk:
        await desk.press("7")
        await desk.until("host-a:11")
        desk.burst("jQj")
        await desk.until("dropped")
        await desk.pilot.pause(0.2)
        assert "quiet" not in twin.calls


async def test_a_paste_without_a_field_is_dropped_and_said() -> None:
    twin = filled()
    async with on_dead(twin) as desk:
        desk.paste("rDy\n")
        await desk.until("pasted text dropped")
        assert desk.app.sheet is None


def test_no_key_means_two_things() -> None:
    assert conflicts(ROWS) == []


@pytest.mark.parametrize("keys", [{"retry": "y"}, {"nonsense": "z"}, {"delete": "3"}])
def test_keys_that_cannot_be_changed_are_reported(keys: dict[str, str]) -> None:
    rows, refused = remap(ROWS, keys)
    assert rows == ROWS
    assert len(refused) == 1


def test_a_key_that_is_taken_is_a_conflict_and_changes_nothing() -> None:
    rows, refused = remap(ROWS, {"cancel": "D"})
    assert rows == ROWS
    assert "cancel" in refused[0]


def test_a_free_key_can_be_given_to_an_action() -> None:
    rows, refused = remap(ROWS, {"cancel": "C"})
    assert refused == ()
    assert next(row for row in rows if row.id == "cancel").keys == ("C",)


def test_every_verb_has_a_target_and_something_that_does_it() -> None:
    verbs = [row for row in ROWS if row.verbs]
    assert all(row.on and row.run is not None for row in verbs)
    assert {QueueRow, TaskRow} <= {kind for row in verbs for kind in row.on}


async def test_marked_groups_are_retried_together() -> None:
    twin = filled()
    async with on_dead(twin) as desk:
        await desk.press("j", "j", "space", "space", "r")
        await desk.until("Retry 83 dead jobs of 2 marked groups")
        await desk.say_yes()
        await desk.until("83 of 83 jobs")
        assert len(twin.of("dead")) == 250 - 83


async def test_all_running_jobs_of_a_queue_are_cancelled_as_they_were_frozen() -> None:
    twin = filled()
    async with running(twin) as desk:
        await desk.press("3")
        await desk.until("build_report")
        await desk.press("a", "x")
        await desk.until("Cancel 3 marked jobs")
        await desk.say_yes()
        await desk.until("3 now cancelled")


async def test_a_frozen_screen_still_reads_a_view_once_it_is_opened() -> None:
    async with running(filled()) as desk:
        await desk.press("F")
        await desk.until("frozen")
        await desk.press("7")
        await desk.until("host-a:11")
