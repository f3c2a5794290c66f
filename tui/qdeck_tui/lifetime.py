"""The part of the app that lives and dies with its terminal.

It turns signals and crashes into an orderly exit: modes off, one plain report without local
variables, an exit code that says what happened. It draws nothing and reads no key.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from rich.console import Console
from textual.app import App, _PrintCapture
from textual.color import Color
from textual.filter import Monochrome, NoColor

from qdeck_tui.colourless import Colourless
from qdeck_tui.driver import ConsoleDriver
from qdeck_tui.terminal import Terminal

__all__ = ["TerminalMixin"]

# Signals that end the console, and how long an orderly end may take before it is cut short.
ENDING = (signal.SIGTERM, signal.SIGHUP)
PATIENCE = 8.0
SECRET = re.compile(r"(?<=://)[^/@\s'\"]*@")


class Printed(_PrintCapture):
    """What Python code prints. It has the descriptor that multiprocessing hands to its children."""

    def fileno(self) -> int:
        """Return the standard descriptor, which is not the terminal while that is taken."""
        return 2 if self.stderr else 1


class TerminalMixin(App[None]):
    """An app on a taken terminal. `terminal` None (in tests) leaves everything to Textual.

    `on_ending` is called once, from any thread, when the program is told to end: it may begin to
    give back what it holds. `farewell` is what to print after the terminal has been given back.
    """

    terminal: Terminal | None = None
    show_cursor = False
    on_ending: Callable[[], None] | None = None

    def __init__(self, *arguments: Any, terminal: Terminal | None = None, **options: Any) -> None:
        self.terminal = terminal
        self.farewell: list[str] = []
        self._ending: int | None = None
        self._ended = threading.Event()
        if terminal is not None:
            options["driver_class"] = ConsoleDriver
        super().__init__(*arguments, **options)
        self._capture_stdout = Printed(self, stderr=False)
        self._capture_stderr = Printed(self, stderr=True)
        if self.no_color:
            self.remove_colour()

    def forget_frame(self) -> None:
        """Forget what the terminal shows; `DeltaMixin`, which stands before, does it."""

    def repaint(self) -> None:
        """Paint everything again."""
        self.forget_frame()
        if self._running and self._screen_stack:
            self.screen.refresh()

    def remove_colour(self) -> None:
        """Write no colour at all from now on."""
        kept = [each for each in self._filters if not isinstance(each, Monochrome | NoColor)]
        if not any(isinstance(each, Colourless) for each in kept):
            kept.append(Colourless())
        self._filters[:] = kept

    @property
    def mouse_enabled(self) -> bool:
        """Whether the terminal reports clicks."""
        return self._driver is not None and self._driver._mouse

    def set_mouse(self, enabled: bool) -> None:
        """Switch reports of clicks on or off; off, the terminal selects text by itself."""
        if isinstance(self._driver, ConsoleDriver):
            self._driver.set_mouse(enabled)

    def write_to_terminal(self, data: str) -> None:
        """Send a sequence to the terminal that paints nothing."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(data)
            self._driver.flush()

    @contextlib.contextmanager
    def lend(self) -> Iterator[tuple[int, int, int]]:
        """Leave the terminal to another program, and paint everything again after it.

        Raises OSError where there is no terminal to lend.
        """
        if not isinstance(self._driver, ConsoleDriver):
            raise OSError("there is no terminal here to run an editor on")
        with self._driver.lend() as streams:
            yield streams

    @property
    def ending(self) -> bool:
        """Whether the program has been told to end."""
        return self._ending is not None or self._exit

    def _watch_theme(self, theme_name: str) -> None:
        """Tell the filter without colours what the screen's own background is."""
        super()._watch_theme(theme_name)
        for each in self._filters:
            if isinstance(each, Colourless):
                each.screen = Color.parse(self.theme_variables.get("background", "#000000"))

    # The end

    async def run_async(self, **options: Any) -> None:
        """Run with the signals that end the console turned into an orderly exit."""
        if self.terminal is None:
            await super().run_async(**options)
            return
        before = {number: signal.signal(number, self._on_signal) for number in ENDING}
        try:
            await super().run_async(**options)
        finally:
            self._ended.set()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """End in order; a second SIGTERM ends at once.

        A terminal that goes away sends SIGHUP, often twice, and an end of file; all that is one.
        """
        if self._ending is not None and number == signal.SIGTERM:
            self._end_now(128 + number)
        self.end_from_thread(128 + number)

    def end_from_thread(self, code: int) -> None:
        """End the program with an exit code, from any thread; after 8 s without mercy."""
        if self._ending is not None:
            return
        self._ending = code
        threading.Thread(target=self._begin_ending, args=(code,), daemon=True).start()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._exit_with, code)

    def _begin_ending(self, code: int) -> None:
        """Let what is held be given back at once, and watch that the exit does not hang."""
        if self.on_ending is not None:
            self.on_ending()
        if not self._ended.wait(PATIENCE):
            self._end_now(code)

    def _exit_with(self, code: int) -> None:
        self.exit(return_code=code)

    def _end_now(self, code: int) -> None:
        """Restore the terminal and end without asking anything that may hang."""
        if self.terminal is not None:
            self.terminal.restore()
        os._exit(code)

    # Reports

    def _fatal_error(self) -> None:
        """End after an unhandled exception with its traceback, without any local variable."""
        self.farewell.append(SECRET.sub("***@", traceback.format_exc()))
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        """Keep what Textual would print until the terminal has been given back."""
        if self.terminal is None:
            super()._print_error_renderables()
            return
        for renderable in self._exit_renderables:
            console = Console(file=io.StringIO(), color_system=None, width=100)
            with console.capture() as capture:
                console.print(renderable)
            self.farewell.append(SECRET.sub("***@", capture.get()))
        self._exit_renderables.clear()

    def _print(self, text: str, stderr: bool = False) -> None:
        """Send what Python code prints the way of everything else that is printed."""
        if self.terminal is None:
            super()._print(text, stderr)
            return
        with contextlib.suppress(OSError):
            os.write(2 if stderr else 1, text.encode("utf-8", "replace"))
