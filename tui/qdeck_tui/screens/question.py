"""The question before a write that a view carries out itself."""

from __future__ import annotations

from collections.abc import Callable

from qdeck_tui.desk import Console
from qdeck_tui.widgets.dialog import Dialog

__all__ = ["question"]


def question(
    desk: Console, title: str, answer: Callable[[bool], None], *, low: bool = False
) -> Dialog:
    """Open a question that is still to be filled; it is closed before `answer` is called."""

    def answered(yes: bool) -> None:
        desk.close_sheet()
        answer(yes)

    dialog = Dialog(title, changed=desk.update_sheet, answer=answered)
    dialog.low = low
    desk.open_sheet(dialog)
    return dialog
