"""A deck without a server, which keeps what would be sent."""

from __future__ import annotations

from typing import Any, TypeVar

import qdeck
from qdeck.flow import Flow
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

    async def send_flow(self, flow: Flow) -> list[qdeck.Job[Any]]:
        return self.send_flow_sync(flow)

    def send_flow_sync(self, flow: Flow) -> list[qdeck.Job[Any]]:
        return [self.send_sync(call) for call in flow.calls]
