"""The acts that ask for words: undo, clear, limits, edits, new jobs, times; the view of acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tests.tui.cronstage import agreed, typed
from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from tests.tui.twin import START, Twin

from qdeck.admin import Draft, JobRef, Selection


def small() -> Twin:
    """Return a twin whose first queue has few jobs."""
    return filled(dead=30, pending=10)


async def open_queue(desk: Desk, name: str) -> None:
    """Filter the queues down to one."""
    await desk.press("2")
    await desk.until("QUEUES")
    await desk.press("slash")
    await typed(desk, name)
    await desk.press("enter")
    await desk.until(f"> {name}")


async def test_a_queue_is_cleared_by_its_number_and_comes_back() -> None:
    twin = small()
    async with running(twin) as desk:
        await open_queue(desk, "emails")
        before = [job.ref.id for job in twin.of("pending", "emails")]
        assert len(before) == 10
        await desk.press("D")
        await desk.until("Clear 10 pending jobs of emails?")
        await desk.armed()
        await desk.press("y", "enter")
        assert len(twin.of("pending", "emails")) == 10
        await desk.press("backspace")
        await typed(desk, "10")
        await desk.press("enter")
        await desk.until("cleared 10 pending jobs of emails")
        assert twin.of("pending", "emails") == []
        text = await agreed(desk, "u", "Undo clear of queue emails?", "restored 10 jobs")
        assert "by ana@here" in text
        assert [job.ref.id for job in twin.of("pending", "emails")] == before


async def test_an_undo_is_not_done_without_a_yes() -> None:
    twin = small()
    async with running(twin) as desk:
        await desk.press("u")
        await desk.until("ana@here did nothing lately")
        await desk.press("escape")
        await twin.set_limits("emails", 4, None)
        await desk.press("u")
        await desk.until("Undo limits of queue emails?")
        await desk.armed()
        await desk.press("enter", "n")
        await desk.until("undo: no, nothing was done")
        assert twin.limits["emails"] == (4, None)


async def test_what_one_key_did_to_several_is_taken_back_together() -> None:
    twin = small()
    async with running(twin) as desk:
        for queue in ("emails", "reports", "webhooks"):
            await twin.set_limits(queue, 4, None)
        await agreed(desk, "u", "Undo limits of 3 targets?", "limits as before")
        assert set(twin.limits.values()) == {(None, None)}


async def test_limits_are_asked_for_in_a_form_and_shown_before_and_after() -> None:
    twin = small()
    async with running(twin) as desk:
        await open_queue(desk, "emails")
        await desk.press("c")
        await desk.until("LIMITS OF emails")
        await typed(desk, "x")
        await desk.press("ctrl+x")
        await desk.until("'x' is no whole number")
        await desk.press("ctrl+u")
        await typed(desk, "5")
        await desk.press("tab")
        await typed(desk, "2.5")
        text = await agreed(desk, "ctrl+x", "Set the limits of emails?", "limits of emails set")
        assert "none → 5" in text
        assert twin.limits["emails"] == (5, 2.5)


async def test_the_slots_of_a_worker_are_typed() -> None:
    twin = small()
    async with running(twin) as desk:
        await desk.press("7")
        await desk.until("host-a:11")
        await desk.press("G", "c")
        await desk.until("slots:")
        await desk.press("ctrl+u")
        await typed(desk, "3")
        await desk.until("runs up to 3 jobs at a time")
        await desk.press("enter")
        await desk.until("has 3 slots")
        assert 3 in {row.concurrency for row in twin.crew.values()}


async def test_a_job_is_enqueued_from_its_queue() -> None:
    twin = small()
    async with running(twin) as desk:
        await open_queue(desk, "emails")
        await desk.press("enter")
        await desk.until("PENDING 10")
        await desk.press("n")
        await desk.until("NEW JOB IN emails")
        await desk.press("tab")
        await typed(desk, '{"to":1}')
        await agreed(desk, "ctrl+x", "Enqueue send_invoice in emails?", "enqueued send_invoice")
        (made,) = [job for job in twin.of("pending", "emails") if job.args == '{"to":1}']
        assert made.task == "send_invoice"


async def test_the_payload_of_one_dead_job_is_fixed_and_it_runs_again() -> None:
    twin = small()
    async with running(twin) as desk:
        await desk.press("6")
        await desk.until("KeyError")
        await desk.press("enter")
        await desk.until("> ")
        view = desk.app.view_now()
        assert view is not None
        row = view.jobs.current  # type: ignore[attr-defined]
        await desk.press("enter")
        await desk.until(f"JOB {row.ref.id}")
        await desk.press("e")
        text = await desk.until("EDIT ")
        fields = [line for line in text.splitlines() if "set  " in line or "payload  " in line]
        assert "set" in fields[0]
        await desk.until('{"invoice"')
        await typed(desk, 'currency="EUR"')
        text = await agreed(desk, "ctrl+x", "Replace the payload of job", "it runs again")
        assert "and retry it?" in text
        assert "EUR" in text
        job = twin.records[row.ref.id]
        assert (job.state, "EUR" in job.args) == ("pending", True)


async def test_what_is_refused_opens_the_form_again() -> None:
    twin = small()
    async with running(twin) as desk:
        await open_queue(desk, "emails")
        await desk.press("enter")
        await desk.until("PENDING 10")
        await desk.press("tab", "tab", "e")
        await desk.until("EDIT ")
        await desk.until('{"invoice"')
        await desk.press("tab", "ctrl+u")
        await typed(desk, "5")
        await desk.press("ctrl+x")
        await desk.until("a payload is a JSON object")
        assert desk.app.sheet is not None
        assert all("invoice" in job.args for job in twin.of("pending", "emails"))


class Movable(Twin):
    """A twin that can move jobs in time, when they are frozen already."""

    async def move_in_time(
        self,
        what: Sequence[JobRef] | Selection,
        *,
        to: datetime | None = None,
        by: timedelta | None = None,
        dry_run: bool = False,
    ) -> Draft:
        """Move named jobs."""
        assert not isinstance(what, Selection)
        for ref in what:
            row = self.records[ref.id]
            assert row.due_at is not None
            due = to if by is None else row.due_at + by
            self.records[ref.id] = replace(row, due_at=due)
        return self._freeze("patch", what)[0]


async def test_a_delayed_job_is_moved_by_two_hours() -> None:
    twin = small()
    twin.__class__ = Movable
    async with running(twin) as desk:
        await desk.press("4")
        await desk.until("SCHEDULED 5")
        view = desk.app.view_now()
        assert view is not None
        row = view.jobs.current  # type: ignore[attr-defined]
        await desk.press("m")
        await desk.until("+2h, -30m")
        await typed(desk, "+2h")
        await desk.until("due 03:13 → 05:13 UTC")
        await desk.press("enter")
        await desk.until("moved 1 job: due 03:13 → 05:13 UTC")
        assert twin.records[row.ref.id].due_at == START + timedelta(hours=2, minutes=1)


async def test_a_new_job_like_another_is_a_command() -> None:
    twin = small()
    async with running(twin) as desk:
        await desk.press("6", "enter")
        await desk.until("> ")
        before = len(twin.of("pending"))
        await desk.press("colon")
        await typed(desk, "again")
        await desk.press("enter")
        await desk.until("Enqueue a new job like")
        await desk.say_yes()
        await desk.until("enqueued ")
        assert len(twin.of("pending")) == before + 1


async def test_the_view_of_acts_lists_them_and_takes_those_of_others_back() -> None:
    twin = small()
    await twin.set_limits("emails", 4, None)
    twin.acts[0] = replace(twin.acts[0], actor="bob@there")
    async with running(twin) as desk:
        await desk.press("9")
        text = await desk.until("queue emails")
        assert "bob@there" in text
        text = await agreed(desk, "u", "Undo limits of queue emails?", "by ana@here")
        assert "it is the act of somebody else" in text
        assert twin.limits["emails"] == (None, None)
        await desk.until("undo limits")


async def test_a_running_operation_is_aborted_from_its_view() -> None:
    twin = small()
    async with running(twin) as desk:
        draft = await twin.retry(Selection("dead"))
        await twin.start(draft)
        await desk.press("9")
        await desk.until("1 running")
        await desk.press("tab", "x")
        await desk.until("Abort retry of 30 jobs")
        await desk.say_yes()
        await desk.until("aborted")


async def test_a_read_only_console_refuses_these_acts() -> None:
    twin = small()
    async with running(twin, read_only=True) as desk:
        await open_queue(desk, "emails")
        for key, name in (("D", "clear"), ("c", "limits"), ("u", "undo")):
            await desk.press(key)
            await desk.until(f"{name} refused: this console is read-only")
            assert desk.app.sheet is None
