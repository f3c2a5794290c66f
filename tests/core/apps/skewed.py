"""An app for worker processes whose clocks are wrong, each by its own up to two minutes."""

from __future__ import annotations

import os
import random
import time

from qdeck import Deck

OFFSET = random.Random(os.getpid()).uniform(-120, 120)
_time, _time_ns = time.time, time.time_ns
if "APP_URL" in os.environ:
    time.time = lambda: _time() + OFFSET
    time.time_ns = lambda: _time_ns() + int(OFFSET * 1e9)

deck = Deck(
    os.environ.get("APP_URL", "memory://"),
    prefix=os.environ.get("APP_PREFIX", "skewed"),
    lease=float(os.environ.get("APP_LEASE", "15")),
    default="q",
    retry_backoff=0,
    block_timeout=1,
)


@deck.task(max_retries=10)
async def mail() -> None:
    """Do nothing."""
