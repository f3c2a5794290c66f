"""A console on a twin all of whose texts are hostile; run as a program in a terminal."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from typing import Any, cast

from tests.tui.plans import planned

from qdeck.admin import Admin

HOSTILE = (
    "\x1b]52;c;cHduZWQ=\x07\x1b[66;77H\x1b[?1337h\x1bP+q544e\x1b\\\x1b]0;title\x1b\\\x9b99m\x00"
    "[bold red]loud[/] \u202eRTL\u2066 \u200bzero\u200d e\u0301\u0489 漢字 \U0001f600\ufe0f"
    " \x7f\x85\u2028\tend"
)
LONG = HOSTILE + "A" * 100_000
# What the console looks at as more than a text, and what is long where jobs write.
PLAIN = {"expression", "zone", "fingerprint", "cursor", "version", "flavour"}
LARGE = {"text", "args", "message", "error", "payload", "traceback", "result", "metadata"}


def spoiled(value: Any, name: str = "") -> Any:
    """Return a value of the door with hostile texts at the end of its own."""
    if isinstance(value, str):
        return value + (LONG if name in LARGE else HOSTILE)
    if isinstance(value, tuple):
        return tuple(spoiled(each, name) for each in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes = {}
    for field in dataclasses.fields(value):
        now, kind = getattr(value, field.name), str(field.type)
        if field.name in PLAIN or (isinstance(now, str) and kind not in ("str", "str | None")):
            continue
        if isinstance(now, tuple) and kind.startswith("tuple[") and "Action" in kind:
            continue
        changes[field.name] = spoiled(now, field.name)
    return dataclasses.replace(value, **changes)


def unspoiled(value: Any) -> Any:
    """Return a value as it was."""
    if isinstance(value, str):
        return value.replace(LONG, "").replace(HOSTILE, "")
    if isinstance(value, tuple | list):
        return type(value)(unspoiled(each) for each in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = dataclasses.fields(value)
    return dataclasses.replace(value, **{f.name: unspoiled(getattr(value, f.name)) for f in fields})


class HostileDoor:
    """A door that spoils whatever comes out of another one."""

    def __init__(self, door: Any) -> None:
        self._door = door
        self.read_only = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._door, name)
        if not callable(found):
            return spoiled(found)
        if not inspect.iscoroutinefunction(found):
            return lambda *given: found(*map(unspoiled, given))

        async def call(*given: Any, **named: Any) -> Any:
            after = {key: unspoiled(value) for key, value in named.items()}
            return spoiled(await found(*map(unspoiled, given), **after))

        return call


def main() -> None:
    """Show it until it is left."""
    from qdeck_tui.terminal import Terminal, prepare_environment

    prepare_environment(os.environ)
    from qdeck_tui.app import QdeckApp
    from qdeck_tui.options import Options

    async def door() -> Admin:
        return cast("Admin", HostileDoor(planned()))

    terminal = Terminal(lambda lines: None)
    terminal.take()
    app = QdeckApp(door, options=Options(ascii="--ascii" in sys.argv), terminal=terminal)
    try:
        app.run()
    finally:
        terminal.give_back()
        sys.stderr.write("".join(app.farewell))


if __name__ == "__main__":
    main()
