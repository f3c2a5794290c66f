"""Runs the console on the in-memory twin, to look at it: `python -m tests.tui.show`."""

from __future__ import annotations

import argparse
import asyncio

from tests.tui.stock import filled

from qdeck.admin import Admin
from qdeck_tui.terminal import Terminal, prepare_environment


def main() -> None:
    """Show it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dead", type=int, default=250)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--mono", action="store_true")
    chosen = parser.parse_args()
    import os

    prepare_environment(os.environ)
    from qdeck_tui.app import QdeckApp
    from qdeck_tui.options import Options

    async def door() -> Admin:
        await asyncio.sleep(chosen.pause)
        twin = filled(chosen.dead)
        twin.pause_s = chosen.pause
        return twin

    options = Options(ascii=chosen.ascii, plain=chosen.plain, colour=not chosen.mono)
    terminal = Terminal(lambda lines: None)
    terminal.take()
    app = QdeckApp(door, options=options, terminal=terminal)
    try:
        app.run()
    finally:
        terminal.give_back()
        for text in app.farewell:
            print(text)  # noqa: T201


if __name__ == "__main__":
    main()
