"""What the views of schedules share: the door to them, and the question before a write."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from qdeck.admin import SchedulesDoor
from qdeck_tui.desk import Console
from qdeck_tui.widgets.dialog import Dialog

if TYPE_CHECKING:
    from qdeck.admin import Admin

__all__ = ["SchedulesDoor", "door", "question"]


def door(admin: Admin) -> SchedulesDoor:
    """Return the part of a door that knows schedules."""
    return cast("SchedulesDoor", admin)


def question(desk: Console, title: str, answer: Callable[[bool], None]) -> Dialog:
    """Open a question that is still to be filled; it is closed before `answer` is called."""

    def answered(yes: bool) -> None:
        desk.close_sheet()
        answer(yes)

    dialog = Dialog(title, changed=desk.update_sheet, answer=answered)
    desk.open_sheet(dialog)
    return dialog
