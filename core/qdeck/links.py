"""What ties a job to others, as its record keeps it: who waits for whom, and the key of its limit.

Owns the layout of `Links`, the mark of a job that waits, and the text that names other jobs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

__all__ = ["WAITING", "Links", "decode_names", "encode_names"]

#: The due time, in ms, of a scheduled job that waits for others: no clock ever reaches it.
WAITING: Final = 90_000_000_000_000


class Links(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Ties of one job (see work.lua); "" or 0 where it has none.

    `then` names the jobs that wait for it and `after` the `waits` jobs that it waits for, both as
    `encode_names` writes them. At most `most` jobs with the same `key` run at once in a queue.
    """

    then: str = ""
    after: str = ""
    waits: int = 0
    key: str = ""
    most: int = 0


def encode_names(jobs: Iterable[tuple[str, str]]) -> str:
    """Return (queue, id) of jobs as one text: a line each, queue and id with a space between."""
    return "\n".join(f"{queue} {job_id}" for queue, job_id in jobs)


def decode_names(text: str) -> list[tuple[str, str]]:
    """Return (queue, id) of the jobs that a text names; lines that name none are left out."""
    found = [line.partition(" ") for line in text.split("\n")]
    return [(queue, job_id) for queue, space, job_id in found if queue and job_id and space]
