"""Starts the console and ends it: settings, terminal, app, local workers, in this order and back.

It decides what the app is told; everything that can be refused is refused before the screen opens.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from qdeck_tui.choices import Choices, read_choices
from qdeck_tui.output import OutputLog
from qdeck_tui.terminal import Terminal, needs_ascii, prepare_environment, refusal
from qdeck_tui.tour import REQUEST, Tour

if TYPE_CHECKING:
    from qdeck.admin import Admin
    from qdeck.deck import Deck
    from qdeck.settings import Settings
    from qdeck_tui.options import Options
    from qdeck_tui.profiles import Profile
    from qdeck_tui.scout import Scout
    from qdeck_tui.supervisor import LocalWorkers

__all__ = ["launch"]

# Slots of a local worker unless the settings say otherwise: more threads of one process compute no
# faster, but with every one of them a key waits longer for its turn.
SLOTS = 2


def launch(words: Sequence[str]) -> int:
    """Run the console until it is left, and return its exit code.

    2 stands for a terminal that does not do, 1 for bad settings.
    """
    # Imports make many objects that stay, which a collection only looks at in vain.
    gc.disable()
    chosen = _parser().parse_args(words)
    problem = refusal(os.environ)
    if problem is not None:
        return _refuse(problem)
    from qdeck.errors import SettingsError
    from qdeck.settings import load_settings, user_config_path

    if not os.environ.get("NO_COLOR", "-"):
        del os.environ["NO_COLOR"]  # empty, it is as good as not set
    config = user_config_path()
    try:
        choices = read_choices(config)
        profile = _named(chosen.profile, choices.profiles)
        server = (None, None) if profile is None else (profile.url, profile.prefix)
        settings = load_settings(server[0], prefix=server[1])
    except SettingsError as error:
        return _refuse(f"qdeck: {error}", 1)
    if settings.connection == "sync" and not chosen.demo:
        return _refuse(
            "qdeck: the connection is 'sync', which keeps no jobs to look at;"
            " set QUEUE_CONNECTION to embedded or redis",
            1,
        )
    prepare_environment(os.environ)
    from qdeck_tui.scout import send

    options = _options(chosen, settings, choices, config)
    scout = None
    if not chosen.demo:
        scout = send(settings, lambda: _deck(profile), read_only=options.read_only)
    tour = Tour(chosen.seed, chosen.root) if chosen.demo else None
    return _Console(options, tour, scout).run()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Tell a wrong word in one line, as every command does."""
        self.exit(2, f"qdeck: {message} (see qdeck --help, or qdeck demo --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="qdeck",
        description="The console on the configured server; `qdeck --help` lists the words.",
        allow_abbrev=False,
    )
    parser.add_argument("demo", nargs="?", choices=("demo",), help="real jobs on a tree of files")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    parser.add_argument("--plain", action="store_true", help="no boxes; the cursor shows the row")
    parser.add_argument("--theme", metavar="NAME", help="dark, light, high-contrast, ...")
    parser.add_argument("--profile", metavar="NAME", help="a server of [profiles.NAME]")
    parser.add_argument("--read-only", action="store_true", help="look, but change nothing")
    parser.add_argument("--seed", type=int, default=1, help="decides the demo's jobs")
    parser.add_argument("--root", type=Path, help="a tree of Python sources for the demo")
    return parser


def _options(
    chosen: argparse.Namespace, settings: Settings, choices: Choices, config: Path
) -> Options:
    """Return what the app is told, from words, the user's choices and the project's settings."""
    from qdeck_tui.local import StartRequest
    from qdeck_tui.options import Options

    colour = "NO_COLOR" not in os.environ
    profile = _named(chosen.profile, choices.profiles)
    start = StartRequest(
        app=settings.app[0] if settings.app else "",
        queues=settings.name,
        concurrency=settings.max_concurrent if "max_concurrent" in settings.sources else SLOTS,
    )
    if chosen.demo:
        start = REQUEST
    return Options(
        ascii=chosen.ascii or needs_ascii(os.environ),
        plain=chosen.plain,
        colour=colour,
        theme=chosen.theme or choices.theme or ("dark" if colour else "mono"),
        zone="local" if choices.zone == "local" else "utc",
        read_only=chosen.read_only or (profile is not None and profile.read_only),
        keys=choices.keys,
        profiles=choices.profiles,
        profile=profile,
        notices=choices.notices,
        start=start,
        closing="give back" if chosen.demo else None,
        config=config,
        themes=(config.parent / "themes",),
        editor=os.environ.get("VISUAL", "").strip() or os.environ.get("EDITOR", "").strip(),
    )


def _named(name: str | None, profiles: Sequence[Profile]) -> Profile | None:
    """Return the profile of a name, None for none; raises SettingsError."""
    from qdeck.errors import SettingsError

    found = next((each for each in profiles if each.name == name), None)
    if name is not None and found is None:
        known = ", ".join(each.name for each in profiles) or "there are none"
        raise SettingsError(f"there is no profile {name!r} in config.toml; known: {known}")
    return found


def _deck(profile: Profile | None) -> Deck:
    """Return a deck on the server of a profile, or of the settings; the engine is imported now."""
    from qdeck.deck import Deck

    return Deck() if profile is None else Deck(profile.url, prefix=profile.prefix)


class _Console:
    """One run of the console, from taking the terminal to giving it back."""

    def __init__(self, options: Options, tour: Tour | None, scout: Scout | None) -> None:
        self.options = options
        self.scout = scout
        self.output = OutputLog()
        self.terminal = Terminal(self.output.add)
        self.tour = tour
        self._closing: list[Callable[[], None]] = []

    def run(self) -> int:
        """Run the app; whatever happens, jobs are given back and the terminal is restored."""
        from qdeck.ending import leave
        from qdeck_tui.app import QdeckApp
        from qdeck_tui.supervisor import LocalWorkers
        from qdeck_tui.turns import ConsoleLoop

        workers = LocalWorkers(self.output)
        self.terminal.take()
        farewell: list[str] = []
        code = 1
        try:
            self._log_to_output()
            app = QdeckApp(
                self._opener(workers, self.options.profile, self.options.read_only),
                open_profile=lambda profile: self._opener(workers, profile, profile.read_only),
                supervisor=workers,
                options=self.options,
                terminal=self.terminal,
                scout=self.scout,
            )
            farewell = app.farewell
            app.on_ending = workers.end
            with asyncio.Runner(loop_factory=ConsoleLoop) as runner:
                runner.run(app.run_async())
            code = app.return_code or 0
        finally:
            self._end(workers)
            self.terminal.give_back()
            for text in farewell:
                sys.stderr.write(text.rstrip("\n") + "\n")
        return leave(code)

    def _opener(
        self, workers: LocalWorkers, profile: Profile | None, read_only: bool
    ) -> Callable[[], Awaitable[Admin]]:
        """Return what opens the door; the engine is imported then, after the first paint."""

        def open_door() -> Admin:
            if self.tour is not None and profile is None:
                return self.tour.begin(workers, read_only=read_only)
            deck = _deck(profile)
            self._closing.append(deck.close_sync)
            door: Admin = deck.admin(read_only=read_only)
            return door

        async def open_admin() -> Admin:
            try:
                return await asyncio.to_thread(open_door)
            finally:
                gc.freeze()
                gc.enable()

        return open_admin

    def _end(self, workers: LocalWorkers) -> None:
        """Give jobs back, end the demo, and close what is open."""
        if self.scout is not None:
            self.scout.end()
        if self.tour is not None:
            self.tour.stop_feeding()
        workers.end("give back")
        if self.tour is not None:
            self.tour.end()
        for close in self._closing:
            close()

    @staticmethod
    def _log_to_output() -> None:
        """Send what is logged in this process where everything else that is printed goes."""
        logging.basicConfig(
            stream=sys.__stderr__,
            level=logging.WARNING,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            datefmt="%H:%M:%S",
        )
        logging.getLogger("qdeck").setLevel(logging.INFO)


def _refuse(line: str, code: int = 2) -> int:
    sys.stderr.write(f"{line}\n")
    return code
