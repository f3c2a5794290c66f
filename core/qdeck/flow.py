"""Jobs that wait for others: chains, groups, and what is made of both.

Owns the frozen `Flow`: which calls there are and which of them each one waits for. It sends
nothing; the deck that made its calls does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

from qdeck.errors import InvalidTask
from qdeck.job import Job
from qdeck.task import Call, Sender

__all__ = ["CanCall", "Flow", "Step", "call_of"]

R = TypeVar("R")

#: A flow may have this many jobs, and this many times may one of them wait for another.
MOST_JOBS: Final = 10_000
MOST_WAITS: Final = 20_000


class CanCall(Protocol[R]):
    """Something that can say itself as one call: a call, a task's instance, or its dispatch."""

    def call(self) -> Call[R]:
        """Return the call."""
        ...


def call_of(step: CanCall[R]) -> Call[R]:
    """Return the call that something is; raises InvalidTask for what is none."""
    call = None if isinstance(step, type) else getattr(step, "call", None)
    if not callable(call):
        raise InvalidTask(
            f"{step!r:.100} cannot be a step, nor enqueued; give a call as in "
            "send_email.call(...), an instance of a task class, or in a flow deck.group([...])"
        )
    found: Call[R] = call()
    return found


class Flow(msgspec.Struct, frozen=True):
    """Jobs of which some start only when others have completed.

    `after` has, for each call, the places of the calls it waits for; these stand before it.
    """

    calls: tuple[Call[Any], ...]
    after: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(step: Step) -> Flow:
        """Return a flow of one step, or the flow that it is."""
        if isinstance(step, Flow):
            return step
        return Flow((call_of(step),), ((),))

    @staticmethod
    def beside(steps: Sequence[Step]) -> Flow:
        """Return a flow of steps that do not wait for each other."""
        if not steps:
            raise InvalidTask("a group needs at least one step")
        calls: list[Call[Any]] = []
        after: list[tuple[int, ...]] = []
        for step in steps:
            flow, start = Flow.of(step), len(calls)
            calls += flow.calls
            after += [tuple(at + start for at in places) for places in flow.after]
        return _checked(calls, after)

    def then(self, *steps: Step) -> Flow:
        """Return a flow in which a step starts when all that had nothing after them are completed.

        Of several steps each one waits for the one before.
        """
        flow = self
        for step in steps:
            flow = flow._then(Flow.of(step))
        return flow

    def _then(self, other: Flow) -> Flow:
        waited = {at for places in self.after for at in places}
        last = tuple(at for at in range(len(self.calls)) if at not in waited)
        start = len(self.calls)
        after = [tuple(at + start for at in places) or last for places in other.after]
        return _checked([*self.calls, *other.calls], [*self.after, *after])

    async def enqueue(self) -> list[Job[Any]]:
        """Enqueue all jobs and return them in the order in which they were given.

        Those that wait are `scheduled` until what they wait for has completed. Raises as the
        enqueue of a task does; what waits is stored first, so nothing starts of a part.
        """
        return await self._sender().send_flow(self)

    def enqueue_sync(self) -> list[Job[Any]]:
        """Do what `enqueue` does, without an event loop."""
        return self._sender().send_flow_sync(self)

    async def dispatch(self) -> list[Job[Any]]:
        """Do what `enqueue` does, by the word of task classes."""
        return await self.enqueue()

    def dispatch_sync(self) -> list[Job[Any]]:
        """Do what `dispatch` does, without an event loop."""
        return self.enqueue_sync()

    def _sender(self) -> Sender:
        senders = {id(call.sender): call.sender for call in self.calls if call.sender is not None}
        if len(senders) != 1:
            raise InvalidTask(
                f"the steps of a flow belong to {len(senders)} decks; they must belong to one"
            )
        return next(iter(senders.values()))


#: What `then` and `deck.group` take.
Step: TypeAlias = CanCall[Any] | Flow


def _checked(calls: list[Call[Any]], after: list[tuple[int, ...]]) -> Flow:
    waits = sum(map(len, after))
    if len(calls) > MOST_JOBS or waits > MOST_WAITS:
        raise InvalidTask(
            f"a flow of {len(calls)} jobs that wait {waits} times is too large; at most "
            f"{MOST_JOBS} and {MOST_WAITS}, so put one job between two large groups"
        )
    return Flow(tuple(calls), tuple(after))
