"""The live log keeps a ring of lines, paints seldom, and holds still once the operator moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from textual.app import App, ComposeResult

from qdeck.admin import LogLine
from qdeck_tui.palette import Palette
from qdeck_tui.widgets.logpane import KEPT, KEPT_TEXT, SLACK, LogPane

START = datetime(2026, 11, 21, 3, 12, tzinfo=UTC)


def lines(first: int, number: int, level: str = "info") -> list[LogLine]:
    """Return numbered lines."""
    return [
        LogLine(str(at), START + timedelta(seconds=at), level, 1, f"line {at}")
        for at in range(first, first + number)
    ]


class Stage(App[None]):
    """Shows one log."""

    ascii = plain = False
    palette = Palette(None, colour=False)

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.pane = LogPane("LOG", say=lambda text, style: self.said.append(text))

    def compose(self) -> ComposeResult:
        """Yield the log."""
        yield self.pane


@asynccontextmanager
async def shown() -> AsyncIterator[LogPane]:
    """Show an empty log."""
    app = Stage()
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        yield app.pane


def seen(pane: LogPane) -> list[str]:
    """Return the texts on screen."""
    pane.redraw()
    return ["".join(text for text, _ in line)[22:].strip() for line in pane._shown[1:]]


async def test_the_end_is_followed() -> None:
    async with shown() as pane:
        pane.add(lines(0, 100))
        assert seen(pane)[-1] == "line 99"


async def test_a_ring_of_lines_is_kept_and_what_is_on_screen_stays() -> None:
    async with shown() as pane:
        pane.add(lines(0, KEPT + SLACK))
        pane.do_page_up()
        before = seen(pane)
        pane.add(lines(KEPT + SLACK, 500))
        assert seen(pane) == before
        assert len(pane.words().splitlines()) == KEPT
        assert pane.dropped == SLACK + 500
        assert pane._state().endswith("  20,000 lines  2,500 older dropped")


async def test_many_lines_at_once_are_painted_a_few_times() -> None:
    async with shown() as pane:
        pane.add(lines(0, 10))
        painted = pane.painted
        for at in range(50):
            pane.add(lines(10 + at * 100, 100))
        assert pane.painted <= painted + 2 * pane.size.height


async def test_a_level_hides_the_lines_below_it() -> None:
    async with shown() as pane:
        pane.add([*lines(0, 5), *lines(5, 2, "error")])
        for _ in range(3):
            pane.do_level()
        assert [text for text in seen(pane) if text] == ["line 5", "line 6"]


async def test_errors_are_found_in_both_directions() -> None:
    async with shown() as pane:
        pane.add([*lines(0, 50), *lines(50, 1, "error"), *lines(51, 50)])
        pane.do_top()
        pane.do_error_next()
        assert "line 50" in seen(pane)
        pane.do_bottom()
        seen(pane)
        pane.do_error_back()
        assert "line 50" in seen(pane)


async def test_long_lines_are_cut_or_wrapped() -> None:
    async with shown() as pane:
        pane.add([LogLine("1", START, "info", 1, "x" * 100_000)])
        assert seen(pane)[0].endswith("…")
        pane.do_wrap()
        assert seen(pane)[1].startswith("x")


async def test_long_lines_are_kept_by_their_size() -> None:
    async with shown() as pane:
        for at in range(300):
            pane.add([LogLine(str(at), START, "info", 1, f"line {at} " + "x" * 100_000)])
        assert sum(len(line.text) for line in pane._lines) <= KEPT_TEXT
        assert pane.dropped > 100
        assert pane._lines[-1].text.startswith("line 299 ")
        pane.restart()
        pane.add(lines(0, 3))
        assert pane.words().count("\n") == 3


async def test_what_is_saved_is_all_that_the_window_has() -> None:
    async with shown() as pane:
        for at in range(0, 30_000, 500):
            pane.add(lines(at, 500, "debug" if at % 1000 else "error"))
        pane.do_level()
        pane.search("line 29")
        saved = pane.words().splitlines()
        assert len(saved) == len(pane._lines) == 30_000 - pane.dropped
        assert [text.rpartition(" ")[2] for text in saved] == [
            str(at) for at in range(pane.dropped, 30_000)
        ]


async def test_what_the_server_trimmed_unread_is_said_in_the_window_and_in_the_file() -> None:
    async with shown() as pane:
        pane.add(lines(0, 3))
        pane.add(lines(1_503, 2), 1_500)
        said = "1,500 lines were trimmed by the server"
        texts = ["line 0", "line 1", "line 2", said, "line 1503", "line 1504"]
        assert [text for text in seen(pane) if text] == texts
        saved = pane.words().splitlines()
        assert [line.partition("#1 ")[2] for line in saved] == texts
        assert "WARNING" in saved[3]


async def test_a_search_looks_through_everything_kept() -> None:
    async with shown() as pane:
        pane.add(lines(0, 15_000))
        pane.search("line 14321")
        assert "line 14321" in seen(pane)
        pane.search("line 7")
        pane.do_top()
        pane.do_find_next()
        assert "line 7" in seen(pane)
