"""The Lua scripts as values, and the one place that sends them.

Each file under `lua/` is one verb: one atomic change, with its promise, KEYS, ARGV and answer in
its header. What several share is a part, which stands in for a line `-- With: its_name`.
Everything here may be repeated by who calls it; nothing here repeats by itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Protocol

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from qdeck.errors import QdeckError, QueueFull, SettingsError, WrongState
from qdeck.keys import kind_of

__all__ = ["AsyncLink", "Command", "Script", "SyncLink", "run", "run_sync", "script"]


class AsyncLink(Protocol):
    """Sends one command and waits for its answer; raises redis-py's errors."""

    async def call(self, *args: Any) -> Any:
        """Send a command."""
        ...


class SyncLink(Protocol):
    """The same without an event loop."""

    def call(self, *args: Any) -> Any:
        """Send a command."""
        ...


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua file: its name, text and SHA-1."""

    name: str
    text: str
    sha: str


class Command(msgspec.Struct, frozen=True):
    """A script with its keys and arguments, ready to send, once or again."""

    script: Script
    keys: tuple[str, ...]
    args: Sequence[Any] = ()


#: Where a part stands in for a line of a script.
_WITH: Final = re.compile(r"^-- With: (\w+)\n", re.MULTILINE)


def _read(name: str) -> str:
    text = files("qdeck").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    return _WITH.sub(lambda match: _read(f"parts/{match[1]}"), text)


@cache
def script(name: str) -> Script:
    """Return a script by the name of its file, with the parts that it shares with others."""
    text = _read(name)
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


async def run(link: AsyncLink, command: Command) -> Any:
    """Send a script by its hash; its text goes along once, where the server does not know it."""
    known, keys = command.script, command.keys
    try:
        try:
            return await link.call("EVALSHA", known.sha, len(keys), *keys, *command.args)
        except NoScriptError:
            return await link.call("EVAL", known.text, len(keys), *keys, *command.args)
    except ResponseError as error:
        if "WRONGTYPE" in str(error):
            for key in keys:
                _check_kind(key, await link.call("TYPE", key))
        raise explain(error) from error


def run_sync(link: SyncLink, command: Command) -> Any:
    """Do what `run` does, without an event loop."""
    known, keys = command.script, command.keys
    try:
        try:
            return link.call("EVALSHA", known.sha, len(keys), *keys, *command.args)
        except NoScriptError:
            return link.call("EVAL", known.text, len(keys), *keys, *command.args)
    except ResponseError as error:
        if "WRONGTYPE" in str(error):
            for key in keys:
                _check_kind(key, link.call("TYPE", key))
        raise explain(error) from error


def _check_kind(key: str, answer: bytes | str) -> None:
    """Raise for a key of another type than the scripts expect, by its name."""
    found = answer.decode() if isinstance(answer, bytes) else str(answer)
    wanted = kind_of(key)
    if wanted is not None and found not in (wanted, "none"):
        raise SettingsError(_MISUSED.format(f"{key} is a {found}, not a {wanted}"))


_MISUSED = "{}: something else uses this key; choose another prefix or delete it"


def explain(error: ResponseError) -> Exception:
    """Return the error that a script's own refusal stands for; other errors as they are."""
    word, _, rest = str(error).partition(" ")
    made: dict[str, type[QdeckError]] = {
        "QFULL": QueueFull,
        "QSTATE": WrongState,
        "QKIND": SettingsError,
        "QBODY": SettingsError,
    }
    if word not in made:
        return error
    hint = {
        "QFULL": f"the queue holds {rest} unfinished jobs allowed by max_size; nothing was written",
        "QSTATE": f"the operation is {rest}; make a new one",
        "QKIND": _MISUSED.format(rest),
        "QBODY": rest,
    }[word]
    return made[word](hint)
