"""What a worker publishes about itself: who it is, what it serves, and what it holds."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from qdeck import queue as verbs
from qdeck.errors import QdeckError
from qdeck.keys import QueueKeys

if TYPE_CHECKING:
    from qdeck.heart import Heart
    from qdeck.worker import Worker

__all__ = ["describe", "keep_shown", "publish", "sign_off"]

_log = logging.getLogger("qdeck.worker")
#: Seconds between two looks at whether what is published still holds.
LOOK_EVERY = 0.5


def describe(worker: Worker, state: str, *, queues: bool = True) -> list[Any]:
    """Return what is published about this worker, as field and value in turn; thread-safe.

    With `queues` its queues are added to those that there are, which once a minute is enough for.
    """
    runs = worker.held()
    fields: dict[str, Any] = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": _user(),
        "state": state,
        "queues": ",".join(worker.queues),
        "concurrency": worker.concurrency,
        "running": min(len(runs), worker.active),
        "held": " ".join(f"{run.queue}/{run.id}" for run in runs[:200]),
        "started": worker.started_ms,
        "lease": int(worker.deck.settings.lease * 1000),
        "memory": _memory(),
        "done": worker.done,
    }
    flat: list[Any] = [part for pair in fields.items() for part in pair]
    for name in worker.queues if queues else ():
        flat += ("queue", name)
    return flat


async def publish(worker: Worker, served: Sequence[QueueKeys]) -> None:
    """Say which tasks and queues there are, and set the limits that the settings give."""
    deck = worker.deck
    described = []
    for spec in deck.registry:
        described += [spec.name, msgspec.json.encode(spec.describe())]
    if described:
        await deck.call("HSET", deck.shared.tasks, *described)
    for keys in served:
        limit = deck.settings.limits.get(keys.queue)
        if limit is not None:
            await deck.execute(verbs.limit(keys, limit.limit, limit.rate))
    await deck.declare()
    known = " ".join(spec.name for spec in deck.registry)
    fields = [*describe(worker, worker.state), "tasks", known]
    await deck.execute(verbs.register(deck.shared, worker.id, True, fields))


async def keep_shown(worker: Worker) -> None:
    """Publish a change of state or of the number of runs soon, and not only with the next beat."""
    shown = (worker.state, worker.active, worker.concurrency)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = (worker.state, worker.active, worker.concurrency)
        if now == shown:
            continue
        command = verbs.register(worker.deck.shared, worker.id, True, describe(worker, now[0]))
        try:
            await worker.deck.execute(command, patience=1.0)
        except QdeckError as error:
            _log.debug("worker %s: not shown: %s", worker.id, error)
            continue
        shown = now


async def sign_off(worker: Worker, heart: Heart) -> None:
    """End the heart's thread and take the worker from the list."""
    deck = worker.deck
    control = deck.shared.control(worker.id)
    try:
        await deck.connector.lane().call("RPUSH", control, "wake")
        await asyncio.to_thread(heart.join, 2.0)
        # Only now: a beat that was on its way would list the worker again.
        await deck.execute(verbs.register(deck.shared, worker.id, False, ()), patience=1.0)
        await deck.connector.lane().call("DEL", control)
    except Exception as error:
        _log.warning(
            "worker %s: could not sign off: %s", worker.id, deck.connector.translate(error)
        )
        await asyncio.to_thread(heart.join, 2.0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _memory() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
