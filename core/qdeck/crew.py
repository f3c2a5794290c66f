"""The workers that are alive or were within the last day, as rows."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from qdeck.admin import JobRef, WorkerRow, WorkerState
from qdeck.reader import Reader, at_ms, items, number, text

__all__ = ["FIELDS", "listed", "read_workers", "whoami", "worker_row"]

FIELDS: Final = ("beat", "host", "pid", "user", "state", "queues", "concurrency", "running",
                 "held", "started", "lease", "memory", "done", "cpu")  # fmt: skip
_MOST: Final = 1000
_STATES: Final = ("running", "quiet", "stopping", "stuck")


@cache
def whoami() -> tuple[str, str]:
    """Return the user and the host of this process; a user id where no name is known."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return user, socket.gethostname()


def listed(reader: Reader) -> tuple[Any, ...]:
    """Return the command that lists the workers, newest beat first."""
    return ("ZRANGE", reader.deck.shared.workers, 0, _MOST - 1, "REV")


async def read_workers(reader: Reader) -> tuple[WorkerRow, ...]:
    """Return all workers in two round trips, by state and name."""
    names, clock = await reader.read([listed(reader), ("TIME",)])
    ids = [text(name) for name in items(names)]
    shared = reader.deck.shared
    replies = await reader.read([("HMGET", shared.worker(name), *FIELDS) for name in ids])
    now = server_ms(clock)
    lease = reader.deck.settings.lease
    rows = [
        worker_row(name, dict(zip(FIELDS, items(reply), strict=False)), now, lease)
        for name, reply in zip(ids, replies, strict=True)
    ]
    return tuple(
        sorted(rows, key=lambda row: (row.state != "lost", row.host, row.pid or 0, row.id))
    )


def server_ms(reply: Any) -> float | None:
    """Return the server's clock (ms) from the answer to TIME, None without one."""
    if isinstance(reply, dict):
        reply = next(iter(reply.values()), None)
    if isinstance(reply, (list, tuple)) and len(reply) == 2:
        return int(reply[0]) * 1000 + int(reply[1]) / 1000
    return None


def worker_row(
    name: str, fields: Mapping[str, Any], now: float | None, lease_s: float
) -> WorkerRow:
    """Return a worker as a row; it is lost when its last beat is older than two of its leases."""
    beat = number(fields.get("beat"))
    lease = (number(fields.get("lease")) or lease_s * 1000) / 1000
    age = None if beat is None or now is None else max(0.0, (now - beat) / 1000)
    said = text(fields.get("state"))
    state = cast(WorkerState, said if said in _STATES else "running")
    if age is not None and age > 2 * lease:
        state = "lost"
    user, host = whoami()
    pid, slots, running = (number(fields.get(key)) for key in ("pid", "concurrency", "running"))
    memory, done = number(fields.get("memory")), number(fields.get("done"))
    return WorkerRow(
        name,
        text(fields.get("host")),
        None if pid is None else int(pid),
        state,
        tuple(part.partition(":")[0] for part in text(fields.get("queues")).split(",") if part),
        None if slots is None else int(slots),
        None if running is None else int(running),
        at_ms(fields.get("started")),
        age,
        None if memory is None else int(memory),
        None if done is None else int(done),
        (text(fields.get("user")), text(fields.get("host"))) == (user, host),
        tuple(_refs(text(fields.get("held")))),
        number(fields.get("cpu")),
    )


def _refs(held: str) -> list[JobRef]:
    """Return the jobs of a list of `queue/id`."""
    pairs = [part.partition("/") for part in held.split()]
    return [JobRef(job_id, queue) for queue, slash, job_id in pairs if slash and queue and job_id]
