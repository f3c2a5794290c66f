"""Ends a worker when whoever started it is gone, however that happened.

The starter keeps one end of a pipe; the worker waits here for what comes out of the other: the word
`leave` lets it live on, and the end of the pipe, which the system sees to even after SIGKILL, stops
it. It works wherever there are pipes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import MutableMapping

__all__ = ["LEAVE", "VARIABLE", "hold", "lifeline_for"]

VARIABLE = "QDECK_LIFELINE"
LEAVE = b"L"
# Seconds between the orderly request, the forcing one and the end, when nobody waits any more.
STEPS = ((signal.SIGTERM, 35.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 0.0))


def lifeline_for(fd: int, *, leave: bool) -> str:
    """Return the value of QDECK_LIFELINE for a child that inherits the reading end `fd`."""
    return f"{fd}:{'leave' if leave else 'stop'}"


def hold(environ: MutableMapping[str, str]) -> None:
    """Watch the lifeline that the environment names, in a thread; without one do nothing.

    The variable is removed, and the descriptor is not passed on to children of this process.
    """
    value = environ.pop(VARIABLE, "")
    number, _, mode = value.partition(":")
    if not number.isdigit() or mode not in ("leave", "stop"):
        return
    fd = int(number)
    try:
        os.set_inheritable(fd, False)
    except OSError:
        return
    threading.Thread(
        target=_watch, args=(fd, mode == "leave"), name="qdeck-lifeline", daemon=True
    ).start()


def _watch(fd: int, leave: bool) -> None:
    """Wait for a word or the end of the pipe, and act on it."""
    while True:
        try:
            said = os.read(fd, 1)
        except OSError:
            said = b""
        if said == LEAVE:
            leave = True
            _let_output_go()
        if not said:
            break
    os.close(fd)
    if leave:
        _let_output_go()
        return
    for number, patience in STEPS:
        os.kill(os.getpid(), number)
        time.sleep(patience)


def _let_output_go() -> None:
    """Point standard output and errors at nothing, since nobody reads the pipe any more."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
