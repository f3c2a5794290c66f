"""Chooses and switches the theme of the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeck_tui.themes import load_themes

if TYPE_CHECKING:
    from qdeck_tui.app import QdeckApp
    from qdeck_tui.options import Options

__all__ = ["begin_theme"]

FALLBACK = "dark"


def begin_theme(app: QdeckApp, options: Options) -> tuple[str, ...]:
    """Register the themes and put the wanted one on.

    Returns sentences about files that are no themes, and about a wanted one that does not exist.
    """
    found = load_themes(options.themes)
    notices = list(found.notices)
    for theme in found.themes.values():
        app.register_theme(theme)
    name = options.theme
    if name not in found.themes:
        notices.append(f"there is no theme {name!r}; there are {', '.join(found.themes)}")
        name = FALLBACK
    app.theme = name
    app.repaint_theme()
    return tuple(notices)
