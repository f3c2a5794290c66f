"""The rows of the action table, and the commands of the prompt, that the app itself carries out."""

from __future__ import annotations

from datetime import UTC
from typing import cast

from qdeck_tui.acts import Acts
from qdeck_tui.desk import Console
from qdeck_tui.local import Closing
from qdeck_tui.look import Preview, choose, keep, load_others
from qdeck_tui.screens.base import View
from qdeck_tui.shell import local_zone
from qdeck_tui.widgets.listing import Listing

__all__ = ["Commands"]


class Commands(Acts):
    """Going back, panes, zone, prompt, help, quitting."""

    def do_back(self) -> None:
        """Close what is open, else unfilter, unmark, or go back one view."""
        view = self.view_now()
        if view is None:
            return
        pane = view.pane
        if view.zoomed:
            view.do_zoom_out()
        elif isinstance(pane, Listing) and (pane.marked or pane.pivot is not None):
            pane.unmark()
            pane.redraw()
            view.moved()
        elif isinstance(pane, Listing) and pane.needle:
            pane.set_filter("")
            view.moved()
        elif self.depth:
            self.leave()

    def do_pane(self) -> None:
        """Go to the next pane."""
        cast("View", self.screen).go_pane(1)

    def do_pane_back(self) -> None:
        """Go to the pane before."""
        cast("View", self.screen).go_pane(-1)

    def do_quit(self) -> None:
        """Quit at the root of a view; deeper, say where Esc leads. Running local jobs are asked
        about.
        """
        if self.depth:
            below = self.screen_stack[-2]
            self.say(f"q quits at the root; Esc goes back to {getattr(below, 'crumb', 'the view')}")
            return
        workers = self.supervisor.workers() if self.supervisor is not None else ()
        alive = [w for w in workers if w.state not in ("stopped", "failed")]
        if not alive:
            self.exit()
            return
        if self.options.closing is not None:
            self.quit_with(self.options.closing)
            return
        from qdeck_tui.widgets.quit import QuitSheet

        sheet = QuitSheet(alive, cast("Console", self), self.quit_with)
        self.open_sheet(sheet)
        admin = self.admin
        if admin is None or all(worker.kind == "thread" for worker in alive):
            return

        async def look() -> None:
            sheet.tell(await admin.workers())

        self.begin_work(look(), "counting what local workers run failed")

    def quit_with(self, choice: Closing) -> None:
        """End the local workers the chosen way, then the console."""
        supervisor = self.supervisor
        if supervisor is None:
            self.exit()
            return

        async def close() -> None:
            self.say(f"ending local workers: {choice}…")
            await supervisor.close(choice)
            self.exit()

        self.begin_work(close(), "ending the local workers failed")

    def do_zone(self) -> None:
        """Switch between UTC and local time."""
        self.zone = local_zone() if self.zone is UTC else UTC
        name = "utc" if self.zone is UTC else "local"
        self.say(
            f"times in {name.upper() if name == 'utc' else name}{keep(self.options, zone=name)}"
        )
        self.show_header()
        self.poll()

    def do_freeze(self) -> None:
        """Stop reading, or go on."""
        self.poller.frozen = not self.poller.frozen
        self.show_header()
        self.say("frozen: F lets it go on" if self.poller.frozen else "reading again")
        self.poll()

    def do_refresh(self) -> None:
        """Read again now."""
        self.poll()

    def do_redraw(self) -> None:
        """Write every cell again."""
        self.forget_frame()
        view = self.view_now()
        if view is not None:
            view.redraw_all(forget=True)
        self.refresh(layout=True)

    def do_help(self) -> None:
        """Show the keys that work here."""
        from qdeck_tui.screens.help import help_lines
        from qdeck_tui.widgets.menu import TextSheet

        self.open_sheet(TextSheet("HELP", help_lines(self), cast("Console", self)))

    def do_prompt(self) -> None:
        """Type a command; a line above says what Enter will run."""
        from qdeck_tui.prompt import Prompt

        prompt = Prompt(self)
        preview = Preview(self)

        def changed(text: str) -> None:
            self.say(prompt.say(text))
            preview.typed(text)

        def done(text: str) -> None:
            self.say("")
            preview.end()
            command = prompt.find(text)
            if command is not None:
                command.run()
            elif text.strip():
                self.say(f"no command {text.strip()!r}: nothing was run", "warn")

        def cancelled() -> None:
            self.say("")
            preview.end()

        self.ask(":", "", changed, done, cancelled, prompt.complete)
        changed("")

    # What only the prompt can do

    def set_read_only(self, wanted: bool) -> None:
        """Refuse writes in this console, or allow them where the server does."""
        self.read_only = wanted
        self.show_header()
        self.say("this console writes nothing now" if wanted else "this console may write")

    def switch_mouse(self) -> None:
        """Switch reports of clicks on or off."""
        self.set_mouse(not self.mouse_enabled)
        on = self.mouse_enabled
        self.say("the mouse clicks" if on else "the mouse selects text now; :mouse lets it click")

    def theme_names(self) -> tuple[str, ...]:
        """Return the names of the themes."""
        load_others(self, self.options)
        return self.own_themes

    def choose_theme(self, name: str) -> None:
        """Put a theme on and keep the choice."""
        self.say(choose(self, name))

    def switch_profile(self, name: str) -> None:
        """Look at another server from now on; local workers stay where they serve."""
        profile = next((each for each in self.options.profiles if each.name == name), None)
        if profile is None or self.open_profile is None:
            self.say(f"no profile {name!r} in config.toml", "warn")
            return
        self.profile, self.read_only = profile, profile.read_only
        self.forget_server()
        self.poller.switch(self.open_profile(profile))
        self.show_header()
        self.say(f"profile {name}: connecting" + (", read-only" if profile.read_only else ""))

    def set_every(self, seconds: float) -> None:
        """Read at another interval."""
        self.poller.every = seconds
        self.say(f"reading every {seconds:g} s")
        self.poll()

    def open_id(self, identifier: str) -> None:
        """Open the job of an id."""

        async def find() -> None:
            admin = self.admin
            ref = None if admin is None else await admin.find(identifier)
            if ref is None:
                self.say(f"no job {identifier} is known here", "warn")
            else:
                self.visit_job(ref)

        self.begin_work(find(), "looking for the job failed")

    def find_jobs(self, query: str) -> None:
        """Open what matches in every state."""
        from qdeck_tui.screens.jobs import FindView

        self.visit(FindView(query))

    def copy(self, label: str, text: str) -> None:
        """Send text to the clipboard; it is shown as well, since no terminal says what it did."""
        from qdeck_tui.clipboard import send_to_clipboard
        from qdeck_tui.widgets.menu import BareText

        lines = [((part, ""),) for part in text.splitlines()[:2000]]
        sheet = BareText(label, lines, cast("Console", self))
        self.open_sheet(sheet)

        async def send() -> None:
            said = await send_to_clipboard(text, self.write_to_terminal)
            sheet.tell(f"{label}: {said}")

        self.begin_work(send(), "copying failed")
