"""Chooses and switches the theme of the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.theme import Theme

if TYPE_CHECKING:
    from qdeck_tui.app import QdeckApp
    from qdeck_tui.options import Options

__all__ = ["begin_theme"]


def begin_theme(app: QdeckApp, options: Options) -> tuple[str, ...]:
    """Register the themes and put the wanted one on; return sentences about what is wrong with
    them.
    """
    app.register_theme(Theme("dark", primary="#5fa8ff"))
    app.theme = "dark"
    app.repaint_theme()
    return ()
