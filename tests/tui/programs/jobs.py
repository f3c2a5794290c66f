"""An app for the tests of the console: jobs that wait, count, print, fail or hold on."""

from __future__ import annotations

import asyncio
import builtins
import os
import subprocess
import sys
import time

from qdeck import Context, Deck

deck = Deck()


@deck.task
async def quick(number: int) -> int:
    return number + 1


@deck.task
async def wait(seconds: float) -> None:
    await asyncio.sleep(seconds)


@deck.task
async def block(seconds: float) -> None:
    """Blocks the worker's loop, as a handler should not."""
    time.sleep(seconds)  # noqa: ASYNC251  # the fault under test


@deck.task
def spin(seconds: float) -> int:
    """Computes in a thread."""
    end, rounds = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        rounds += sum(number * number for number in range(2_000)) > 0
    return rounds


@deck.task(max_retries=0)
async def fail(code: str) -> None:
    raise KeyError(code)


@deck.task(max_retries=0)
async def throw(kind: str) -> None:
    """Raises what a handler should not, and what ends a program elsewhere."""
    raise getattr(builtins, kind)("thrown")


@deck.task
async def chatter(ctx: Context, lines: int, pause: float = 0.05) -> None:
    """Logs line after line."""
    for number in range(lines):
        ctx.log.info("line %d of the log", number)
        ctx.progress(100 * number / lines, f"at {number}")
        await asyncio.sleep(pause)


@deck.task
def noisy(word: str) -> None:
    """Prints in every way there is, and starts a child that reads the keys."""
    print(f"printed {word}")  # noqa: T201  # what is under test
    os.write(1, f"\x1b[2J\x1b[31mwritten {word}\n".encode())
    code = "import sys; print('child got', repr(sys.stdin.read()))"
    subprocess.run([sys.executable, "-c", code], check=True)


@deck.task(name="hostile", max_retries=0)
async def hostile(ctx: Context, text: str) -> None:
    ctx.log.warning(text)
    print(text)  # noqa: T201  # what is under test
    raise ValueError(text)


@deck.task
async def variable(name: str) -> str:
    """Returns a variable of the environment that its worker runs in."""
    return os.environ.get(name, "")
