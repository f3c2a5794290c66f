"""What all views share: the lines around them, their panes, and what they tell the app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.widget import Widget

from qdeck.admin import Failure, Target
from qdeck_tui.actions import Subject
from qdeck_tui.desk import Console
from qdeck_tui.frames import EagerScreen
from qdeck_tui.widgets.chrome import Footer, Header, Status, Tabs, TooSmall
from qdeck_tui.widgets.listing import Listing
from qdeck_tui.widgets.overlay import Overlay
from qdeck_tui.widgets.pane import Pane, TextPane
from qdeck_tui.widgets.table import Table

if TYPE_CHECKING:
    from qdeck_tui.poller import LogRead, Read

__all__ = ["View", "take"]

Parts = Mapping[str, object]
# Seconds without a further move, after which it is read what belongs to the row under the cursor.
REST = 0.1


class View(EagerScreen):
    """A screen with a header, tabs, panes, a status line and a footer. Keys come from the app, not
    from focus.
    """

    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    View { layers: base over; overflow: hidden; }
    .side { height: 1fr; }
    """
    view_id: ClassVar[str] = ""

    def __init__(self, crumb: str) -> None:
        super().__init__()
        self.crumb = crumb
        self.trail: tuple[str, ...] = ()
        self.header = Header()
        self.tabs = Tabs()
        self.status = Status()
        self.footer = Footer()
        self.overlay = Overlay()
        self.too_small = TooSmall()
        self.panes: list[Pane] = []
        self.at = 0
        self.zoomed = False
        self._rest: asyncio.TimerHandle | None = None

    @property
    def desk(self) -> Console:
        """The app, as far as a view may know it."""
        return cast("Console", self.app)

    # What a view says of itself

    def body(self) -> Iterable[Widget]:
        """Return the widgets between the tabs and the status line."""
        return self.panes

    def parts(self) -> Mapping[str, Read]:
        """Return what is to be read for this view, by name."""
        return {}

    def show(self, parts: Parts) -> None:
        """Take what was read."""

    def show_log(self, read: LogRead) -> None:
        """Take lines of the log that this view follows."""

    def summary(self) -> str:
        """Return a few words for the end of the breadcrumbs."""
        return ""

    def fit_panes(self, width: int, height: int) -> None:
        """Give the panes their room for a size."""

    # Its panes

    @property
    def pane(self) -> Pane | None:
        """The pane that the keys go to."""
        return self.panes[self.at] if self.panes else None

    @property
    def awaiting(self) -> bool:
        """Whether the rows that keys are about have not come yet."""
        pane = self.pane
        return isinstance(pane, Table) and not pane.loaded and pane.trouble is None

    def reachable_panes(self) -> list[int]:
        """Return the places of the panes that can be gone to."""
        return [at for at, pane in enumerate(self.panes) if pane.reachable and pane.wanted]

    def go_pane(self, step: int) -> None:
        """Make another pane the active one."""
        places = self.reachable_panes()
        if len(places) < 2:
            return
        here = places.index(self.at) if self.at in places else 0
        self.activate(places[(here + step) % len(places)])

    def activate(self, at: int) -> None:
        """Make a pane the active one."""
        for place, pane in enumerate(self.panes):
            pane.active = place == at
        self.at = at
        if self.zoomed:
            self._zoom()
        for pane in self.panes:
            pane.redraw()
        self.desk.changed()

    def do_zoom_in(self) -> None:
        """Show only the active pane."""
        self.zoomed = True
        self._zoom()

    def do_zoom_out(self) -> None:
        """Show all panes."""
        self.zoomed = False
        self._zoom()

    def _zoom(self) -> None:
        self.fit_panes(*self.app.size)
        chosen = self.pane if self.zoomed else None
        around = [] if chosen is None else [each for each in chosen.ancestors if each in self.boxes]
        for box in self.boxes:
            box.display = chosen is None or box in around
        for pane in self.panes:
            pane.display = pane is chosen if self.zoomed else pane.wanted
        for each in (*around, *([chosen] if chosen is not None else [])):
            each.styles.width, each.styles.height = "100%", "1fr"

    @property
    def boxes(self) -> list[Widget]:
        """The containers that panes stand in, each once."""
        around = (each for pane in self.panes for each in pane.ancestors)
        known = (each for each in around if isinstance(each, Widget))
        return list(dict.fromkeys(each for each in known if each.parent not in (None, self.app)))

    # What verbs act on

    def subject(self) -> Subject | None:
        """Return what a verb would act on: the marks of the active list, else the row under its
        cursor.
        """
        pane = self.pane
        if not isinstance(pane, Table):
            return None
        if isinstance(pane, Listing) and pane.marks:
            targets = tuple(cast("Target", row) for row in pane.marks.values())
            return Subject(targets, scope="marked", hidden=pane.hidden_marks())
        current = pane.current
        return None if current is None else Subject((cast("Target", current),))

    # Textual

    def compose(self) -> ComposeResult:
        """Yield the lines and the panes."""
        yield self.header
        yield self.tabs
        yield from self.body()
        yield self.status
        yield self.footer
        yield self.overlay
        yield self.too_small

    def on_mount(self) -> None:
        """Arrange the panes and make the first one active."""
        self.fit_panes(*self.app.size)
        self.show_too_small(self.desk.too_small)
        places = self.reachable_panes()
        if places and self.at not in places:
            self.at = places[0]
        for place, pane in enumerate(self.panes):
            pane.active = place == self.at
        self.arranged()

    def on_resize(self) -> None:
        """Arrange the panes for the new size."""
        self.fit_panes(*self.app.size)
        if self.zoomed:
            self._zoom()
        self.overlay.place()
        self.desk.changed()

    def show_too_small(self, small: bool) -> None:
        """Cover everything with a sentence, or uncover it."""
        self.too_small.display = small
        self.too_small.redraw()

    def forget(self) -> None:
        """Forget what was read, and look as on the first visit."""
        for pane in self.panes:
            pane.trouble = None
            if isinstance(pane, Table):
                pane.clear()
                pane.needle = ""
                pane.note = ""
                pane.redraw()
            elif isinstance(pane, TextPane):
                pane.show([])

    def redraw_all(self, forget: bool = False) -> None:
        """Draw everything again; with `forget` every line is written."""
        for widget in (self.header, self.tabs, *self.panes, self.status, self.footer, self.overlay):
            if forget:
                widget.forget()
            else:
                widget.redraw()

    def on_table_moved(self) -> None:
        """Let the footer follow the cursor."""
        self.moved()
        self.desk.changed()

    def on_table_wanted(self) -> None:
        """Read the rows that came into sight."""
        self.desk.poll()

    def on_table_opened(self) -> None:
        """Open the row that was clicked."""
        opener = getattr(self, "do_open", None)
        if opener is not None:
            opener()

    def moved(self) -> None:
        """Know that a cursor moved or marks changed."""

    def poll_at_rest(self) -> None:
        """Read again once the cursor stays where it is."""
        if self._rest is not None:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(REST, self.desk.poll)


def take(pane: Pane, value: object) -> bool:
    """Return whether a part was read; when not, the pane says why and keeps what it has."""
    if isinstance(value, Failure):
        pane.trouble = value.reason
        pane.redraw()
        return False
    pane.trouble = None
    return True
