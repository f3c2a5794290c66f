"""Chains and groups without a server: their shape, the `sync` connection, and tests of users."""

from __future__ import annotations

from typing import Any

import pytest

import qdeck
from qdeck.errors import InvalidTask, SettingsError
from qdeck.flow import Flow
from qdeck.links import Links, decode_names
from qdeck.producer import entries_of
from qdeck.settings import load_settings


class Noted:
    """A deck whose tasks note their runs."""

    def __init__(self, url: str) -> None:
        self.deck = deck = qdeck.Deck(url)
        self.ran: list[Any] = []

        @deck.task(queue="letters")
        async def note(ctx: qdeck.Context, word: str) -> str:
            self.ran.append((word, len(ctx.after)))
            if word == "bad":
                raise ValueError("bad word")
            return word

        @deck.task
        def end(ctx: qdeck.Context) -> int:
            self.ran.append(("end", len(ctx.after)))
            return len(ctx.after)

        @deck.register
        class Sum(qdeck.Task, queue="sums"):
            n: int = 0

            def handle(self, ctx: qdeck.Context) -> int:
                return self.n + len(ctx.after)

        self.note, self.end, self.sum = note, end, Sum


@pytest.fixture
def noted() -> Noted:
    """A deck that runs everything where it is enqueued."""
    return Noted("sync://")


def places(flow: Flow) -> list[tuple[int, ...]]:
    """Return what each call of a flow waits for."""
    return list(flow.after)


def test_a_step_waits_for_all_that_had_nothing_after_them(noted: Noted) -> None:
    a, b, c, d = (noted.note.call(word) for word in "abcd")
    assert places(a.then(b).then(c)) == [(), (0,), (1,)]
    assert places(a.then(b, c)) == places(a.then(b.then(c)))
    assert places(noted.deck.group([a, b, c]).then(d)) == [(), (), (), (0, 1, 2)]
    assert places(a.then(noted.deck.group([b, c])).then(d)) == [(), (0,), (0,), (1, 2)]
    assert places(noted.deck.group([a.then(b), c]).then(d)) == [(), (0,), (), (1, 2)]
    assert places(noted.end.then(noted.sum(n=1).delay(5), noted.sum())) == [(), (0,), (1,)]


def test_what_is_no_step_is_refused_with_the_reason(noted: Noted) -> None:
    call = noted.note.call("a")
    with pytest.raises(InvalidTask, match="cannot be a step"):
        call.then("b")  # type: ignore[arg-type]
    with pytest.raises(InvalidTask, match="at least one"):
        noted.deck.group([])
    with pytest.raises(InvalidTask, match="2 decks"):
        call.then(Noted("sync://").note.call("b")).enqueue_sync()
    large = noted.deck.group([call] * 200)
    with pytest.raises(InvalidTask, match="one job between"):
        large.then(large)
    with pytest.raises(InvalidTask, match="10000"):
        noted.deck.group([call] * 10_001)


def test_each_record_names_those_before_and_after_it(noted: Noted) -> None:
    group = noted.deck.group([noted.note.call("a"), noted.sum(n=1)])
    entries = entries_of(group.then(noted.end.call()), load_settings("sync://"))
    first, second, last = (entry.body.links or Links() for entry in entries)
    names = [(entry.queue, entry.id) for entry in entries]
    assert [queue for queue, _ in names] == ["letters", "sums", "default"]
    assert decode_names(first.then) == decode_names(second.then) == names[2:]
    assert (decode_names(last.after), last.waits, last.then) == (names[:2], 2, "")
    assert (first.after, first.waits) == ("", 0)


def test_a_unique_job_is_refused_where_others_wait(noted: Noted) -> None:
    unique = noted.note.options(unique="k").call("a")
    terms = load_settings("sync://")
    with pytest.raises(SettingsError, match="unique=False"):
        entries_of(unique.then(noted.end.call()), terms)
    assert entries_of(noted.deck.group([unique]), terms)[0].body.unique
    assert entries_of(noted.deck.group([unique, noted.end]), terms)[0].body.unique


async def test_the_sync_connection_runs_a_flow_in_its_order(noted: Noted) -> None:
    flow = noted.deck.group([noted.note.call("a"), noted.note.call("b")]).then(noted.end)
    jobs = await flow.enqueue()
    assert [job.result for job in jobs] == ["a", "b", 2]
    assert noted.ran == [("a", 0), ("b", 0), ("end", 2)]
    jobs = await noted.sum(n=3).then(noted.sum(n=4)).dispatch()
    assert [job.result for job in jobs] == [3, 5]


def test_an_error_on_the_sync_connection_ends_the_flow(noted: Noted) -> None:
    with pytest.raises(ValueError, match="bad word"):
        noted.note.call("a").then(noted.note.call("bad"), noted.end).enqueue_sync()
    assert [word for word, _ in noted.ran] == ["a", "bad"]
    assert [job.result for job in noted.sum(n=1).then(noted.sum()).dispatch_sync()] == [1, 1]


async def test_a_test_of_a_user_drains_a_flow_in_its_order() -> None:
    noted = Noted("redis://127.0.0.1:1/0")
    with noted.deck.testing() as box:
        last = noted.note.options(priority="critical").call("z")
        jobs = await noted.note.call("a").then(last, noted.end).enqueue()
        assert [job.state for job in jobs] == ["pending", "scheduled", "scheduled"]
        assert [job.task for job in box.drain()] == ["note", "note", "end"]
        assert noted.ran == [("a", 0), ("z", 1), ("end", 1)]
        jobs = noted.note.options(max_retries=0).call("bad").then(noted.end).enqueue_sync()
        assert [job.id for job in box.drain()] == [jobs[0].id]
        assert noted.deck.job_sync(jobs[1].id) == jobs[1]


def test_a_limit_key_is_made_of_the_arguments(noted: Noted) -> None:
    deck = noted.deck

    @deck.task(limit_key="customer:{ids[0]}", key_limit=3)
    def bill(ids: list[int]) -> None: ...

    assert bill.call([7, 8]).limit() == ("customer:7", 3)
    assert bill.options(key_limit=1).call([7]).limit() == ("customer:7", 1)
    assert bill.options(limit_key="all").call([7]).limit() == ("all", 3)
    assert bill.options(limit_key="").call([7]).limit() == ("", 0)
    assert noted.note.options(limit_key="{word}").call("x").limit() == ("x", 1)
    with pytest.raises(SettingsError, match="does not fit its arguments: IndexError"):
        bill.call([]).limit()
    with pytest.raises(SettingsError, match="at most 200"):
        noted.note.options(limit_key="{word}").call("x" * 201).limit()


def test_wrong_limit_keys_are_refused_where_they_are_given(noted: Noted) -> None:
    deck = noted.deck
    with pytest.raises(SettingsError, match=r"limit_key 'c:\{who\}' names 'who'"):

        @deck.task(limit_key="c:{who}")
        def bill(customer: int) -> None: ...

    with pytest.raises(SettingsError, match=r"limit_key '\{' is no template"):

        @deck.register
        class Pay(qdeck.Task, limit_key="{"):
            n: int

            def handle(self) -> None: ...

    for wrong in (0, 1001, True, "2"):
        with pytest.raises(SettingsError, match="from 1 to 1000"):
            noted.note.options(key_limit=wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="one line"):
        noted.note.options(limit_key="a\nb")
