"""The `qdeck` script: without words the console, with words the command line.

It stays light: the command line never imports Textual, and children that multiprocessing spawns
import this module again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130
CONSOLE = ("--ascii", "--plain", "--theme", "--read-only", "--profile")


def main(words: Sequence[str] | None = None) -> int:
    """Run the console, the demo in it, or the command line, and return the exit code.

    Ctrl+C before the console has taken the terminal ends it without a word.
    """
    try:
        return _run(list(sys.argv[1:] if words is None else words))
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(words: Sequence[str]) -> int:
    """Run what the words mean; raises KeyboardInterrupt for Ctrl+C while it is still imported."""
    if _wants_console(words):
        from qdeck_tui.launch import launch

        return launch(words)
    from qdeck.cli import main as command_line
    from qdeck.ending import leave
    from qdeck.visible import guard

    guard(words)
    return leave(command_line(words))


def _wants_console(words: Sequence[str]) -> bool:
    """Return whether words mean the console: none, its own options, or the demo with a screen."""
    if "_QDECK_COMPLETE" in os.environ:
        return False
    if not words or words[0].partition("=")[0] in CONSOLE:
        return True
    return words[0] == "demo" and not {"--headless", "-h", "--help"} & set(words)


if __name__ == "__main__":
    sys.exit(main())
