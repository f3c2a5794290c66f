"""The app wires: it owns poller, views and sheets, gives keys to whoever they are for, and knows no
view's content.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta, tzinfo
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ScreenStackError
from textual.screen import Screen

from qdeck.admin import Admin, Failure, JobRef, Snapshot, WorkerRow
from qdeck_tui.actions import ROWS, Row, conflicts, remap
from qdeck_tui.delta import DeltaMixin
from qdeck_tui.dispatch import Dispatch, Typing
from qdeck_tui.format import age, safe
from qdeck_tui.frames import EagerApp
from qdeck_tui.lifetime import TerminalMixin
from qdeck_tui.look import begin_theme
from qdeck_tui.palette import Palette
from qdeck_tui.poller import LogRead, Poller, Refreshed
from qdeck_tui.scout import FIRST
from qdeck_tui.screens.base import View
from qdeck_tui.screens.overview import OverviewView
from qdeck_tui.verbs import TOO_FAST, Verbs
from qdeck_tui.widgets.dialog import Dialog

if TYPE_CHECKING:
    from qdeck_tui.local import StartRequest, Supervisor
    from qdeck_tui.options import Options
    from qdeck_tui.poller import Read
    from qdeck_tui.profiles import Profile
    from qdeck_tui.scout import Scout
    from qdeck_tui.terminal import Terminal
    from qdeck_tui.widgets.overlay import Sheet

__all__ = ["Shell", "local_zone"]

SAID_FOR = 8.0
OpenProfile = Callable[["Profile"], Callable[[], Awaitable[Admin]]]


def _view(name: str) -> Callable[[], Screen[None]]:
    """Return what makes a root view; its module is imported on the first visit."""

    def make() -> Screen[None]:
        from qdeck_tui.screens import roots

        return roots.make(name)

    return make


class Shell(DeltaMixin, TerminalMixin, EagerApp):
    """Poller, views, sheets and keys, wired; `Commands` adds what the app carries out."""

    ENABLE_COMMAND_PALETTE = False
    # Dragging would mark text of ours; with :mouse the terminal selects by itself.
    ALLOW_SELECT = False
    DEFAULT_MODE = "overview"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "overview": OverviewView,
        **{
            name: _view(name)
            for name in ["queues", "running", "later", "cron", "dead", "workers", "redis", "ops"]
        },
    }
    CSS = "Screen { overflow: hidden; }"

    def __init__(
        self,
        open_admin: Callable[[], Awaitable[Admin]],
        *,
        supervisor: Supervisor | None = None,
        options: Options,
        open_profile: OpenProfile | None = None,
        terminal: Terminal | None = None,
        scout: Scout | None = None,
    ) -> None:
        super().__init__(terminal=terminal)
        self.options = options
        self.supervisor = supervisor
        self.open_profile = open_profile
        self.profile = options.profile
        self.ascii, self.plain = options.ascii, options.plain
        self.show_cursor = options.plain
        self.read_only = options.read_only
        self.last_printable = self._key_at = self._read_at = -1.0
        self._variables: dict[str, str] = {}
        self.own_themes: tuple[str, ...] = ()
        self.last_start: StartRequest | None = options.start
        self.too_small = False
        self.zone: tzinfo = UTC if options.zone == "utc" else local_zone()
        self.snapshot: Snapshot | None = None
        self.palette = Palette(None, options.colour)
        self._scout = scout
        scouted = None if scout is None else scout.report
        self.poller = Poller(open_admin, self.post_message, options.every, scouted)
        rows, refused = remap(ROWS, options.keys)
        clashes = tuple(f"keys: {k!r} is both {a.id} and {b.id}" for a, b, k in conflicts(rows))
        self.notices = (*options.notices, *refused, *clashes, *begin_theme(self, options))
        self.dispatch = Dispatch(rows, self)
        self.verbs = Verbs(self)
        self.sheet: Sheet | None = None
        self.typing: Typing | None = None
        self._token = self._first_token = 0
        self._rtt_step = self._memory = 0
        self._footer_due = False
        self._crew: tuple[WorkerRow, ...] = ()
        self._trouble = "connecting"
        self._said_at = -SAID_FOR
        self._ctrl_c_at = -9.0
        self._works: set[asyncio.Task[None]] = set()
        self._hints: tuple[tuple[str, str], ...] = ()

    # Textual

    def on_mount(self) -> None:
        """Begin once the first screen is painted, which comes before anything is read here."""
        self.set_interval(1.0, self._tick)
        self.show_header()
        if self._scout is None:
            self.call_after_refresh(self._begin)
        else:
            self.call_later(self._begin)

    def use_variables(self) -> None:
        """Let the styles be read with the variables of the current theme."""
        self._variables = self.get_css_variables()
        self.stylesheet.set_variables(self._variables)
        self.palette = Palette(self.current_theme, self.options.colour)

    def refresh_css(self, animate: bool = True) -> None:
        """Read all styles again only where a variable changed: each new screen asks for it."""
        variables = self.get_css_variables()
        if variables == self._variables:
            for screen in self.screen_stack:
                screen._css_update_count = self._css_update_count
            return
        self._variables = variables
        super().refresh_css(animate)

    def _begin(self) -> None:
        self._watch_view()
        self.poller.begin()
        if self.notices:
            more = f" (and {len(self.notices) - 1} more)" if len(self.notices) > 1 else ""
            self.say(self.notices[0] + more, "warn")

    def repaint_theme(self) -> None:
        """Take the current theme's colours and draw everything again."""
        self.palette = Palette(self.current_theme, self.options.colour)
        for stack in self._screen_stacks.values():
            for screen in stack:
                if isinstance(screen, View) and screen.is_mounted:
                    screen.redraw_all(forget=True)

    async def _on_exit_app(self) -> None:
        await self.poller.close()
        for task in self._works:
            task.cancel()
        await super()._on_exit_app()

    # Views

    def view_now(self) -> View | None:
        """Return the view on screen; None before the first and after the last."""
        try:
            screen = self.screen
        except ScreenStackError:
            return None
        return screen if isinstance(screen, View) else None

    @property
    def depth(self) -> int:
        """How many views lie below the one on screen."""
        return len(self.screen_stack) - 1

    def show_root(self, mode: str) -> None:
        """Show the root of a view."""
        self.follow(None)
        if self.current_mode != mode:
            self.switch_mode(mode)
        while self.depth:
            self.pop_screen()
        self._watch_view()

    def visit(self, view: Screen[None]) -> None:
        """Open a view on top of this one."""
        self.push_screen(view)
        self._watch_view()

    def visit_job(self, ref: JobRef) -> None:
        """Open the detail of a job."""
        from qdeck_tui.screens.job import JobView

        self.visit(JobView(ref))

    def leave(self) -> None:
        """Go back to the view below."""
        if self.depth:
            self.follow(None)
            self.pop_screen()
            self._watch_view()

    def _watch_view(self) -> None:
        """Let the poller read for the view on screen."""
        view = self.view_now()
        if view is None:
            return
        self._token += 1
        reads: dict[str, Read] = {name: FIRST[name] for name in ("snapshot", "workers")}
        self.poller.want(self._token, lambda: {**reads, **view.parts()})
        self.call_after_refresh(self.changed)
        self.show_header()

    @abstractmethod
    def show_header(self) -> None:
        """Draw the header and the tabs again, where they changed."""

    @abstractmethod
    def changed(self) -> None:
        """Draw the footer soon, since what the keys mean may have changed."""

    @abstractmethod
    def place_cursor(self) -> None:
        """Put the terminal's own cursor on the selected row, where it is shown."""

    @abstractmethod
    def rows_came(self) -> None:
        """Give keys that waited for rows to what they are about."""

    def use(self, row: Row, *, typed: bool = False) -> None:
        """Carry out a row of the table."""

    @property
    def hasty(self) -> bool:
        """Whether the key came so soon after another printable one that it may have been pasted."""
        return self._key_at - self.last_printable < TOO_FAST

    def forget_server(self) -> None:
        """Forget everything that was read, since another server is looked at from now on."""
        self.show_root(self.DEFAULT_MODE)
        for mode in [name for name in self._screen_stacks if name in self.MODES]:
            if mode != self.DEFAULT_MODE:
                self.remove_mode(mode)
                self.add_mode(mode, _view(mode))
        if view := self.view_now():
            view.forget()
        self.snapshot, self._crew, self._read_at, self._trouble = None, (), -1.0, "connecting"
        self._rtt_step = 0
        self._first_token = self._token

    def poll(self) -> None:
        """Read again now."""
        self.poller.now()

    def follow(self, ref: JobRef | None) -> None:
        """Follow the log of a job, or of none."""
        self.poller.follow(self._token, ref)

    def on_refreshed(self, message: Refreshed) -> None:
        """Hand what was read to the view that wanted it."""
        if message.token < self._first_token:
            return
        snapshot = message.parts.get("snapshot")
        if isinstance(snapshot, Snapshot):
            self.snapshot, self._read_at, self._trouble = snapshot, monotonic(), ""
        elif isinstance(snapshot, Failure):
            self._trouble = snapshot.reason
        view = self.view_now()
        if view is not None and message.token == self._token and view.is_mounted:
            view.show(message.parts)
            self.place_cursor()
        workers = message.parts.get("workers")
        if isinstance(workers, tuple):
            self._crew = workers
        self.show_header()
        self.changed()
        self.rows_came()

    def on_log_read(self, message: LogRead) -> None:
        """Hand lines of the log to the view that follows it."""
        view = self.view_now()
        if view is not None and message.token == self._token:
            view.show_log(message)

    # What is known

    @property
    def admin(self) -> Admin | None:
        """The door, once it is open."""
        return self.poller.admin

    @property
    def now(self) -> datetime:
        """The server's clock, carried on since the last reading."""
        if self.snapshot is None:
            return datetime.now(UTC)
        return self.snapshot.at + timedelta(seconds=monotonic() - self._read_at)

    @property
    def away(self) -> str:
        """Why nothing can be written now, empty when it can."""
        if self.admin is None:
            return f"not connected: {self._trouble}"
        if self._trouble:
            return f"the server is away: {self._trouble}"
        old = monotonic() - self._read_at
        return f"the server is away: nothing was heard for {age(old)}" if self.stale else ""

    @property
    def stale(self) -> bool:
        """Whether what is shown is older than it should be, unless that is wanted."""
        old = monotonic() - self._read_at
        return not self.poller.frozen and old >= max(5.0, 3 * self.poller.every)

    @property
    def refusal(self) -> str:
        """Why this console writes nothing now, empty when it does."""
        if self.read_only:
            return "this console is read-only (:rw lets it write)"
        return self.away

    def _tick(self) -> None:
        self.show_header()
        if monotonic() - self._said_at > SAID_FOR:
            view = self.view_now()
            if view is not None and view.status.text:
                view.status.tell("")

    # Sheets and sentences

    def open_sheet(self, sheet: Sheet) -> None:
        """Lay a sheet over the view; there is never a second one."""
        view = self.view_now()
        if view is None or self.sheet is not None:
            return
        self.sheet = sheet
        if isinstance(sheet, Dialog) and self.profile is not None and self.profile.production:
            sheet.word = self.profile.name
        view.overlay.open(sheet)
        self.changed()

    def close_sheet(self) -> None:
        """Take the sheet away."""
        self.sheet = None
        view = self.view_now()
        if view is not None:
            view.overlay.close()
        self.changed()

    def update_sheet(self) -> None:
        """Draw the sheet again; a dialog is told once its content is on the screen."""
        view = self.view_now()
        if view is None or self.sheet is None:
            return
        view.overlay.update()
        self.changed()
        if isinstance(self.sheet, Dialog) and self.sheet.ready:
            view.call_after_refresh(self.sheet.painted)

    def scroll_sheet(self, by: int) -> None:
        """Scroll the sheet."""
        view = self.view_now()
        if view is not None:
            view.overlay.skip += by
            view.overlay.redraw()

    def say(self, text: str, style: str = "") -> None:
        """Show a sentence in the status line for a while."""
        self._said_at = monotonic()
        if view := self.view_now():
            view.status.tell(safe(text), style)

    def begin_work(self, work: Coroutine[Any, Any, None], failed: str) -> None:
        """Run a coroutine beside the screen; an error becomes a sentence."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.say(f"{failed}: {error}", "bad")

        task = asyncio.create_task(guarded())
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Call something after a delay, however long the process rests meanwhile."""
        asyncio.get_running_loop().call_later(delay, self.call_later, call)


def local_zone() -> tzinfo:
    return datetime.now().astimezone().tzinfo or UTC
