"""A deck without a server, which keeps what would be sent."""

from __future__ import annotations

from typing import Any, TypeVar

import qdeck
from qdeck.handle import TaskDecorators
from qdeck.task import Call, Registry

__all__ = ["SentBox"]

R = TypeVar("R")


class SentBox(TaskDecorators):
    """`sent` are the calls, in order."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.sent: list[Call[Any]] = []

    async def send(self, call: Call[R]) -> qdeck.Job[R]:
        return self.send_sync(call)

    def send_sync(self, call: Call[R]) -> qdeck.Job[R]:
        self.sent.append(call)
        state = qdeck.State.PENDING
        return qdeck.Job(id=str(len(self.sent)), task=call.spec.name, queue="x", state=state)
