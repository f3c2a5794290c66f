"""Chooses and switches the theme of the app, and keeps the choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

from qdeck_tui.themes import load_theme, load_themes

if TYPE_CHECKING:
    from qdeck_tui.options import Options
    from qdeck_tui.shell import Shell

__all__ = ["begin_theme", "choose", "load_others"]

FIRST = "dark"


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
    return f"theme {name}{_keep(app.options, theme=name)}"


def _keep(options: Options, **changes: str) -> str:
    if options.config is None:
        return ""
    from qdeck_tui.choices import save_choices

    try:
        save_choices(options.config, changes)
    except (OSError, ValueError) as error:
        return f" (not kept: {error})"
    return ""
