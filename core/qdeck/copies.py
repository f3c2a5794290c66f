"""Where a cleared job is kept, without scripts: the copies of its queue are asked one by one.

Pure: yields commands and takes their replies, for a caller with or without an event loop.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from qdeck.keys import QueueKeys

__all__ = ["MOST", "REASON", "Copy", "copy_of"]

#: What stands as the reason of a job that was cleared.
REASON: Final = "cleared"
#: Copies that a queue keeps at most.
MOST: Final = 100
_SETS: Final = 2000


class Copy(NamedTuple):
    """The copy that holds a job, and when it was made (ms)."""

    id: str
    at: int


def copy_of(keys: QueueKeys, job_id: str) -> Generator[Sequence[Any], Any, Copy | None]:
    """Find the copy that holds a job; one command where nothing was cleared."""
    for raw in (yield ("ZRANGE", keys.cleared, 0, MOST - 1)) or ():
        copy = raw.decode()
        sets, at = yield ("HMGET", keys.trash(copy), "job_sets", "at")
        for number in range(1, min(_whole(sets), _SETS) + 1):
            if (yield ("ZSCORE", keys.trash_set(copy, number), job_id)) is not None:
                return Copy(copy, _whole(at))
    return None


def _whole(raw: Any) -> int:
    return int(raw) if isinstance(raw, bytes) and raw.isdigit() else 0
