"""What takes a decision tells it from keys that were typed ahead: it counts once its content was
painted and 300 ms have passed without a key.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

__all__ = ["QUIET", "Guarded"]

QUIET = 0.3


class Guarded:
    """A sheet with a decision; `changed` is called after each change that is to be drawn."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._painted = False
        self._last_key = monotonic()

    @property
    def ready(self) -> bool:
        """Whether it knows what it asks."""
        return True

    @property
    def open(self) -> bool:
        """Whether a decision is still to be taken."""
        return True

    def begin(self) -> None:
        """Know that it is laid over a view, and not painted there yet."""
        self._painted = False
        self._last_key = monotonic()

    def painted(self) -> None:
        """Know that the content is on the screen."""
        if self.ready and not self._painted:
            self._painted = True
            self._last_key = monotonic()
            self._changed()

    def rested(self) -> None:
        """Know that no key came for a while: how a decision is drawn may have changed."""
        self._changed()

    @property
    def armed(self) -> bool:
        """Whether a decision would be taken now."""
        return self._painted and self.open and self.wait == 0

    @property
    def settling(self) -> bool:
        """Whether it knows what it asks, and takes no decision yet."""
        return self.ready and self.open and not self.armed

    @property
    def wait(self) -> float:
        """The seconds without a key after which a decision is taken."""
        return max(0.0, self._last_key + QUIET - monotonic())

    def pressed(self) -> bool:
        """Take note of a key; return whether a decision by it counts."""
        armed = self.armed
        self._last_key = monotonic()
        return armed
