"""Scripts on a real server under a clock that the test sets: the one thing replaced is `TIME`."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import redis

from qdeck.keys import QueueKeys
from qdeck.scripts import Command, Script, run_sync

__all__ = ["START", "Bench", "Link"]

#: Later than any real clock, so that no key with a time to live goes by itself during a test.
START: Final = 4_000_000_000_000


class Link:
    """Sends commands of the engine over a redis-py client."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def call(self, *args: Any) -> Any:
        """Send a command and return its raw reply."""
        return self.client.execute_command(*args)


class Bench:
    """One queue on a server whose time is `now`; time passes by `advance` alone."""

    def __init__(self, client: redis.Redis, keys: QueueKeys, now: int = START) -> None:
        self.client, self.keys, self.now = client, keys, now
        self._link = Link(client)
        self._clock = keys.tag + "clock"
        self._known: dict[str, Script] = {}
        self.advance(0)

    def advance(self, ms: int) -> None:
        """Let time pass (or step back), and drop the keys that lived until then."""
        self.now += ms
        self.client.hset(self._clock, mapping={"s": self.now // 1000, "u": self.now % 1000 * 1000})
        for key in self.client.keys(self.keys.tag.replace("{", "[{]") + "unique:*"):
            left = self.client.pttl(key)
            if left >= 0 and self._real_now() + left <= self.now + 500:
                self.client.delete(key)

    def _real_now(self) -> int:
        seconds, micros = self.client.time()
        return int(seconds * 1000 + micros // 1000)

    def run(self, command: Command) -> Any:
        """Run a script by the clock of the test."""
        known = self._known.get(command.script.name)
        if known is None:
            clock = f"call('HMGET', '{self._clock}', 's', 'u')"
            text = command.script.text.replace("call('TIME')", clock)
            sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            known = self._known[command.script.name] = Script(command.script.name, text, sha)
        return run_sync(self._link, Command(known, command.keys, command.args))
