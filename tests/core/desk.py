"""A deck with an operator's door, and a hand that claims and settles jobs like a worker would."""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any, Self

from qdeck import queue as verbs
from qdeck.admin import Operation
from qdeck.deck import Deck
from qdeck.operator import Operator
from qdeck.queue import Claimed, Turn
from qdeck.record import Settle

__all__ = ["Desk"]


class Desk:
    """Use as an async context manager; everything under the prefix is the test's own."""

    def __init__(self, url: str, prefix: str, **settings: Any) -> None:
        self.deck = Deck(url, prefix=prefix, **settings)
        self.operator: Operator = self.deck.admin(actor="ana@here")
        self._counter = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self.deck.connector.ensure()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.operator.close()
        await self.deck.close()

    async def put(
        self, count: int, queue: str = "q", task: str = "job", **options: Any
    ) -> list[str]:
        """Enqueue jobs with the arguments {"n": 0…}; return their ids."""
        made = [
            await self.deck.enqueue(task, {"n": n}, queue=queue, **options) for n in range(count)
        ]
        return [job.id for job in made]

    async def claim(self, count: int, queue: str = "q", worker: str = "w1") -> list[Claimed]:
        """Claim jobs as a worker."""
        return (await self._turn(queue, worker, count, [])).claimed

    async def settle(
        self, settles: list[Settle], queue: str = "q", worker: str = "w1"
    ) -> list[str]:
        """Settle runs as a worker; return the states they led to."""
        return (await self._turn(queue, worker, 0, settles)).settled

    async def complete(self, count: int, queue: str = "q", task: str = "job") -> list[str]:
        """Claim and complete jobs; return their ids."""
        claimed = await self.claim(count, queue)
        done = [Settle(each.id, each.fence, "c", task, 12.0, '"done"') for each in claimed]
        await self.settle(done, queue)
        return [each.id for each in claimed]

    async def fail(
        self,
        count: int,
        queue: str = "q",
        task: str = "job",
        *,
        final: bool = True,
        delay_ms: int = 60_000,
        message: str = "no route to host",
        fingerprint: str = "f1",
    ) -> list[str]:
        """Claim jobs and let them die, or with `final=False` wait for a retry; return their ids."""
        claimed = await self.claim(count, queue)
        failed = [
            Settle(
                each.id,
                each.fence,
                "f",
                task,
                12.0,
                delay_ms,
                3,
                "no use" if final else None,
                "OSError",
                message,
                "Traceback …",
                fingerprint,
            )
            for each in claimed
        ]
        await self.settle(failed, queue)
        return [each.id for each in claimed]

    async def tend(self, queue: str = "q") -> None:
        """Look after a queue as a worker does, until nothing is left to do."""
        for _ in range(5):
            command = verbs.tend(self.deck.keys(queue), 15.0, 3)
            await self.deck.execute(command)

    async def call(self, *words: Any) -> Any:
        """Send one command to the server."""
        return await self.deck.connector.lane().call(*words)

    async def finish(self, operation: Operation) -> Operation:
        """Advance an operation to its end."""
        while operation.state == "running":
            operation = await self.operator.advance(operation.id, operation.queue)
        return operation

    async def _turn(self, queue: str, worker: str, want: int, settles: list[Settle]) -> Turn:
        command = verbs.work(
            self.deck.keys(queue), worker, next(self._counter), want, 15.0, settles
        )
        return verbs.read_turn(await self.deck.execute(command))
