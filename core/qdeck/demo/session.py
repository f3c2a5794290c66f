"""One visit of the demo: a folder for its output, its jobs on the server, and nothing left after.

Owns the enqueueing of a plan and the removal of folder and keys. Who runs the jobs is not its
business.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from qdeck.demo.plan import ROUND, Planned, plan, source_files, stream
from qdeck.demo.tasks import deck
from qdeck.job import Job

__all__ = ["Session"]


class Session:
    """A visit, to be entered with `async with`; leaving it deletes the demo's keys and its folder.

    `folder` is where the tasks write, `seed` decides the plan, `root` is the tree of files.
    """

    def __init__(self, seed: int = 1, root: Path | None = None) -> None:
        self.seed = seed
        self.root = root
        self.folder = Path()
        self.files: tuple[Path, ...] = ()

    async def __aenter__(self) -> Self:
        self.files = await asyncio.to_thread(source_files, self.root)
        self.folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="qdeck-demo-"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await erase()
        finally:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
            await deck.close()

    def plan(self, count: int) -> list[Planned]:
        """Return the first `count` jobs."""
        return plan(count, self.seed, self.folder, self.files)

    async def enqueue(self, planned: Sequence[Planned]) -> dict[int, Job[Any]]:
        """Enqueue a plan, a round at a time, and return the jobs by their numbers."""
        jobs: dict[int, Job[Any]] = {}
        for start in range(0, len(planned), len(ROUND)):
            batch = planned[start : start + len(ROUND)]
            await _enqueue([one for one in batch if not one.inputs], jobs)
            await _enqueue([one for one in batch if one.inputs], jobs)
        return jobs

    async def feed(self, per_second: float = 5.0) -> None:
        """Enqueue the demo's jobs at that rate until cancelled."""
        ids: dict[int, str] = {}
        for one in stream(self.seed, self.folder, self.files):
            job = await deck.send(one.call(ids))
            ids[one.number] = job.id
            ids.pop(one.number - len(ROUND), None)
            await asyncio.sleep(1 / per_second)


async def erase() -> None:
    """Delete every key of the demo's prefix, in bounded steps."""
    prefix = deck.settings.prefix
    for pattern in (f"{{{prefix}}}:*", f"{{{prefix}:*"):
        cursor: Any = 0
        while True:
            cursor, keys = await deck.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if keys:
                await deck.call("UNLINK", *keys)
            if not int(cursor):
                break


async def _enqueue(batch: Iterable[Planned], jobs: dict[int, Job[Any]]) -> None:
    batch = list(batch)
    ids = {number: job.id for number, job in jobs.items()}
    made = await deck.enqueue_many(one.call(ids) for one in batch)
    jobs.update(zip((one.number for one in batch), made, strict=True))
