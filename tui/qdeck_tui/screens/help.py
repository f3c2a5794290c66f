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
        (("FORMS AND QUESTIONS", "title"), ("", "")),
        (("  Ctrl+X         ", "key"), ("save or go on; a question follows where one is due", "")),
        (("  Tab Shift+Tab  ", "key"), ("next field, field before; Space chooses", "")),
        (("  Ctrl+O         ", "key"), ("the field in $VISUAL or $EDITOR", "")),
        (("  Ctrl+T         ", "key"), ("presets of a schedule, samples of payloads", "")),
        (("  Esc            ", "key"), ("close; a changed form asks first", "")),
        (("  y   n Esc      ", "key"), ("yes, no; above 100 the number is typed, then Enter", "")),
        (),
        (("PROMPT", "title"), ("", "")),
        (("  :pause all     ", "key"), ("every action above by its name, and on all queues", "")),
        (("  :again         ", "key"), ("a new job like the one under the cursor", "")),
        (("  :profile NAME  ", "key"), ("another server of config.toml", "")),
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
