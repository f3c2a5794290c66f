"""The app wires: it owns poller, views and sheets, gives keys to whoever they are for, and knows no
view's content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta, tzinfo
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.geometry import Offset
from textual.screen import Screen

from qdeck.admin import Admin, Failure, JobRef, Snapshot, WorkerRow
from qdeck_tui.actions import ROWS, Row, conflicts, remap
from qdeck_tui.delta import DeltaMixin
from qdeck_tui.dispatch import Dispatch, Typing, show_key
from qdeck_tui.driver import TerminalMixin
from qdeck_tui.format import age, clock, safe
from qdeck_tui.look import begin_theme
from qdeck_tui.palette import Palette
from qdeck_tui.poller import LogRead, Poller, Refreshed
from qdeck_tui.screens.base import View
from qdeck_tui.screens.overview import OverviewView
from qdeck_tui.verbs import Verbs
from qdeck_tui.widgets.chrome import HeaderState
from qdeck_tui.widgets.dialog import Dialog

if TYPE_CHECKING:
    from qdeck_tui.local import StartRequest, Supervisor
    from qdeck_tui.options import Options
    from qdeck_tui.poller import Read
    from qdeck_tui.terminal import Terminal
    from qdeck_tui.widgets.overlay import Sheet

__all__ = ["Shell", "local_zone"]

SMALLEST = (60, 16)
RTT_STEPS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 20_000)
SAID_FOR = 8.0


def _view(name: str) -> Callable[[], Screen[None]]:
    """Return what makes a root view; its module is imported on the first visit."""

    def make() -> Screen[None]:
        from qdeck_tui.screens import roots

        return roots.make(name)

    return make


class Shell(DeltaMixin, TerminalMixin):
    """Poller, views, sheets and keys, wired; `Commands` adds what the app carries out."""

    ENABLE_COMMAND_PALETTE = False
    DEFAULT_MODE = "overview"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "overview": OverviewView,
        **{name: _view(name) for name in ("queues", "running", "later", "dead", "workers")},
    }
    CSS = "Screen { overflow: hidden; }"

    def __init__(
        self,
        open_admin: Callable[[], Awaitable[Admin]],
        *,
        supervisor: Supervisor | None = None,
        options: Options,
        terminal: Terminal | None = None,
    ) -> None:
        super().__init__(terminal=terminal)
        self.options = options
        self.supervisor = supervisor
        self.ascii, self.plain = options.ascii, options.plain
        self.show_cursor = options.plain
        self.read_only = options.read_only
        self.last_printable = -1.0
        self._variables: dict[str, str] = {}
        self.own_themes: tuple[str, ...] = ()
        self.last_start: StartRequest | None = options.start
        self.too_small = False
        self.zone: tzinfo = UTC if options.zone == "utc" else local_zone()
        self.snapshot: Snapshot | None = None
        self.palette = Palette(None, options.colour)
        self.poller = Poller(open_admin, self.post_message, options.every)
        rows, refused = remap(ROWS, options.keys)
        clashes = tuple(f"keys: {k!r} is both {a.id} and {b.id}" for a, b, k in conflicts(rows))
        self.notices = (*options.notices, *refused, *clashes, *begin_theme(self, options))
        self.dispatch = Dispatch(rows, self)
        self.verbs = Verbs(self)
        self.sheet: Sheet | None = None
        self.typing: Typing | None = None
        self._token = 0
        self._rtt_step = 0
        self._crew: tuple[WorkerRow, ...] = ()
        self._read_at = -1.0
        self._trouble = "connecting"
        self._said_at = -SAID_FOR
        self._key_at = -1.0
        self._ctrl_c_at = -9.0
        self._works: set[asyncio.Task[None]] = set()
        self._hints: tuple[tuple[str, str], ...] = ()

    # Textual

    def on_mount(self) -> None:
        """Begin once the first screen is painted, which comes before anything is read."""
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(self._begin)

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

    async def on_event(self, event: events.Event) -> None:
        """Take keys and pastes before Textual does: the action table says what they mean."""
        if isinstance(event, events.Key):
            self.press(event.key, event.character)
            return
        if isinstance(event, events.Paste):
            self._paste(event.text)
            return
        await super().on_event(event)

    async def _on_exit_app(self) -> None:
        await self.poller.close()
        for task in self._works:
            task.cancel()
        await super()._on_exit_app()

    def on_resize(self, event: events.Resize) -> None:
        """Say when the screen is too small; an open dialog is answered No then."""
        small = event.size.width < SMALLEST[0] or event.size.height < SMALLEST[1]
        if small and not self.too_small:
            if self.typing is not None:
                self._type("escape", None)
            if isinstance(self.sheet, Dialog):
                self.sheet.cancel()
            elif self.sheet is not None:
                self.close_sheet()
        self.too_small = small
        view = self.view_now()
        if view is not None:
            view.show_too_small(small)

    # Views

    def view_now(self) -> View | None:
        """Return the view on screen."""
        screen = self.screen
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

    def visit(self, view: View) -> None:
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
        reads: dict[str, Read] = {
            "snapshot": lambda admin: admin.snapshot(),
            "workers": lambda admin: admin.workers(),
        }
        self.poller.want(self._token, lambda: {**reads, **view.parts()})
        self.call_after_refresh(self.changed)
        self.show_header()

    def poll(self) -> None:
        """Read again now."""
        self.poller.now()

    def follow(self, ref: JobRef | None) -> None:
        """Follow the log of a job, or of none."""
        self.poller.follow(self._token, ref)

    def on_refreshed(self, message: Refreshed) -> None:
        """Hand what was read to the view that wanted it."""
        snapshot = message.parts.get("snapshot")
        if isinstance(snapshot, Snapshot):
            self.snapshot, self._read_at, self._trouble = snapshot, monotonic(), ""
        elif isinstance(snapshot, Failure):
            self._trouble = snapshot.reason
        view = self.view_now()
        if view is not None and message.token == self._token and view.is_mounted:
            view.show(message.parts)
            self._cursor()
        workers = message.parts.get("workers")
        if isinstance(workers, tuple):
            self._crew = workers
        self.show_header()
        self.changed()

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
        return f"the server is away: {self._trouble}" if self._trouble else ""

    def _tick(self) -> None:
        self.show_header()
        if monotonic() - self._said_at > SAID_FOR:
            view = self.view_now()
            if view is not None and view.status.text:
                view.status.tell("")

    def show_header(self) -> None:
        """Draw the header and the tabs again, where they changed."""
        view = self.view_now()
        if view is None:
            return
        old = monotonic() - self._read_at
        live = not self._trouble and old < max(5.0, 3 * self.poller.every)
        note = self._trouble
        if not live and self._read_at > 0:
            note = f"stale {age(old)}" + (f": {note}" if note else "")
        admin = self.admin
        rights = "ro" if self.read_only or (admin is not None and admin.read_only) else "rw"
        label = admin.label if admin is not None else "connecting"
        at = clock(datetime.now(UTC) if self.snapshot is None else self.now, self.zone)
        zone = "UTC" if self.zone is UTC else (self.now.astimezone(self.zone).tzname() or "local")
        state = HeaderState(label, rights, live, safe(note), self._rtt(), f"{at} {zone}",
                            self.poller.frozen)  # fmt: skip
        view.header.tell(state)
        crumbs = [s.crumb for s in self.screen_stack if isinstance(s, View)]
        view.tabs.tell(self._tabs(), self.current_mode, tuple(crumbs), view.summary())

    def _rtt(self) -> str:
        """Return the round trip in steps, which change only when it left its step clearly."""
        rtt = self.poller.rtt
        if rtt is None:
            return ""
        low = self._rtt_step / 4
        if not low < rtt * 1000 <= self._rtt_step * 1.5:
            self._rtt_step = next((s for s in RTT_STEPS if rtt * 1000 <= s), RTT_STEPS[-1])
        return f"rtt <{self._rtt_step}ms"

    def _tabs(self) -> tuple[tuple[str, str, str, str], ...]:
        badges = {}
        queues = self.snapshot.queues if self.snapshot else ()
        if isinstance(queues, tuple):
            dead = sum(queue.dead or 0 for queue in queues)
            badges["dead"] = f":{dead:,}!" if dead else ""
        lost = sum(1 for worker in self._crew if worker.state in ("lost", "stuck"))
        badges["workers"] = f":{lost}!" if lost else ""
        return tuple(
            (row.id, row.key, row.label, badges.get(row.id, ""))
            for row in self.dispatch.rows
            if row.group == "views"
        )

    def changed(self) -> None:
        """Draw the footer again, since what the keys mean may have changed."""
        view = self.view_now()
        if view is None:
            return
        if self.typing is not None:
            view.footer.tell((), self.typing.line(self.size.width))
        elif self.sheet is not None:
            view.footer.tell(self.sheet.hints())
        else:
            view.footer.tell(self._footer(view))
        self._cursor()

    def _footer(self, view: View) -> tuple[tuple[str, str], ...]:
        found: list[tuple[int, str, str]] = []
        for row in self.dispatch.rows:
            if not row.hint or not self._offered(row, view):
                continue
            label = row.label
            if row.verbs:
                verb = self.verbs.find(row)
                if verb is None or not verb[2].allowed:
                    continue
                label = verb[1].replace("_", " ")
            elif self.dispatch.handler(row, view) is None:
                continue
            found.append((row.hint, show_key(row.key), label))
        return tuple((key, label) for _, key, label in sorted(found))

    def _offered(self, row: Row, view: View) -> bool:
        """Return whether a row that can be carried out makes sense now."""
        if row.id == "pane":
            return len(view.reachable_panes()) > 1
        if row.id == "quit":
            return self.depth == 0
        if row.id == "back":
            pane = view.pane
            busy = view.zoomed or getattr(pane, "marked", False) or getattr(pane, "needle", "")
            return self.depth > 0 or bool(busy)
        return True

    def _cursor(self) -> None:
        """Put the terminal's own cursor on the selected row, where it is shown."""
        view = self.view_now()
        pane = view.pane if view is not None else None
        row = getattr(pane, "cursor_line", None)
        if self.plain and pane is not None and row is not None:
            self.cursor_position = pane.region.offset + Offset(0, row)

    # Keys

    def press(self, key: str, character: str | None) -> None:
        """Give a key to the line that is typed, the sheet, or the row that it means here."""
        printable = character is not None and character.isprintable()
        name = character if printable and character is not None else key
        name = "space" if name == " " else name
        self._key_at = monotonic()
        if key.startswith("alt+") and not printable:
            # Esc and the next key in one packet: Esc it is.
            self.press("escape", None)
            return
        if printable:
            self.verbs.disturb()
        if key == "ctrl+c":
            self._interrupt()
        elif self.too_small:
            if name == "q":
                self.exit()
        elif self.typing is not None:
            self._type(key, character)
        elif self.sheet is not None:
            self.sheet.press(key, character)
        else:
            self._act(name)
        if printable:
            self.last_printable = self._key_at

    def _act(self, key: str) -> None:
        view = self.view_now()
        if view is None:
            return
        row = self.dispatch.find(key, view, self.verbs.find)
        if row is None:
            return
        self.use(row)

    def use(self, row: Row, *, typed: bool = False) -> None:
        """Carry out a row of the table."""
        view = self.view_now()
        if view is None:
            return
        if row.group == "views":
            self.show_root(row.id)
        elif row.verbs:
            self.verbs.use(row, typed=typed)
        else:
            handler = self.dispatch.handler(row, view)
            if handler is not None:
                handler()
        self.changed()

    def _interrupt(self) -> None:
        if monotonic() - self._ctrl_c_at < 2.0:
            self.exit(return_code=130)
            return
        self._ctrl_c_at = monotonic()
        self.say("Ctrl+C again within 2 s quits", "warn")

    def _type(self, key: str, character: str | None) -> None:
        typing = self.typing
        if typing is None:
            return
        if key == "enter":
            self.typing = None
            typing.done(typing.field.text)
        elif key == "escape" or (key == "backspace" and not typing.field.text):
            self.typing = None
            typing.cancelled()
        elif key == "tab" and typing.complete is not None:
            typing.field.put(typing.complete(typing.field.text))
            typing.changed(typing.field.text)
        elif typing.field.press(key, character):
            typing.changed(typing.field.text)
        self.changed()

    def _paste(self, text: str) -> None:
        if self.typing is not None:
            self.typing.field.insert(text)
            self.typing.changed(self.typing.field.text)
            self.changed()
        elif self.sheet is not None:
            self.sheet.paste(text)
        else:
            self.say("pasted text dropped: open : for a job id, / for a filter", "warn")

    def ask(
        self,
        prefix: str,
        text: str,
        changed: Callable[[str], None],
        done: Callable[[str], None],
        cancelled: Callable[[], None],
        complete: Callable[[str], str] | None = None,
    ) -> None:
        """Type one line at the bottom of the screen."""
        self.typing = Typing(prefix, changed, done, cancelled, complete)
        self.typing.field.put(text, fresh=True)
        self.changed()

    # Sheets and sentences

    def open_sheet(self, sheet: Sheet) -> None:
        """Lay a sheet over the view; there is never a second one."""
        view = self.view_now()
        if view is None or self.sheet is not None:
            return
        self.sheet = sheet
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
        view = self.view_now()
        if view is not None:
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
        """Call something after a delay."""
        self.set_timer(delay, call)


def local_zone() -> tzinfo:
    return datetime.now().astimezone().tzinfo or UTC
