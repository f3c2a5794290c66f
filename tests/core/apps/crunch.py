"""Process tasks for the tests: children import this module and find them by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from qdeck import Context, Deck, Discard, Task

deck = Deck("memory://", prefix="crunch")


@deck.task(run="process")
def whoami(ctx: Context, word: str) -> dict[str, Any]:
    ctx.progress(40, f"done {word}")
    ctx.log.info("logged %s", word)
    sys.stdout.write(f"printed {word}\n")
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "metadata": dict(ctx.metadata),
        "attempt": ctx.attempt,
        "state": ctx.state,
    }


@deck.task
async def note(n: int) -> int:
    return n


@deck.task(run="process")
def enqueue_more(n: int) -> str:
    job = note.enqueue_sync(n)
    deck.close_sync()
    return job.id


@deck.task(run="process")
def double(n: int) -> int:
    return 2 * n


@deck.task(run="process", max_retries=0)
async def double_async(n: int) -> int:
    return 2 * n


@deck.register
class Charge(Task, run="process", max_retries=1):
    order: int

    def handle(self) -> None:
        raise OSError(self.order) if self.order else LookupError(self.order)

    def retry_delay(self, attempt: int) -> float:
        return 0.0

    def should_retry(self, error: Exception) -> bool:
        return isinstance(error, OSError)


@deck.task(run="process", max_retries=0)
def hang(path: str) -> None:
    """Says its process id in a file and never ends by itself."""
    Path(path).write_text(str(os.getpid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.05)


@deck.task(run="process", max_retries=0)
def leave(code: int) -> None:
    os._exit(code)


@deck.task(run="process", max_retries=0)
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@deck.task(run="process", max_retries=0)
def fail(kind: str) -> None:
    if kind == "discard":
        raise Discard("not wanted")
    if kind == "exit":
        raise SystemExit(3)
    if kind == "surrogate":
        raise ValueError("bad \udcff name")
    raise ValueError(f"no {kind}")


@deck.task(run="process", max_retries=0)
def large() -> str:
    return "x" * 1_000_000


@deck.task(run="process", max_retries=0)
def unencodable() -> Any:
    return {1j}
