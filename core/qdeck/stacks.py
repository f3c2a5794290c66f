"""Where the threads and the async handlers of this process stand, as text."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from types import FrameType
from typing import Any, Final

__all__ = ["MOST_BYTES", "stacks"]

#: Bytes of a dump that are kept.
MOST_BYTES: Final = 64 * 1024
_DEEPEST: Final = 40


def stacks(loop: asyncio.AbstractEventLoop | None) -> str:
    """Return the stacks of all threads and of the tasks of a loop, innermost frame last.

    May be called from any thread; at most 64 KiB.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame)[-_DEEPEST:])}"
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    ]
    parts += [f"task {task.get_name()}\n{_await_chain(task)}" for task in _tasks(loop)]
    raw = "\n".join(parts).encode("utf-8", "replace")
    return raw[:MOST_BYTES].decode("utf-8", "ignore")


def _tasks(loop: asyncio.AbstractEventLoop | None) -> list[asyncio.Task[Any]]:
    """Return the tasks of a loop of another thread, which may add to them meanwhile."""
    for _ in range(5):
        try:
            return list(asyncio.all_tasks(loop)) if loop is not None else []
        except RuntimeError:
            continue
    return []


def _await_chain(task: asyncio.Task[Any]) -> str:
    """Return the frames of a task's coroutine and of what it awaits."""
    frames: list[tuple[FrameType, int]] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(frames) < _DEEPEST:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        frames.append((frame, frame.f_lineno))
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return "".join(traceback.StackSummary.extract(iter(frames)).format())
