"""Chooses and switches the theme of the app, and keeps the choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdeck_tui.options import Options
    from qdeck_tui.shell import Shell

__all__ = ["begin_theme", "choose", "names"]

FIRST = "dark"


def begin_theme(app: Shell, options: Options) -> tuple[str, ...]:
    """Register the themes and put the wanted one on; return sentences about what is wrong."""
    from qdeck_tui.themes import load_themes

    found = load_themes(options.themes)
    notices = list(found.notices)
    for theme in found.themes.values():
        app.register_theme(theme)
    app.own_themes = tuple(found.themes)
    wanted = options.theme
    if wanted not in found.themes:
        notices.append(f"there is no theme {wanted!r}; known are {', '.join(found.themes)}")
        wanted = FIRST if FIRST in found.themes else next(iter(found.themes), app.theme)
    app.theme = wanted
    app.repaint_theme()
    return tuple(notices)


def names(app: Shell) -> tuple[str, ...]:
    """Return the names of the themes that can be chosen."""
    return app.own_themes


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
