"""An app for worker processes that are killed: every run and every effect is written down."""

from __future__ import annotations

import asyncio
import os
import time

from qdeck import Context, Deck

deck = Deck(
    os.environ.get("APP_URL", "memory://"),
    prefix=os.environ.get("APP_PREFIX", "steady"),
    lease=float(os.environ.get("APP_LEASE", "15")),
    retry_backoff=0,
)

#: Appends process and server time to the list of a job's runs.
BEGIN = """
local clock = redis.call('TIME')
local at = clock[1] * 1000 + math.floor(clock[2] / 1000)
return redis.call('RPUSH', KEYS[1], ARGV[1] .. ' ' .. string.format('%.0f', at))
"""


def runs_key(job_id: str) -> str:
    """Returns where the runs of a job are written down."""
    return f"{{{deck.settings.prefix}-effects}}:{job_id}"


def effects_key() -> str:
    """Returns the hash that counts the effects of each job."""
    return f"{{{deck.settings.prefix}-effects}}"


@deck.task(max_retries=10)
async def work(ctx: Context, ms: int) -> None:
    await deck.call("EVAL", BEGIN, 1, runs_key(ctx.job_id), os.getpid())
    await asyncio.sleep(ms / 1000)
    await deck.call("HINCRBY", effects_key(), ctx.job_id, 1)


@deck.task(max_retries=10)
def work_in_thread(ctx: Context, ms: int) -> None:
    deck.call_sync("EVAL", BEGIN, 1, runs_key(ctx.job_id), os.getpid())
    time.sleep(ms / 1000)
    deck.call_sync("HINCRBY", effects_key(), ctx.job_id, 1)


@deck.task(max_retries=10)
async def leave(ctx: Context) -> None:
    """Ends its worker's process."""
    await deck.call("EVAL", BEGIN, 1, runs_key(ctx.job_id), os.getpid())
    os._exit(3)


@deck.task(max_retries=10)
async def block(seconds: float) -> None:
    """Blocks its worker's event loop."""
    time.sleep(seconds)  # noqa: ASYNC251


@deck.task(max_retries=10)
async def hang_in_loop(ctx: Context) -> None:
    """Never ends, and ignores that it is cancelled."""
    await deck.call("EVAL", BEGIN, 1, runs_key(ctx.job_id), os.getpid())
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


@deck.task(max_retries=10, run="process")
def hang_in_child(ctx: Context) -> None:
    """Never ends."""
    deck.call_sync("EVAL", BEGIN, 1, runs_key(ctx.job_id), os.getpid())
    while True:
        time.sleep(0.05)


@deck.task(max_retries=10)
def hang_in_thread(ctx: Context) -> None:
    """Never ends."""
    deck.call_sync("EVAL", BEGIN, 1, runs_key(ctx.job_id), os.getpid())
    while True:
        time.sleep(0.05)
