"""Keys that were typed before the rows that they are about: kept in order, a few and for a moment.

It decides nothing: the keyboard puts keys in and takes them out.
"""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

__all__ = ["PATIENCE", "Held", "TypeAhead"]

# Keys that are kept, and the seconds that they are.
MOST = 64
PATIENCE = 3.0


class Held(NamedTuple):
    """One key. `hasty` means that it came so soon after another that it may have been pasted."""

    key: str
    character: str | None
    hasty: bool


class TypeAhead:
    """The keys that wait; true while there are any."""

    def __init__(self) -> None:
        self._keys: list[Held] = []
        self._since = 0.0

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, held: Held) -> bool:
        """Keep a key; False when there is no room, and it is lost."""
        if not self._keys:
            self._since = monotonic()
        if len(self._keys) >= MOST:
            return False
        self._keys.append(held)
        return True

    def next(self) -> Held | None:
        """Return the key that came first, which waits no more; None without any."""
        self._since = monotonic()
        return self._keys.pop(0) if self._keys else None

    def drop(self) -> int:
        """Forget all, and return how many they were."""
        number = len(self._keys)
        self._keys.clear()
        return number

    @property
    def left(self) -> float:
        """The seconds that they are kept yet, at most 0 when it was long enough."""
        return self._since + PATIENCE - monotonic()
