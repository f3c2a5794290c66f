"""The `:` prompt: an exact grammar made from the action table. What does not match runs nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qdeck_tui.format import short_id

if TYPE_CHECKING:
    from qdeck_tui.commands import Commands

from qdeck.admin.frozen import dataclass

__all__ = ["Command", "Prompt"]

JOB_ID = re.compile(r"[0-9A-Za-z]{26}")
EVERY = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")


@dataclass(frozen=True, slots=True)
class Command:
    """Something that Enter would run: what it says it does, and what does it."""

    text: str
    help: str
    run: Callable[[], None]


class Prompt:
    """Finds the command that a line spells exactly."""

    def __init__(self, app: Commands) -> None:
        self._app = app

    def commands(self) -> dict[str, Command]:
        """Return the commands without an argument that can be run now."""
        app, view = self._app, self._app.view_now()
        found: dict[str, Command] = {}
        for row in app.dispatch.rows:
            if not row.command or view is None:
                continue
            if row.verbs:
                verb = app.verbs.find(row)
                if verb is None:
                    continue
            elif row.group != "views" and app.dispatch.handler(row, view) is None:
                continue
            found[row.command] = Command(row.command, row.help, partial(app.use, row, typed=True))
        for name, text, run in (
            ("ro", "refuse every write in this console", lambda: app.set_read_only(True)),
            ("rw", "let this console write again", lambda: app.set_read_only(False)),
            ("mouse", "switch reports of clicks on or off", app.switch_mouse),
        ):
            found[name] = Command(name, text, run)
        for profile in app.options.profiles if app.open_profile is not None else ():
            name = f"profile {profile.name.lower()}"
            help_text = f"look at the server of profile {profile.name}"
            found[name] = Command(name, help_text, partial(app.switch_profile, profile.name))
        for theme in app.theme_names():
            name = f"theme {theme}"
            help_text = f"use the theme {theme}"
            found[name] = Command(name, help_text, partial(app.choose_theme, theme))
        return found

    def find(self, line: str) -> Command | None:
        """Return what a line would run, None when it is nothing exactly."""
        text = " ".join(line.split())
        known = self.commands().get(text.lower())
        if known is not None:
            return known
        app = self._app
        if JOB_ID.fullmatch(text):
            return Command(text, f"open job {short_id(text)}", lambda: app.open_id(text.upper()))
        word, _, rest = text.partition(" ")
        if word == "find" and rest:
            if JOB_ID.fullmatch(rest):
                return Command(
                    text, f"open job {short_id(rest)}", lambda: app.open_id(rest.upper())
                )
            return Command(text, f"find {rest} in every state", lambda: app.find_jobs(rest))
        seconds = _seconds(rest) if word == "every" else None
        if seconds is not None:
            return Command(text, f"read every {seconds:g} s", lambda: app.set_every(seconds))
        return None

    def complete(self, line: str) -> str:
        """Return the line as far as all commands that begin like it agree."""
        text = line.lstrip().lower()
        names = [*self.commands(), "find ", "every "]
        fitting = [name for name in names if name.startswith(text)]
        if not fitting:
            return line
        shortest = min(fitting, key=len)
        for at, letter in enumerate(shortest):
            if any(name[at] != letter for name in fitting):
                return shortest[:at]
        return shortest

    def say(self, line: str) -> str:
        """Return what Enter will do, or what the line could become."""
        if not line.strip():
            return "a command, or a job id; Tab completes, Esc closes"
        command = self.find(line)
        if command is not None:
            return f"Enter: {command.help}"
        text = " ".join(line.split()).lower()
        names = [name for name in [*self.commands(), "find", "every"] if name.startswith(text)]
        if text in ("find", "every"):
            return {"find": "find QUERY", "every": "every 5s"}[text]
        if names:
            return "Tab: " + "  ".join(names[:6]) + (" …" if len(names) > 6 else "")
        return "no such command; Enter runs nothing"


def _seconds(text: str) -> float | None:
    match = EVERY.fullmatch(text)
    if match is None:
        return None
    factor = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}[match[2]]
    return min(3600.0, max(0.25, float(match[1]) * factor))
