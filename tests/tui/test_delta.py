"""The delta writer against stock Textual: the same keys lead to the same cells on the terminal."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pyte
import pytest
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.driver import Driver
from textual.events import Resize
from textual.geometry import Size
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static

from qdeck_tui.delta import DeltaMixin

WIDTH, HEIGHT = 60, 18
WORDS = (
    "emails",
    "漢字かな交じり",
    "naïve café",
    "한국어 작업",
    "ﬁ ▁▂▅▇█",
    "x" * 70,
    "e\u0301te\u0301",
    "👍 ok",
    "ab漢",
)


class Terminal(Driver):
    """A driver that is a terminal: what the app writes lands on a pyte screen."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.stream = pyte.Stream(self.screen)
        self.written = 0

    def write(self, data: str) -> None:
        self.written += len(data)
        self.stream.feed(data)

    def start_application_mode(self) -> None:
        self.screen.reset_mode(7, private=True)
        self.tell_size(WIDTH, HEIGHT)

    def tell_size(self, width: int, height: int) -> None:
        self._size = (width, height)
        self.screen.resize(height, width)
        self.send_message(Resize(Size(width, height), Size(width, height)))

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...

    def cells(self) -> list[str]:
        """Return every row of the screen as text that also names the look of each cell."""
        buffer = self.screen.buffer
        return [
            "|".join(repr(tuple(buffer[y][x])) for x in range(self.screen.columns))
            for y in range(self.screen.lines)
        ]


class Question(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "Close")]
    DEFAULT_CSS = (
        "Question { align: center middle; } Question Label { border: round red; padding: 1; }"
    )

    def compose(self) -> ComposeResult:
        yield Label("本当に! really delete 12 jobs?")


class Stock(App[None]):
    """A screen with the things a console has: a list, a field, a line that changes, a dialog."""

    CSS = (
        "OptionList { height: 8; } #line { text-style: bold; color: yellow; } Input { width: 40; }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        ("ctrl+d", "ask", "Ask"),
        ("ctrl+t", "toast", "Toast"),
        ("ctrl+g", "line", "Line"),
    ]
    ENABLE_COMMAND_PALETTE = False
    count = 0

    def compose(self) -> ComposeResult:
        yield OptionList(*(Text(f"{n:3} {WORDS[n % len(WORDS)]}") for n in range(40)))
        yield Input(select_on_focus=False)
        yield Static(Text("first 漢字 line"), id="line")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    def action_ask(self) -> None:
        self.push_screen(Question())

    def action_toast(self) -> None:
        self.notify("gespeichert 保存", timeout=600)

    def action_line(self) -> None:
        self.count += 1
        self.query_one("#line", Static).update(
            Text(f"{WORDS[self.count % len(WORDS)]} {self.count} {WORDS[-self.count % len(WORDS)]}")
        )


class Delta(DeltaMixin, Stock):
    delta = True


KEYS = (
    *("down", "up", "pagedown", "pageup", "end", "home"),
    *("tab", "a", "漢", "left", "backspace", "ctrl+d", "escape", "ctrl+t", "ctrl+g", "ctrl+g"),
)
SIZES = ((60, 18), (44, 12), (80, 24), (61, 18))


def a_script(seed: int) -> list[str | tuple[int, int]]:
    """Return key names and now and then a new size."""
    chance = random.Random(seed)
    return [
        chance.choice(SIZES) if chance.random() < 0.08 else chance.choice(KEYS) for _ in range(30)
    ]


async def settled(app: App[None], pilot: Pilot[object]) -> None:
    """Wait until everything that was asked for is painted."""
    quiet = 0
    while quiet < 3:
        await pilot.pause(0.02)
        screen = app.screen
        waiting = (
            screen._layout_required
            or screen._repaint_required
            or screen._dirty_widgets
            or screen._compositor._dirty_regions
        )
        quiet = 0 if waiting else quiet + 1


async def played(
    kind: type[Stock], play: Callable[[Stock, Pilot[object], Terminal], Awaitable[None]]
) -> Terminal:
    """Run an app on a terminal of its own, play keys, and return the terminal."""
    app = kind(driver_class=Terminal)

    async def pilot_keys(pilot: Pilot[object]) -> None:
        terminal = app._driver
        assert isinstance(terminal, Terminal)
        await settled(app, pilot)
        await play(app, pilot, terminal)
        await settled(app, pilot)
        finished.append(terminal)
        app.exit()

    finished: list[Terminal] = []
    await app.run_async(auto_pilot=pilot_keys)
    return finished[0]


@pytest.mark.parametrize("seed", range(4))
async def test_any_keys_leave_the_same_cells_as_stock_textual_in_fewer_bytes(seed: int) -> None:
    async def play(app: Stock, pilot: Pilot[object], terminal: Terminal) -> None:
        for step in a_script(seed):
            if isinstance(step, tuple):
                terminal.tell_size(*step)
                await pilot.pause()
            else:
                await pilot.press(step)

    stock = await played(Stock, play)
    delta = await played(Delta, play)
    assert delta.cells() == stock.cells()
    assert delta.written < stock.written / 2


async def test_an_update_that_changes_nothing_writes_nothing() -> None:
    async def play(app: Stock, pilot: Pilot[object], terminal: Terminal) -> None:
        before = terminal.written
        app.screen.refresh()
        await settled(app, pilot)
        assert terminal.written == before

    await played(Delta, play)


async def test_a_forgotten_frame_is_written_whole() -> None:
    async def play(app: Stock, pilot: Pilot[object], terminal: Terminal) -> None:
        assert isinstance(app, Delta)
        whole = terminal.cells()
        terminal.screen.erase_in_display(2)
        app.forget_frame()
        app.screen.refresh()
        await settled(app, pilot)
        assert terminal.cells() == whole

    await played(Delta, play)


async def test_controls_in_text_never_reach_the_terminal() -> None:
    hostile = "a\x1b]52;c;eA==\x07b\x9b31mc\x1b[2Jd\r\ne\u202ef"
    seen: list[str] = []

    async def play(app: Stock, pilot: Pilot[object], terminal: Terminal) -> None:
        write = terminal.write

        def spy(data: str) -> None:
            seen.append(data)
            write(data)

        terminal.write = spy  # type: ignore[method-assign]  # a spy on the way to the terminal
        app.query_one("#line", Static).update(Text(hostile))
        await settled(app, pilot)

    await played(Delta, play)
    text = "".join(seen)
    assert "]52" in text
    assert not {"\x1b]", "\x07", "\x9b", "\x1b[2J", "\r", "\u202e"} & {
        bad for bad in ("\x1b]", "\x07", "\x9b", "\x1b[2J", "\r", "\u202e") if bad in text
    }


async def test_an_error_in_the_writer_leaves_the_frame_to_textual() -> None:
    async def play(app: Stock, pilot: Pilot[object], terminal: Terminal) -> None:
        assert isinstance(app, Delta)

        def broken(update: object) -> str:
            raise ValueError("broken")

        difference = app._difference
        app._difference = broken  # type: ignore[method-assign]  # the fault under test
        await pilot.press("down", "pagedown")
        await settled(app, pilot)
        app._difference = difference  # type: ignore[method-assign]  # and its end
        await pilot.press("down")

    async def keys(app: Stock, pilot: Pilot[object], terminal: Terminal) -> None:
        await pilot.press("down", "pagedown", "down")

    assert (await played(Delta, play)).cells() == (await played(Stock, keys)).cells()
