"""Keys that are typed before the rows that they are about."""

from __future__ import annotations

from tests.tui.stage import Desk, running
from tests.tui.stock import filled
from tests.tui.twin import Twin

from qdeck_tui import typeahead


async def slow(desk: Desk, seconds: float = 0.4) -> None:
    """Let every reading take a while from now on."""
    await desk.until("live")
    desk.twin.pause_s = seconds


async def test_a_view_and_enter_in_one_packet_open_its_first_row() -> None:
    twin = filled()
    async with running(twin) as desk:
        await slow(desk)
        desk.burst("3\r")
        await desk.until("Running > F3000293")


async def test_keys_wait_through_two_views() -> None:
    async with running(filled()) as desk:
        await slow(desk)
        desk.burst("6\r\r")
        await desk.until("follow ON")
        assert desk.app.depth == 2


async def test_what_is_typed_after_a_waiting_key_waits_too_and_answers_nothing() -> None:
    twin = filled()
    async with running(twin) as desk:
        await slow(desk, 0.2)
        desk.burst("6jry")
        await desk.until("Retry 83 dead jobs of send_invoice in emails")
        await desk.until("typed too early")
        assert not twin.started


async def test_a_reversible_key_that_was_pasted_stays_a_pasted_one() -> None:
    twin = filled()
    async with running(twin) as desk:
        await slow(desk, 0.3)
        desk.burst("7Q")
        await desk.until("dropped: it came within 50 ms")
        assert "quiet" not in twin.calls


async def test_escape_forgets_what_waits() -> None:
    twin = filled()
    async with running(twin) as desk:
        await slow(desk, 2.0)
        desk.burst("3\r")
        await desk.until("1 key typed ahead")
        await desk.press("escape")
        await desk.until("typed ahead dropped")
        twin.pause_s = 0.0
        await desk.until("build_report")
        assert desk.app.depth == 0


async def test_keys_wait_three_seconds_at_most() -> None:
    twin = filled()
    async with running(twin) as desk:
        await slow(desk, 6.0)
        desk.burst("3\rx")
        await desk.until("2 keys dropped: the rows did not come within 3 s")
        twin.pause_s = 0.0
        await desk.until("build_report")
        assert desk.app.depth == 0
        assert desk.app.sheet is None


async def test_a_filter_that_is_typed_ahead_decides_what_the_next_key_is_about() -> None:
    twin = filled()
    async with running(twin) as desk:
        await slow(desk, 0.3)
        desk.burst("2/rep\r\r")
        await desk.until("Queues > reports")


def test_only_so_many_keys_wait() -> None:
    held = typeahead.TypeAhead()
    taken = [held.add(typeahead.Held("j", "j", False)) for _ in range(100)]
    assert sum(taken) == len(held) == typeahead.MOST
    assert held.next() is not None
    assert held.drop() == typeahead.MOST - 1
    assert held.next() is None


async def test_where_the_rows_cannot_be_read_keys_do_not_wait() -> None:
    twin: Twin = filled()
    twin.failing.add("running")
    async with running(twin) as desk:
        await desk.press("3")
        await desk.until("running is broken here")
        desk.burst("\r")
        await desk.press("1")
        await desk.until("VERDICT")
        assert not desk.app.ahead
