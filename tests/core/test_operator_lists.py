"""Queries over many jobs, in bounded steps, on a real server."""

from __future__ import annotations

import asyncio

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import Denied, JobRow, Page, Selection, Window
from qdeck.listing import sources_of
from qdeck.query import parse
from qdeck.scan import Scan


async def many(desk: Desk, count: int, queue: str = "q") -> None:
    """Enqueues `count` jobs with {"n": 0…}, every hundredth of the task `rare`."""

    async def job(n: int) -> None: ...

    common = desk.deck.task(name="job", queue=queue)(job)
    rare = desk.deck.task(name="rare", queue=queue)(job)
    await desk.deck.enqueue_many((rare if n % 100 == 7 else common).call(n) for n in range(count))


async def whole(desk: Desk, query: str, window: Window | None = None) -> tuple[Page, int]:
    """Returns the page of a query once all was looked at, and after how many calls."""
    calls = 0
    while True:
        page = await desk.operator.jobs(None, "pending", window or Window(), query)
        calls += 1
        if page.complete:
            return page, calls


def numbers(rows: tuple[JobRow, ...]) -> list[int]:
    return [int(row.args.partition(":")[2].rstrip("}")) for row in rows]


async def test_a_query_looks_at_2000_records_a_call_and_says_how_far_it_is(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await many(desk, 2500)
        first = await desk.operator.jobs("q", "pending", Window(), "task:rare")
        assert (first.scanned, first.size, first.complete) == (2000, 2500, False)
        assert first.total == len(first.rows) == 20
        second = await desk.operator.jobs("q", "pending", Window(), "task:rare")
        assert (second.scanned, second.size, second.complete) == (2500, 2500, True)
        assert numbers(second.rows) == list(range(7, 2500, 100))
        assert second.total == 25
        # A finished walk is shown while the next one begins.
        third = await desk.operator.jobs("q", "pending", Window(20, 10), "task:rare")
        assert third.complete
        assert numbers(third.rows) == [2007, 2107, 2207, 2307, 2407]
        turned, _ = await whole(desk, "task:rare", Window(0, 3, True))
        assert numbers(turned.rows) == [2407, 2307, 2207]
        deep = await desk.operator.jobs("q", "pending", Window(22, 5), "task:rare args.n:>0")
        assert numbers(deep.rows) == [2207, 2307, 2407]


async def test_jobs_that_left_are_not_shown_any_more(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(3)
        page, _ = await whole(desk, "task:job")
        assert len(page.rows) == 3
        await desk.claim(1)
        page, _ = await whole(desk, "task:job")
        assert numbers(page.rows) == [1, 2]


async def test_jobs_that_leave_while_it_walks_hide_no_others(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await many(desk, 600)
        reader = desk.operator.reader
        scan = Scan(await sources_of(reader, ["q"], "pending"), parse("task:rare"))
        await scan.step(reader, 0.0, 250)
        await desk.claim(250)
        while not scan.done:
            await scan.step(reader, 0.0, 100)
        assert len(scan.found) == scan.matched == 6
        assert scan.scanned == 600


async def test_many_jobs_of_one_moment_are_each_looked_at_once(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        key = desk.deck.keys("q").cancelled
        for i in range(0, 1700, 100):
            at = 5 if i < 300 else 7
            await desk.call("ZADD", key, *(x for j in range(i, i + 100) for x in (at, f"id{j}")))
        for reverse in (False, True):
            page = await desk.operator.jobs("q", "cancelled", Window(0, 5, reverse), "id~id")
            assert (page.total, page.scanned) == (1700, 1700)


async def test_long_payloads_are_searched_as_a_whole(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        for n in range(3):
            await desk.deck.enqueue(
                "job", {"text": "x" * 900_000, "n": n}, queue="q", metadata={"by": f"u{n}"}
            )
        page, _ = await whole(desk, "args.n:1")
        assert page.total == 1
        page, _ = await whole(desk, "meta.by:u2 priority:4")
        assert page.total == 1
        page, _ = await whole(desk, "task:job age:<1d")
        assert page.total == 3


async def test_queries_read_runs_and_errors(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(3)
        await desk.fail(1, message="disk full")
        await desk.fail(1, message="no route")
        door = desk.operator
        for query, count in (
            ("error~route", 1),
            ("error:OSError", 2),
            ("worker:w1 attempt:1", 2),
            ("worker:w2", 0),
            ("disk", 1),
        ):
            assert (await door.jobs("q", "dead", Window(), query)).total == count, query
        draft = await door.retry(Selection("dead", "q", "f1", "error~route"))
        assert draft.total == 1


async def test_several_callers_share_one_walk(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await many(desk, 300)
        calls = (desk.operator.jobs("q", "pending", Window(), "task:rare") for _ in range(4))
        pages = await asyncio.gather(*calls)
        assert {(page.total, page.scanned) for page in pages} == {(3, 300)}


async def test_a_query_that_does_not_parse_is_refused_in_words(valkey: Server, prefix: str) -> None:
    async with Desk(valkey.url, prefix) as desk:
        with pytest.raises(Denied, match="'colour' is no field"):
            await desk.operator.jobs("q", "dead", Window(), "colour:red")
