"""Decides what a key means now: the line being typed, the sheet, the pane, the view, the app, in
this order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from qdeck.admin import (
    LATER,
    Action,
    Admin,
    JobRow,
    Permission,
    QueueRow,
    Target,
    TaskRow,
    WorkerRow,
)
from qdeck_tui.actions import Row, Subject
from qdeck_tui.screens.base import View
from qdeck_tui.widgets.canvas import Line
from qdeck_tui.widgets.field import Field

__all__ = ["Dispatch", "Typing"]

SHOWN = {
    "enter": "Enter", "escape": "Esc", "tab": "Tab", "space": "Space", "ctrl+p": "Ctrl+P",
    "ctrl+r": "Ctrl+R", "ctrl+l": "Ctrl+L", "ctrl+o": "Ctrl+O", "pagedown": "PgDn",
    "pageup": "PgUp", "ctrl+d": "Ctrl+D", "ctrl+u": "Ctrl+U", "shift+tab": "Shift+Tab",
    "up": "Up", "down": "Down", "home": "Home", "end": "End", "[": "[ ]",
}  # fmt: skip


@dataclass(slots=True)
class Typing:
    """One line that is typed at the bottom: the prompt, a filter, a search."""

    prefix: str
    changed: Callable[[str], None]
    done: Callable[[str], None]
    cancelled: Callable[[], None]
    complete: Callable[[str], str] | None = None
    field: Field = field(default_factory=Field)

    def line(self, cells: int) -> Line:
        """Return the line as it is drawn in the footer's place."""
        return ((f" {self.prefix}", "key"), *self.field.spans(max(8, cells - len(self.prefix) - 3)))


class Dispatch:
    """Finds the row of a key and who carries it out."""

    def __init__(self, rows: Sequence[Row], app: object) -> None:
        self.rows = tuple(rows)
        self._app = app
        self._by_key: dict[str, list[Row]] = {}
        for row in self.rows:
            for key in row.keys:
                self._by_key.setdefault(key, []).append(row)

    def meant(self, key: str) -> Sequence[Row]:
        """Return the rows of a key, here or elsewhere."""
        return self._by_key.get(key, ())

    def handler(self, row: Row, view: View) -> Callable[[], object] | None:
        """Return the method that carries a row out here, None when nothing does."""
        for holder in (view.pane, view, self._app):
            method = getattr(holder, f"do_{row.id}", None)
            if method is not None:
                return method  # type: ignore[no-any-return]
        return None

    def find(
        self, key: str, view: View, verb: Callable[[Row], tuple[Subject, Action, Permission] | None]
    ) -> Row | None:
        """Return the row that a key means in a view, preferring a verb that is allowed."""
        denied = None
        for row in self._by_key.get(key, ()):
            if not row.verbs:
                if row.group == "views" or self.handler(row, view) is not None:
                    return row
                continue
            found = verb(row)
            if found is not None and found[2].allowed:
                return row
            if found is not None and (denied is None or _suits(found[1], found[0].targets)):
                denied = row
        return denied


def permitted(admin: Admin, row: Row, subject: Subject) -> tuple[Action, Permission] | None:
    """Return the first of a row's verbs that the first target allows, else one that it denies with
    a reason, and which suits its state.
    """
    target = next((t for t in subject.targets if isinstance(t, row.on)), None)
    if target is None:
        return None
    known: Mapping[Action, Permission] = admin.actions(target)
    denied = None
    for verb in row.verbs:
        permission = known.get(verb)
        if permission is None:
            continue
        if permission.allowed:
            return verb, permission
        if denied is None or _suits(verb, (target,)):
            denied = verb, permission
    return denied


def _suits(verb: Action, targets: Sequence[Target]) -> bool:
    """Return whether a verb is what its key is about here, where all are denied alike."""
    target = targets[0] if targets else None
    if isinstance(target, JobRow):
        return {"retry": target.state in ("dead", "cancelled"),
                "run_now": target.state in LATER}.get(verb, True)  # fmt: skip
    if isinstance(target, (QueueRow, TaskRow)):
        return verb.startswith("resume") == (target.paused is not None)
    if isinstance(target, WorkerRow):
        return verb not in ("quiet", "unquiet") or (verb == "unquiet") == (target.state == "quiet")
    return True


def show_key(key: str) -> str:
    """Return a key as it is written in footer and help."""
    return SHOWN.get(key, key)
