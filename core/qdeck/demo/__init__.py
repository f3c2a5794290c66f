"""A tour of qdeck: real jobs over a tree of files.

`qdeck.demo:deck` is an app like any other, importable by child processes; `plan` says which jobs
there are and how each must end; `session` runs them and leaves nothing behind.
"""

from __future__ import annotations

from qdeck.demo.tasks import deck

__all__ = ["deck"]
