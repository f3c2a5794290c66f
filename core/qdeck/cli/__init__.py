"""The command line: words for everything an operator looks at and changes, without a console.

Imports no Textual, and the engine only in the command that runs.
"""

from __future__ import annotations

from qdeck.cli.program import main

__all__ = ["main"]
