"""Lanes to a cluster: one lane a node, chosen by the slot of the command's key.

Follows MOVED and ASK, which a server sends instead of executing, and learns the slots anew after a
connection failed. ASKING and its command go side by side over one connection. A command whose keys
lie in two slots is the server's to refuse.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from redis import exceptions as errors

from qdeck.address import Address
from qdeck.dial import Dial
from qdeck.lane import Command, WireLane, WireSyncLane
from qdeck.slots import Node, SlotMap, slot_of, target_of
from qdeck.wire import Word

__all__ = ["ClusterLane", "ClusterSyncLane"]

_REDIRECTIONS = 8
_LOST = (errors.ConnectionError, errors.TimeoutError, errors.ClusterDownError)
_LEARN = ("CLUSTER", "SLOTS")


def _dial(address: Address, node: Node, block: float) -> Dial:
    return Dial(replace(address, kind="redis", hosts=(node,)), block=block)


def _unreachable(last: Exception | None) -> errors.ConnectionError:
    return errors.ConnectionError(f"no node of the cluster answers ({last})")


class ClusterLane:
    """A lane to every primary; belongs to one event loop."""

    def __init__(self, address: Address, block: float = 0.0) -> None:
        self._address = address
        self._block = block
        self._lanes: dict[Node, WireLane] = {}
        self._slots: SlotMap | None = None
        self._learning = asyncio.Lock()

    async def call(self, *words: Word) -> Any:
        """Sends one command to the node of its key and returns its reply."""
        for _ in range(_REDIRECTIONS):
            node = await self._owner(words)
            try:
                return await self._lane(node).call(*words)
            except errors.AskError as error:
                if isinstance(error, errors.MovedError):
                    self.notice(error, node)
                    continue
                lane = self._lane(target_of(error, node))
                _, reply = await lane.call_many([("ASKING",), words])
                if isinstance(reply, Exception):
                    raise reply from None
                return reply
            except _LOST:
                self._slots = None
                raise
        raise errors.ClusterDownError("the nodes send each other's slots around")

    async def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip a node; returns replies in order, errors as values."""
        places: dict[Node, list[int]] = defaultdict(list)
        for index, words in enumerate(commands):
            places[await self._owner(words)].append(index)
        replies: list[Any] = [None] * len(commands)

        async def send(node: Node, indexes: list[int]) -> None:
            try:
                found = await self._lane(node).call_many([commands[index] for index in indexes])
            except _LOST:
                self._slots = None
                raise
            for index, reply in zip(indexes, found, strict=True):
                replies[index] = reply

        async with asyncio.TaskGroup() as group:
            sent = [group.create_task(_caught(send(*place))) for place in places.items()]
        for one in sent:
            if (error := one.result()) is not None:
                raise error
        for index, reply in enumerate(replies):
            if isinstance(reply, errors.AskError):
                replies[index] = await _caught_value(self.call(*commands[index]))
        return replies

    async def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection to the node of the first one's key."""
        for _ in range(_REDIRECTIONS):
            node = await self._owner(first)
            try:
                return await self._lane(node).call_pair(first, second)
            except errors.MovedError as error:
                self.notice(error, node)
            except _LOST:
                self._slots = None
                raise
        raise errors.ClusterDownError("the nodes send each other's slots around")

    async def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to every primary; returns a reply each, errors as values."""
        slots = self._slots or await self._learn()
        lanes = [self._lane(node) for node in slots.primaries]
        replies = await asyncio.gather(*(lane.call_many([words]) for lane in lanes))
        return [reply for (reply,) in replies]

    async def part(self, words: Command) -> WireLane:
        """Returns the lane of the one node that takes this command."""
        return self._lane(await self._owner(words))

    def notice(self, error: BaseException, asked: Node | None = None) -> None:
        """Learns from an error of a part: a moved slot, or a node that is gone."""
        if isinstance(error, errors.MovedError) and self._slots is not None and asked is not None:
            self._slots.move(int(error.slot_id), target_of(error, asked))
        else:
            self._slots = None

    async def aclose(self) -> None:
        """Closes the connections; a later call opens new ones."""
        lanes, self._lanes = self._lanes, {}
        self._slots = None
        for lane in lanes.values():
            await lane.aclose()

    def _lane(self, node: Node) -> WireLane:
        lane = self._lanes.get(node)
        if lane is None:
            lane = self._lanes[node] = WireLane(_dial(self._address, node, self._block))
        return lane

    async def _owner(self, words: Command) -> Node:
        slots = self._slots or await self._learn()
        try:
            return slots.owner(slot_of(words))
        except errors.ClusterDownError:
            self._slots = None
            raise

    async def _learn(self) -> SlotMap:
        async with self._learning:
            if self._slots is not None:
                return self._slots
            last: Exception | None = None
            for node in dict.fromkeys([*self._lanes, *self._address.hosts]):
                try:
                    reply = await self._lane(node).call(*_LEARN)
                except errors.AuthenticationError:
                    raise
                except (errors.ConnectionError, errors.TimeoutError) as error:
                    last = error
                    continue
                self._slots = SlotMap(reply, node)
                return self._slots
            raise _unreachable(last)


class ClusterSyncLane:
    """A blocking lane to every primary; thread-safe."""

    def __init__(self, address: Address, block: float = 0.0) -> None:
        self._address = address
        self._block = block
        self._lanes: dict[Node, WireSyncLane] = {}
        self._slots: SlotMap | None = None
        self._mutex = threading.Lock()

    def call(self, *words: Word) -> Any:
        """Sends one command to the node of its key and returns its reply."""
        for _ in range(_REDIRECTIONS):
            node = self._owner(words)
            try:
                return self._lane(node).call(*words)
            except errors.AskError as error:
                if isinstance(error, errors.MovedError):
                    self._notice(error, node)
                    continue
                _, reply = self._lane(target_of(error, node)).call_many([("ASKING",), words])
                if isinstance(reply, Exception):
                    raise reply from None
                return reply
            except _LOST:
                self._slots = None
                raise
        raise errors.ClusterDownError("the nodes send each other's slots around")

    def call_many(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one round trip a node; returns replies in order, errors as values."""
        places: dict[Node, list[int]] = defaultdict(list)
        for index, words in enumerate(commands):
            places[self._owner(words)].append(index)
        replies: list[Any] = [None] * len(commands)
        for node, indexes in places.items():
            try:
                found = self._lane(node).call_many([commands[index] for index in indexes])
            except _LOST:
                self._slots = None
                raise
            for index, reply in zip(indexes, found, strict=True):
                replies[index] = reply
        for index, reply in enumerate(replies):
            if isinstance(reply, errors.AskError):
                try:
                    replies[index] = self.call(*commands[index])
                except errors.ResponseError as error:
                    replies[index] = error
        return replies

    def call_pair(self, first: Command, second: Command) -> tuple[Any, Any]:
        """Sends two commands over one connection to the node of the first one's key."""
        for _ in range(_REDIRECTIONS):
            node = self._owner(first)
            try:
                return self._lane(node).call_pair(first, second)
            except errors.MovedError as error:
                self._notice(error, node)
            except _LOST:
                self._slots = None
                raise
        raise errors.ClusterDownError("the nodes send each other's slots around")

    def call_everywhere(self, *words: Word) -> list[Any]:
        """Sends one command to every primary; returns a reply each, errors as values."""
        slots = self._slots or self._learn()
        return [self._lane(node).call_many([words])[0] for node in slots.primaries]

    def close(self) -> None:
        """Closes the idle connections; a later call opens new ones."""
        with self._mutex:
            lanes, self._lanes = self._lanes, {}
            self._slots = None
        for lane in lanes.values():
            lane.close()

    def _notice(self, error: errors.MovedError, asked: Node) -> None:
        slots = self._slots
        if slots is not None:
            slots.move(int(error.slot_id), target_of(error, asked))

    def _lane(self, node: Node) -> WireSyncLane:
        with self._mutex:
            lane = self._lanes.get(node)
            if lane is None:
                lane = self._lanes[node] = WireSyncLane(_dial(self._address, node, self._block))
            return lane

    def _owner(self, words: Command) -> Node:
        slots = self._slots or self._learn()
        try:
            return slots.owner(slot_of(words))
        except errors.ClusterDownError:
            self._slots = None
            raise

    def _learn(self) -> SlotMap:
        last: Exception | None = None
        with self._mutex:
            known = [*self._lanes]
        for node in dict.fromkeys([*known, *self._address.hosts]):
            try:
                reply = self._lane(node).call(*_LEARN)
            except errors.AuthenticationError:
                raise
            except (errors.ConnectionError, errors.TimeoutError) as error:
                last = error
                continue
            slots = self._slots = SlotMap(reply, node)
            return slots
        raise _unreachable(last)


async def _caught(work: Any) -> Exception | None:
    """Awaits; returns the error of the connection, so that a group's siblings end by themselves."""
    try:
        await work
    except _LOST as error:
        return error
    return None


async def _caught_value(work: Any) -> Any:
    try:
        return await work
    except errors.ResponseError as error:
        return error
