"""An app of chains, groups and keys for worker processes that are killed."""

from __future__ import annotations

import asyncio
import os

from qdeck import Context, Deck

deck = Deck(
    os.environ.get("APP_URL", "memory://"),
    prefix=os.environ.get("APP_PREFIX", "tied"),
    lease=float(os.environ.get("APP_LEASE", "15")),
    retry_backoff=0,
)

#: Notes that a job of a key runs, and how many at once that made.
BEGIN = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local now = redis.call('HLEN', KEYS[1])
redis.call('ZADD', KEYS[2], 'GT', now, ARGV[3])
redis.call('RPUSH', KEYS[3], ARGV[1])
return now
"""


def name(word: str) -> str:
    """Returns the name of a key of this app's own."""
    return f"{{{deck.settings.prefix}-effects}}:{word}"


@deck.task(queue="first", max_retries=30)
async def step(ctx: Context, chain: int, number: int) -> int:
    """Writes down that a step of a chain ran, and which of those before it have completed."""
    done = [await deck.job(job_id) for job_id in ctx.after]
    fine = all(job is not None and job.state == "completed" for job in done)
    await asyncio.sleep(0.02)
    await deck.call("HINCRBY", name("steps"), f"{chain} {number} {fine}", 1)
    return number


@deck.task(queue="second", max_retries=30)
async def last(ctx: Context, chain: int) -> int:
    """Adds up the results of those before it."""
    values = [await deck.result(job_id, timeout=0) for job_id in ctx.after]
    await deck.call("HINCRBY", name("steps"), f"{chain} end {sum(values)}", 1)
    return len(values)


@deck.task(queue="first", max_retries=30, limit_key="customer:{customer}", key_limit=2)
async def bill(ctx: Context, customer: int, ms: int = 30) -> None:
    """Runs for a moment and notes how many of its key do."""
    active, most, order = name(f"active:{customer}"), name("most"), name(f"order:{customer}")
    await deck.call("EVAL", BEGIN, 3, active, most, order, ctx.job_id, os.getpid(), customer)
    await asyncio.sleep(ms / 1000)
    await deck.call("HDEL", active, ctx.job_id)


@deck.task(queue="first", max_retries=30)
async def free(n: int) -> None:
    """Has no key."""
    await deck.call("SADD", name("free"), n)


@deck.task(queue="first", max_retries=0)
async def fragile(chain: int) -> int:
    """Fails until somebody has mended it."""
    if not await deck.call("EXISTS", name("mended")):
        raise ValueError("broken")
    return chain


@deck.task(queue="second", max_retries=30)
async def slot(ctx: Context) -> None:
    """Notes for which slot of its schedule it ran."""
    await deck.call("HINCRBY", name("slots"), str(ctx.metadata["slot"]), 1)
