"""What becomes of local workers when the console exits: one question with three answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qdeck.admin import WorkerRow
from qdeck_tui.format import plural
from qdeck_tui.local import Closing, LocalWorker
from qdeck_tui.widgets.canvas import Line

if TYPE_CHECKING:
    from qdeck_tui.desk import Console

__all__ = ["QuitSheet"]


# Seconds without a key before an answer is taken: one in the packet of the key that asks is none.
PAUSE = 0.1


class QuitSheet:
    """Asks; Enter and Esc stay. What was typed ahead of it is dropped."""

    bare = low = False

    def __init__(
        self, workers: Sequence[LocalWorker], desk: Console, answer: Callable[[Closing], None]
    ) -> None:
        self.title = "QUIT"
        self._desk = desk
        self._answer = answer
        self._workers = workers
        self._running = {w.id: w.running for w in workers if w.kind == "thread"}
        self._leavable = any(worker.kind == "process" for worker in workers)
        self._waits = 0
        self._disturb()

    def _disturb(self) -> None:
        self._waits += 1
        self._desk.later(PAUSE, self._rested)

    def _rested(self) -> None:
        self._waits -= 1

    def tell(self, crew: Sequence[WorkerRow]) -> None:
        """Take what child processes run, which only the server knows."""
        mine = {worker.id for worker in self._workers}
        known = {row.id: row.running for row in crew if row.id in mine and row.running is not None}
        self._running = {**known, **self._running}
        self._desk.update_sheet()

    def _asked(self) -> str:
        known = all(worker.id in self._running for worker in self._workers)
        running = plural(sum(self._running.values()), "running job") if known else "? running jobs"
        return f"{plural(len(self._workers), 'local worker')} with {running}"

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
        lines: list[Line] = [((self._asked(), "bold"),), ()]
        for key, _, text in self._choices():
            lines.append(((key, "key"), (f"  {text}", "")))
        return [*lines, (("Esc", "key"), ("  stay", ""))]

    def press(self, key: str, character: str | None) -> None:
        """Take an answer."""
        if key in ("escape", "enter", "n"):
            self._desk.close_sheet()
            return
        if self._waits:
            self._disturb()
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
