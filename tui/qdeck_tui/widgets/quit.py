"""What becomes of local workers when the console exits: one question with three answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qdeck_tui.format import plural
from qdeck_tui.local import Closing, LocalWorker
from qdeck_tui.widgets.canvas import Line

if TYPE_CHECKING:
    from qdeck_tui.desk import Console

__all__ = ["QuitSheet"]


class QuitSheet:
    """Asks; Enter and Esc stay."""

    bare = False

    def __init__(
        self, workers: Sequence[LocalWorker], desk: Console, answer: Callable[[Closing], None]
    ) -> None:
        self.title = "QUIT"
        self._desk = desk
        self._answer = answer
        running = sum(worker.running for worker in workers)
        self._text = f"{plural(len(workers), 'local worker')} with {plural(running, 'running job')}"
        self._leavable = any(worker.kind == "process" for worker in workers)

    def _choices(self) -> list[tuple[str, Closing, str]]:
        choices: list[tuple[str, Closing, str]] = [
            ("f", "finish", "let running jobs finish within their grace, then quit"),
            ("b", "give back", "give running jobs back uncounted, and quit now"),
        ]
        if self._leavable:
            choices.append(("l", "leave", "leave child processes running; jobs in here go back"))
        return choices

    def lines(self, cells: int) -> Sequence[Line]:
        """Return the question and its answers."""
        lines: list[Line] = [((self._text, "bold"),), ()]
        for key, _, text in self._choices():
            lines.append(((key, "key"), (f"  {text}", "")))
        return [*lines, (("Esc", "key"), ("  stay", ""))]

    def press(self, key: str, character: str | None) -> None:
        """Take an answer."""
        if key in ("escape", "enter", "n"):
            self._desk.close_sheet()
            return
        for letter, choice, _ in self._choices():
            if character == letter:
                self._desk.close_sheet()
                self._answer(choice)
                return

    def paste(self, text: str) -> None:
        """Take nothing."""

    def hints(self) -> tuple[tuple[str, str], ...]:
        """Return the keys for the footer."""
        return (*((key, choice) for key, choice, _ in self._choices()), ("Esc", "stay"))
