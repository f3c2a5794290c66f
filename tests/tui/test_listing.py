"""The one table: cursor and marks stay on their ids, rows hold still under a moving cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from textual.app import App, ComposeResult

from qdeck_tui.palette import Palette
from qdeck_tui.widgets.listing import Listing
from qdeck_tui.widgets.table import HOLD, SEEKS, Column


@dataclass(frozen=True)
class Thing:
    """A row."""

    name: str
    size: int


COLUMNS: list[Column[Thing]] = [
    Column("NAME", 8, lambda t: t.name, flex=True, keep=9, sort=lambda t: t.name, falling=False),
    Column("SIZE", 6, lambda t: str(t.size), True, keep=1, sort=lambda t: t.size),
]


class Stage(App[None]):
    """Shows one table."""

    ascii = plain = False
    palette = Palette(None, colour=False)

    def __init__(self, table: Listing[Thing]) -> None:
        super().__init__()
        self.table = table

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield self.table


@asynccontextmanager
async def shown(
    *, whole: bool = True, size: tuple[int, int] = (40, 12)
) -> AsyncIterator[Listing[Thing]]:
    """Show a table of things."""
    table: Listing[Thing] = Listing(
        "THINGS", COLUMNS, lambda t: t.name, whole=whole, match=lambda t: t.name,
        worst=lambda t: float(t.size),
    )  # fmt: skip
    async with Stage(table).run_test(size=size) as pilot:
        await pilot.pause()
        yield table


def things(*names: str) -> list[Thing]:
    """Return things, the first the largest."""
    return [Thing(name, 100 - at) for at, name in enumerate(names)]


async def test_the_cursor_follows_its_row_to_another_place() -> None:
    async with shown() as table:
        table.show(things("a", "b", "c"))
        table.go(1)
        table._moved_at -= HOLD
        table.show(things("x", "y", "c", "b"))
        assert table.current_id() == "b"
        assert table.cursor == 3


async def test_rows_do_not_change_places_within_two_seconds_of_a_move() -> None:
    async with shown() as table:
        table.show(things("a", "b", "c"))
        table.go(2)
        table.show(things("c", "new", "b", "a"))
        assert [thing.name for thing in table.rows] == ["a", "b", "c", "new"]
        table._moved_at -= HOLD
        table.show(things("c", "new", "b", "a"))
        assert [thing.name for thing in table.rows] == ["c", "new", "b", "a"]
        assert table.current_id() == "c"


async def test_a_row_that_goes_leaves_the_cursor_where_it_was() -> None:
    async with shown() as table:
        table.show(things("a", "b", "c"))
        table.go(1)
        table.show(things("a", "c"))
        assert table.cursor == 1
        assert table.current_id() == "c"


async def test_a_window_moves_with_the_rows_that_arrive_before_it() -> None:
    async with shown(whole=False) as table:
        table.show(things(*(f"n{at}" for at in range(30))), offset=0, total=1000)
        table.go(5)
        table.show(things("x1", "x2", *(f"n{at}" for at in range(28))), offset=0, total=1002)
        assert table.current_id() == "n5"
        assert table.cursor == 7


@pytest.mark.parametrize("arrived", [200, 5000])
async def test_the_cursor_stays_on_its_row_though_more_arrive_than_a_window_holds(
    arrived: int,
) -> None:
    everything = [f"n{at}" for at in range(1000)]
    async with shown(whole=False) as table:

        def read() -> None:
            window = table.window()
            part = everything[window.offset : window.offset + window.limit]
            table.show(things(*part), offset=window.offset, total=len(everything))

        read()
        table.go(5)
        line = table.cursor_line
        everything[:0] = [f"x{at}" for at in range(arrived)]
        for _ in range(SEEKS):
            read()
            assert (table.current_id(), table.cursor_line) == ("n5", line)
        assert table.cursor == arrived + 5
        del everything[arrived + 5]
        read()
        assert table.current_id() == "n6"


async def test_rows_that_are_not_loaded_are_asked_for() -> None:
    async with shown(whole=False) as table:
        table.show(things(*(f"n{at}" for at in range(30))), offset=0, total=1_000_000)
        table.do_bottom()
        window = table.window()
        assert table.current is None
        assert window.offset <= 999_999 < window.offset + window.limit
        assert window.limit <= 600


async def test_marks_stay_on_their_ids_and_hidden_ones_are_counted() -> None:
    async with shown() as table:
        table.show(things("apple", "berry", "cherry"))
        table.do_mark()
        table.do_mark()
        table.set_filter("cherry")
        assert set(table.marks) == {"apple", "berry"}
        assert table.hidden_marks() == 2
        assert "2 not shown" in table.marked_words()


async def test_all_of_a_window_is_marked_at_once_and_unmarked_again() -> None:
    async with shown(whole=False) as table:
        table.show(things("a", "b"), offset=0, total=48_210)
        table.do_mark_all()
        assert table.everything
        assert "48,210" in table.marked_words()
        table.do_mark_all()
        assert not table.marked


async def test_sorting_goes_through_the_columns_and_back() -> None:
    async with shown() as table:
        table.show([Thing("b", 1), Thing("a", 3), Thing("c", 2)])
        assert [t.name for t in table.rows] == ["a", "c", "b"]
        table.do_sort()
        assert table.order_name == "name"
        assert [t.name for t in table.rows] == ["a", "b", "c"]
        table.do_unsort()
        assert [t.name for t in table.rows] == ["c", "b", "a"]


async def test_columns_go_in_order_when_there_is_too_little_room() -> None:
    async with shown(size=(14, 6)) as table:
        table.show(things("abc"))
        line = "".join(text for text, _ in table._shown[1])
        assert "NAME" in line
        assert "SIZE" not in line


async def test_only_the_lines_that_changed_are_painted() -> None:
    async with shown() as table:
        table.show(things(*"abcdefgh"))
        await table.app._animator.wait_for_idle()
        before = list(table._shown)
        table.do_down()
        after = list(table._shown)
        changed = [
            at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new
        ]
        assert changed == [2, 3]


async def test_a_preselected_row_is_the_first_until_the_operator_moves() -> None:
    async with shown() as table:
        table.preselect = True
        table.show(things("a", "b"))
        table.show(things("worse", "a", "b"))
        assert table.current_id() == "worse"
        table.go(1)
        table._moved_at -= HOLD
        table.show(things("worst", "worse", "a", "b"))
        assert table.current_id() == "a"
