"""Ends a process whose jobs have been given back while their threads still run.

Python waits at its exit for every thread that a pool started; a handler that computes for an hour
would keep the process that long, and nothing can stop a thread from outside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading

__all__ = ["leave"]


def leave(code: int) -> int:
    """Return the exit code, or end the process with it at once if threads would hold it back."""
    here = threading.current_thread()
    # Threads of a pool are waited for even as daemons, which they are if a daemon began them.
    if any(
        each is not here and (not each.daemon or each.name.startswith("qdeck-job"))
        for each in threading.enumerate()
    ):
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code
