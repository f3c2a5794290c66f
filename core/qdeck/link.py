"""A deck's link to its server: commands that may be repeated, sent until the answer comes.

Owns the repetition after a lost reply and the wording of what failed. Knows no task and no job.
"""

from __future__ import annotations

import time
from typing import Any, Final

from redis.exceptions import RedisError

from qdeck.connection import Connector, repeat, repeat_sync, retryable
from qdeck.keys import QueueKeys, queue_keys, shared_keys
from qdeck.scripts import Command, run, run_sync
from qdeck.settings import Settings, check_name

__all__ = ["SERVER_ERRORS", "Link"]

SERVER_ERRORS: Final = (RedisError, OSError, EOFError)
#: Seconds after which a call whose outcome stays unknown is given up.
PATIENCE: Final = 20.0


class Link:
    """The part of a deck that talks to the server; opens nothing before the first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shared = shared_keys(settings.prefix)
        self.patience = PATIENCE
        self._connector: Connector | None = None
        self._announced: set[str] = set()

    @property
    def connector(self) -> Connector:
        """The way to the server; raises SettingsError on the `sync` connection."""
        if self._connector is None:
            self._connector = Connector(self.settings)
        return self._connector

    def keys(self, queue: str) -> QueueKeys:
        """Return the key names of a queue; raises SettingsError for a bad name."""
        return queue_keys(self.settings.prefix, check_name("queue", queue))

    async def execute(self, command: Command, *, patience: float | None = None) -> Any:
        """Send a repeatable command, again and again for at most `patience` seconds."""
        connector, begun = self.connector, time.monotonic()
        await connector.ensure()
        try:
            try:
                return await run(connector.lane(), command)
            except Exception as error:
                if not retryable(error):
                    raise
                self._announced.clear()
            left = begun + (patience or self.patience) - time.monotonic()
            return await repeat(lambda: run(connector.lane(), command), limit=left)
        except SERVER_ERRORS as error:
            raise connector.translate(error) from error

    def execute_sync(self, command: Command, *, patience: float | None = None) -> Any:
        """Do what `execute` does, without an event loop."""
        connector, begun = self.connector, time.monotonic()
        connector.ensure_sync()
        try:
            try:
                return run_sync(connector.sync_lane(), command)
            except Exception as error:
                if not retryable(error):
                    raise
                self._announced.clear()
            left = begun + (patience or self.patience) - time.monotonic()
            return repeat_sync(lambda: run_sync(connector.sync_lane(), command), limit=left)
        except SERVER_ERRORS as error:
            raise connector.translate(error) from error

    async def call(self, *args: Any) -> Any:
        """Send one plain command that may be repeated."""
        connector = self.connector
        await connector.ensure()
        try:
            return await repeat(lambda: connector.lane().call(*args), limit=self.patience)
        except SERVER_ERRORS as error:
            raise connector.translate(error) from error

    def call_sync(self, *args: Any) -> Any:
        """Send one plain command that may be repeated, without an event loop."""
        connector = self.connector
        connector.ensure_sync()
        try:
            return repeat_sync(lambda: connector.sync_lane().call(*args), limit=self.patience)
        except SERVER_ERRORS as error:
            raise connector.translate(error) from error
