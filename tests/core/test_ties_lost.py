"""Replies that get lost while chains run and keys limit: each job runs once, and none is stuck."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from tests.core.serving import check_sets, finished, new_deck, serving
from tests.core.test_lost_replies import SHORT, Words, calls, claims, settles
from tests.proxies import CuttingProxy
from tests.servers import Server

from qdeck import Deck, State


def outbox(word: bytes) -> Callable[[Words], bool]:
    """Match a plain command on an outbox."""
    return lambda words: words[0] == word and b":outbox" in words[1]


@pytest.mark.parametrize(
    "match",
    [
        calls("enqueue"),
        calls("work", claims),
        calls("work", settles),
        calls("park"),
        calls("reclaim"),
        calls("deliver"),
        outbox(b"HSCAN"),
        outbox(b"HDEL"),
    ],
    ids=["enqueue", "claim", "settle", "park", "reclaim", "deliver", "read", "forget"],
)
async def test_chains_of_jobs_with_keys_run_once_whichever_reply_is_lost(
    deck: Deck,
    proxy: CuttingProxy,
    valkey: Server,
    prefix: str,
    match: Callable[[Words], bool],
) -> None:
    runs: Counter[tuple[int, int]] = Counter()
    order: list[tuple[int, int]] = []
    async with new_deck(proxy.url + SHORT, prefix, lease=1.5) as far:

        @far.task(queue="one", limit_key="k:{number}", key_limit=2, max_retries=0)
        async def step(chain: int, number: int) -> None:
            runs[chain, number] += 1
            order.append((chain, number))
            await asyncio.sleep(0.002)

        @far.task(queue="two", max_retries=0)
        async def end(chain: int) -> None:
            runs[chain, 9] += 1
            order.append((chain, 9))

        async with serving(far, "one", "two"):
            await finished(deck, await step.enqueue(100, 0))
            proxy.cut_after(match, 3)
            jobs = []
            for chain in range(20):
                steps = [step.call(chain, number) for number in range(3)]
                jobs += await steps[0].then(*steps[1:], end.call(chain)).enqueue()
            done = [await finished(deck, job) for job in jobs]
            proxy.cut_after(lambda words: False, 0)
    assert {job.state for job in done} == {State.COMPLETED}
    assert proxy.cuts >= 1
    assert set(runs.values()) == {1}
    for chain in range(20):
        assert [at for of, at in order if of == chain] == [0, 1, 2, 9]
    assert check_sets(valkey, prefix)["completed"] == 81
