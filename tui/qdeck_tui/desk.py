"""What views and sheets may ask of the app: the one door upwards, as a protocol."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from textual.geometry import Size
    from textual.screen import Screen

    from qdeck.admin import Admin, JobRef, Snapshot
    from qdeck_tui.local import StartRequest, Supervisor
    from qdeck_tui.options import Options
    from qdeck_tui.widgets.overlay import Sheet

__all__ = ["Console"]


class Console(Protocol):
    """What a view may ask of the app."""

    options: Options
    zone: tzinfo
    supervisor: Supervisor | None
    last_start: StartRequest | None
    too_small: bool

    @property
    def size(self) -> Size:
        """The cells and rows of the screen."""
        ...

    @property
    def now(self) -> datetime:
        """The server's clock."""
        ...

    @property
    def admin(self) -> Admin | None:
        """The door, for what is allowed and who acts; views never read through it."""
        ...

    @property
    def snapshot(self) -> Snapshot | None:
        """The last one that was read."""
        ...

    @property
    def refusal(self) -> str:
        """Why this console writes nothing now, empty when it does."""
        ...

    def say(self, text: str, style: str = "") -> None:
        """Show a sentence in the status line."""
        ...

    def visit(self, view: Screen[None]) -> None:
        """Open a view on top of this one."""
        ...

    def visit_job(self, ref: JobRef) -> None:
        """Open the detail of a job."""
        ...

    def leave(self) -> None:
        """Go back to the view below."""
        ...

    def poll(self) -> None:
        """Read again now, with what the view wants now."""
        ...

    def follow(self, ref: JobRef | None) -> None:
        """Follow the log of a job, or of none."""
        ...

    def ask(
        self,
        prefix: str,
        text: str,
        changed: Callable[[str], None],
        done: Callable[[str], None],
        cancelled: Callable[[], None],
        complete: Callable[[str], str] | None = None,
    ) -> None:
        """Type one line at the bottom of the screen; `complete` is what Tab makes of it."""
        ...

    def open_sheet(self, sheet: Sheet) -> None:
        """Lay a sheet over the view."""
        ...

    def close_sheet(self) -> None:
        """Take the sheet away."""
        ...

    def update_sheet(self) -> None:
        """Draw the sheet again."""
        ...

    def scroll_sheet(self, by: int) -> None:
        """Scroll the sheet."""
        ...

    def copy(self, label: str, text: str) -> None:
        """Send text to the clipboard, and show it."""
        ...

    def changed(self) -> None:
        """Draw the footer and the tabs again."""
        ...

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Call something after a delay."""
        ...

    def begin_work(self, work: Any, failed: str) -> None:
        """Run a coroutine beside the screen; an error is said, beginning with `failed`."""
        ...
