"""The help: the keys that work here first, then all others, made from the table of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeck_tui.dispatch import show_key
from qdeck_tui.widgets.canvas import Line

if TYPE_CHECKING:
    from qdeck_tui.commands import Commands

__all__ = ["help_lines"]

GROUPS = (
    ("acts", "ACT ON THE MARKS, OR ON THE ROW"),
    ("list", "LISTS"),
    ("log", "LOG"),
    ("move", "MOVE"),
    ("views", "VIEWS"),
    ("everywhere", "EVERYWHERE"),
)


def help_lines(app: Commands) -> list[Line]:
    """Return a line for each action that can be carried out on this screen."""
    view = app.view_now()
    lines: list[Line] = []
    for group, title in GROUPS:
        rows: list[Line] = []
        for row in app.dispatch.rows:
            if row.group != group or not row.keys or view is None:
                continue
            note = ""
            if row.verbs:
                found = app.verbs.find(row)
                if found is None:
                    continue
                if not found[2].allowed:
                    note = f" (now refused: {found[2].reason})"
            elif group != "views" and app.dispatch.handler(row, view) is None:
                continue
            keys = " ".join(show_key(key) for key in row.keys)
            rows.append(((f"  {keys:<14} ", "key"), (row.help, ""), (note, "warn")))
        if rows:
            lines += [((title, "title"), ("", "")), *rows, ()]
    lines += [
        (("PROMPT", "title"), ("", "")),
        (("  :find QUERY    ", "key"), ("jobs of every state that match", "")),
        (("  :theme NAME    ", "key"), (", ".join(app.theme_names()), "")),
        (("  :every 5s      ", "key"), ("how often to read", "")),
        (("  :ro  :rw       ", "key"), ("refuse writes in this console, or allow them", "")),
        (("  :mouse         ", "key"), ("off: the mouse selects text again", "")),
        (("  :JOB-ID        ", "key"), ("open a job, in whatever state it is", "")),
        (),
        (("Ctrl+C twice quits anywhere.", "dim"), ("", "")),
    ]
    return lines
