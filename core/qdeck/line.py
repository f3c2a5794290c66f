"""A worker's view of its queues: which have a reason to be non-empty, and in which order."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from qdeck.courier import settle_links
from qdeck.errors import ConnectionFailed, QdeckError, SettingsError
from qdeck.queue import Turn, read_tend
from qdeck.record import Settle
from qdeck.settings import check_name

if TYPE_CHECKING:
    from qdeck.deck import Deck

__all__ = ["Line", "Lines", "parse_queues"]

_log = logging.getLogger("qdeck.worker")
#: What a queue without a weight counts for beside queues with one.
_UNWEIGHTED: Final = 10
_LONGEST_PAUSE: Final = 5.0
#: Seconds between looks at an empty queue while others keep the worker busy.
LOOK_EVERY: Final = 0.2


def parse_queues(queues: str | Sequence[str]) -> list[tuple[str, int | None]]:
    """Return (name, weight or None) of queues as given: "a,b:3" or a list; raises SettingsError."""
    words = queues.split(",") if isinstance(queues, str) else queues
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise SettingsError(
            f'queues {queues!r} are not usable; give names, as in ["mail", "bulk:2"]'
        )
    found: dict[str, int | None] = {}
    for word in words:
        name, colon, weight = word.strip().partition(":")
        check_name("queue", name)
        if colon and not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= 1000):
            raise SettingsError(
                f"queue {word!r}: the weight must be a whole number from 1 to 1000, as in {name}:3"
            )
        found[name] = int(weight) if colon else None
    if not found:
        raise SettingsError("a worker needs at least one queue")
    return list(found.items())


class Line:
    """One queue of one worker.

    `hot` says that a claim may find jobs, `popped` that its marker was taken and a claim must
    follow, `finished` holds settles that are not sent yet. `owed` is what a turn that failed asked
    for: it may have been claimed, and comes again with its repeat.
    """

    __slots__ = (
        "_deck",
        "_due_at",
        "_not_before",
        "_pause",
        "finished",
        "hot",
        "keys",
        "looked",
        "name",
        "owed",
        "popped",
        "turns",
        "weight",
    )

    def __init__(self, deck: Deck, name: str, weight: int | None) -> None:
        self._deck = deck
        self.name = name
        self.weight = weight
        self.keys = deck.keys(name)
        self.hot = True
        self.popped = False
        self.finished: list[Settle] = []
        self.turns = 0
        self.owed = 0
        self.looked = 0.0
        self._due_at: float | None = 0.0
        self._not_before = 0.0
        self._pause = 0.0

    def due(self) -> bool:
        """Whether a delayed job or an ended lease waits to be tended."""
        if self._due_at is None:
            return False
        now = time.monotonic()
        return self._due_at <= now and self._not_before <= now

    def ready_again(self) -> bool:
        """Whether the pause after a failure is over."""
        return self._not_before <= time.monotonic()

    @property
    def patience(self) -> float:
        """Seconds to repeat a call; others do not wait for a queue that cannot be served."""
        return 0.01 if self._pause else 2.0

    @property
    def next_at(self) -> float | None:
        """When there is a reason to look again, in monotonic seconds."""
        if self._not_before > time.monotonic():
            return self._not_before
        return self._due_at

    def take(self, turn: Turn, want: int, settled: int) -> None:
        """Note what a turn said."""
        del self.finished[:settled]
        self._pause = 0.0
        self._due_at = None if turn.next_s is None else time.monotonic() + turn.next_s
        if want > 0:
            self.looked = time.monotonic()
            self.hot = turn.again or len(turn.claimed) == want

    def tended(self, answer: list[Any]) -> bool:
        """Note what tending said, and return whether leases were lost.

        A claim follows, since it lets others see that somebody lives.
        """
        next_s, _, lost = read_tend(answer)
        for job_id in lost:
            _log.warning(
                "queue %s: job %s came back from a worker that vanished", self.name, job_id
            )
        self._pause = 0.0
        self._due_at = None if next_s is None else time.monotonic() + max(next_s, 0.002)
        self.hot = True
        return bool(lost)

    def fail(self, error: Exception) -> None:
        """Note that the queue cannot be served now: log it and pause, longer each time."""
        away = isinstance(error, ConnectionFailed)
        self._pause = min(max(self._pause * 2, 0.5), 1.0 if away else _LONGEST_PAUSE)
        self._not_before = time.monotonic() + self._pause
        self.hot = True
        surprise = not isinstance(error, QdeckError)
        _log.error(
            "queue %s: %s (again in %.1f s)", self.name, error, self._pause, exc_info=surprise
        )


class Lines:
    """The queues of one worker, in strict order, or by weight where weights are given."""

    def __init__(self, queues: list[tuple[str, int | None]], deck: Deck) -> None:
        self._deck = deck
        self._lines = [Line(deck, name, weight) for name, weight in queues]
        self._weighted = any(line.weight is not None for line in self._lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def named(self, queue: str) -> Line:
        """Return the line of a queue that is served."""
        return next(line for line in self._lines if line.name == queue)

    def order(self) -> list[Line]:
        """Return the queues in the order of this round."""
        if not self._weighted:
            return self._lines
        return sorted(
            self._lines,
            key=lambda line: random.random() ** (1 / (line.weight or _UNWEIGHTED)),
            reverse=True,
        )

    def look_again(self) -> None:
        """Have queues claimed from that looked empty a moment ago, while another one keeps busy.

        A busy worker waits on no marker, and an earlier queue does not wait till a later one ends.
        """
        if len(self._lines) > 1 and any(line.hot for line in self._lines):
            before = time.monotonic() - LOOK_EVERY
            for line in self._lines:
                if line.looked < before:
                    line.hot = True

    def heat(self) -> None:
        """Have every queue claimed from."""
        for line in self._lines:
            line.hot = True

    def dry(self) -> bool:
        """Whether no queue has a reason to be non-empty, nor something due now or to settle."""
        return not any(
            line.hot or line.finished or line.popped or line.due() for line in self._lines
        )

    def next_at(self) -> float | None:
        """Return when the first queue has a reason to be looked at, in monotonic seconds."""
        # Read once each: what a queue waits for may pass meanwhile.
        times = [at for line in self._lines if (at := line.next_at) is not None]
        return min(times, default=None)

    async def drained(self) -> bool:
        """Whether nothing is pending or running in any queue, on other workers too."""
        for line in self._lines:
            try:
                paused = await self._deck.call("HEXISTS", line.keys.meta, "paused")
                if await self._deck.call("ZCARD", line.keys.lease):
                    return False
                if not paused and await self._deck.call("ZCARD", line.keys.ready):
                    return False
                if await settle_links(self._deck, line.name):
                    return False
            except QdeckError as error:
                line.fail(error)
                return False
        return True
