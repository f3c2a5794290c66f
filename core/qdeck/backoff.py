"""How long a failed job waits before its next run.

Owns the ways to say it (seconds, a list, a function, `fixed`, `exponential`) and turns each into
one callable: number of the failed run, from 1, to seconds. It never overflows and never returns
NaN, infinity or a negative number. Which run failed, and when the next one is due, is settled
elsewhere.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from qdeck.errors import SettingsError

__all__ = [
    "DEFAULT_BACKOFF",
    "LONGEST_DELAY",
    "Backoff",
    "BackoffLike",
    "as_backoff",
    "exponential",
    "fixed",
    "seconds",
]

Backoff: TypeAlias = Callable[[int], float]
BackoffLike: TypeAlias = float | Sequence[float] | Backoff

#: No delay is longer: ten years, in seconds. Due times stay exact integers of milliseconds.
LONGEST_DELAY: Final = 315_360_000.0

_ALLOWED = "give seconds as a number from 0 up, a list of them, or a function of the attempt"


def seconds(value: object, what: str = "delay") -> float:
    """Return seconds as a float, at most `LONGEST_DELAY`; infinity counts as that.

    Raises SettingsError for NaN, for negative numbers and for what is no number.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(min(value, LONGEST_DELAY))
    raise SettingsError(f"{what} {value!r} is not usable; give seconds as a number from 0 up")


def fixed(delay: float) -> Backoff:
    """Wait the same number of seconds after every failed run."""
    pause = seconds(delay, "backoff")

    def backoff(attempt: int) -> float:
        return pause

    return backoff


def exponential(
    base: float = 1.0, factor: float = 2.0, cap: float = 3600.0, jitter: float = 0.0
) -> Backoff:
    """Wait `base * factor ** (attempt - 1)` seconds, at most `cap`.

    `jitter` spreads each delay evenly over that share on both sides (0.2: 80 % to 120 %), still at
    most `cap`.
    """
    base = seconds(base, "backoff base")
    cap = seconds(cap, "backoff cap")
    jitter = seconds(jitter, "backoff jitter")
    factor = float(factor)
    if not 1.0 <= factor < math.inf:
        raise SettingsError(f"backoff factor {factor!r} is not usable; give a number from 1 up")
    if jitter > 1.0:
        raise SettingsError(f"backoff jitter {jitter!r} is not usable; give a share from 0 to 1")

    def backoff(attempt: int) -> float:
        try:
            delay = min(base * factor ** max(attempt - 1, 0), cap)
        except OverflowError:
            delay = cap if base else 0.0
        if jitter:
            delay = min(delay * random.uniform(1.0 - jitter, 1.0 + jitter), cap)
        return delay

    return backoff


def as_backoff(value: BackoffLike) -> Backoff:
    """Return a backoff for seconds, a list of seconds (its last one repeats) or a function.

    A function's answer is checked at each call: SettingsError for NaN, negative numbers and for
    what is no number; infinity becomes `LONGEST_DELAY`.
    """
    if callable(value):
        function = value

        def checked(attempt: int) -> float:
            return seconds(function(attempt), "a backoff function's answer")

        return checked
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        delays = tuple(seconds(item, "backoff") for item in value)
        if not delays:
            raise SettingsError(f"backoff {value!r} is empty; {_ALLOWED}")

        def listed(attempt: int) -> float:
            return delays[min(max(attempt, 1), len(delays)) - 1]

        return listed
    if isinstance(value, (int, float)):
        return fixed(value)
    raise SettingsError(f"backoff {value!r} is not usable; {_ALLOWED}")


#: 1, 2, 4, 8 … seconds, at most an hour.
DEFAULT_BACKOFF: Final[Backoff] = exponential()
