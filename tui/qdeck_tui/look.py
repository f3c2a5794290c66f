"""Chooses and switches the theme of the app, and keeps the choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

from qdeck_tui.themes import load_theme, load_themes

if TYPE_CHECKING:
    from qdeck_tui.options import Options
    from qdeck_tui.shell import Shell

__all__ = ["Preview", "begin_theme", "choose", "keep", "load_others"]

FIRST = "dark"
# Seconds without a key before a theme is shown while its name is typed.
REST = 0.25


def begin_theme(app: Shell, options: Options) -> tuple[str, ...]:
    """Put the wanted theme on before anything is drawn, reading no other; return what is wrong.

    Setting it before the app runs saves reading all styles a second time.
    """
    theme = load_theme(options.theme, options.themes)
    notices: tuple[str, ...] = ()
    if theme is None:
        notices = (f"there is no theme {options.theme!r} that can be used; :theme lists them",)
        theme = load_theme(FIRST)
    if theme is not None:
        app.register_theme(theme)
        app.set_reactive(App.theme, theme.name)
        app._refresh_truecolor_filter(app.ansi_theme)
    app.use_variables()
    return notices


def load_others(app: Shell, options: Options) -> tuple[str, ...]:
    """Read all themes, once; return sentences about files that are none."""
    if app.own_themes:
        return ()
    found = load_themes(options.themes)
    for theme in found.themes.values():
        app.register_theme(theme)
    app.own_themes = tuple(found.themes)
    return found.notices


def choose(app: Shell, name: str) -> str:
    """Put a theme on and keep the choice; return a sentence."""
    app.theme = name
    app.repaint_theme()
    return f"theme {name}{keep(app.options, theme=name)}"


class Preview:
    """Shows a theme while its name stands in the prompt, after a moment of rest."""

    def __init__(self, app: Shell) -> None:
        self._app = app
        self._before = app.theme
        self._turn = 0

    def typed(self, line: str) -> None:
        """Know what stands in the prompt now."""
        self._turn += 1
        turn = self._turn
        word, _, name = " ".join(line.split()).partition(" ")
        wanted = name if word == "theme" and name in self._app.own_themes else self._before
        if wanted != self._app.theme:
            self._app.later(REST, lambda: self._show(wanted) if turn == self._turn else None)

    def end(self) -> None:
        """Go back to the theme that was on; what is chosen is put on afterwards."""
        self._turn += 1
        self._show(self._before)

    def _show(self, name: str) -> None:
        if self._app.theme != name:
            self._app.theme = name
            self._app.repaint_theme()


def keep(options: Options, **changes: str) -> str:
    """Keep choices in the user's file; return why not, as the end of a sentence."""
    if options.config is None:
        return ""
    from qdeck_tui.choices import save_choices

    try:
        save_choices(options.config, changes)
    except (OSError, ValueError) as error:
        return f" (not kept: {error})"
    return ""
