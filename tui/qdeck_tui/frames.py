"""When a screen is painted: at once while little happens, and so many times a second at most where
much does.

Textual paints by a clock of its own, so that what a key or a reading changes waits for the next
tick, and it holds back 50 ms where a view changes. This reads private parts of Textual 8, as does
`delta`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from textual import constants
from textual.app import App
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

__all__ = ["EagerApp", "EagerScreen", "Frames"]

# Frames that may follow each other at once: those of a key, of its reading, and one each to spare.
BURST = 4


class Frames:
    """Calls `paint` soon after it was asked for, once for all that ask until then.

    `rate` is how many frames a second there may be after the first few.
    """

    def __init__(self, paint: Callable[[], None], rate: float = constants.MAX_FPS) -> None:
        self._paint = paint
        self._rate = rate
        self._saved = float(BURST)
        self._counted_at = monotonic()
        self._due: asyncio.TimerHandle | None = None

    def resume(self) -> None:
        """Paint as soon as that may be; what is asked for until then comes with it."""
        if self._due is not None:
            return
        now = monotonic()
        self._saved = min(BURST, self._saved + (now - self._counted_at) * self._rate)
        self._counted_at = now
        wait = max(0.0, (1.0 - self._saved) / self._rate)
        self._due = asyncio.get_running_loop().call_later(wait, self._fire)

    def pause(self) -> None:
        """Know that everything is painted."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _fire(self) -> None:
        self._due = None
        self._saved -= 1.0
        self._paint()


class EagerScreen(Screen[None]):
    """A screen that paints by `Frames`, once `arranged` says that its widgets have their places."""

    def __init__(self) -> None:
        super().__init__()
        self._frames = Frames(self._paint)
        self._laying_out = False
        self._arranged = False

    def arranged(self) -> None:
        """Be painted from now on."""
        self._arranged = True
        self.refresh(layout=True)

    @property
    def _update_timer(self) -> Any:
        """What Textual asks for a frame."""
        return self._frames

    def _paint(self) -> None:
        if not self.is_running:
            return
        try:
            self._on_timer_update()
        except Exception as error:
            self.app._handle_exception(error)

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        self._laying_out = True
        try:
            super()._refresh_layout(size, scroll)
        finally:
            self._laying_out = False

    def _compositor_refresh(self) -> None:
        """Draw what changed, unless nobody may see it yet or all is to be drawn in a moment."""
        early = not self._arranged or self.app._batch_count
        if not early and not (self._laying_out and self._repaint_required):
            super()._compositor_refresh()

    def _extend_compose(self, widgets: list[Widget]) -> None:
        """Add no toasts and no tooltips: there are none."""


class EagerApp(App[None]):
    """An app that holds no frame back when the screen changes: each shows itself when it can."""

    def delay_update(self, delay: float = 0.0) -> None:
        """Delay nothing."""
