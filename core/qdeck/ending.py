"""Ends a process whose jobs have been given back while their handlers still run.

Python waits at its exit for every thread that a pool started, and a loop for its tasks; a handler
that computes for an hour would keep the process that long, and nothing stops a thread from outside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from typing import NoReturn

__all__ = ["end", "leave"]


def leave(code: int) -> int:
    """Return the exit code, or end the process with it at once if threads would hold it back."""
    here = threading.current_thread()
    # Threads of a pool are waited for even as daemons, which they are if a daemon began them.
    if any(
        each is not here and (not each.daemon or each.name.startswith("qdeck-job"))
        for each in threading.enumerate()
    ):
        end(code)
    return code


def end(code: int) -> NoReturn:
    """End the process at once, with what it has written out."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
