"""Memory full is a normal failure: nothing new comes in, and what runs is finished."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError
from tests.core.clocked import Link
from tests.core.yard import ERROR
from tests.servers import Server, wait_until

import qdeck
from qdeck import ledger, steps
from qdeck import queue as verbs
from qdeck.binary import find_binary
from qdeck.errors import ServerFull
from qdeck.keys import queue_keys
from qdeck.links import Links
from qdeck.record import Body, Settle, encode_body
from qdeck.schedule import Step, read_tick, store, tick
from qdeck.scripts import Command, run_sync

BINARIES = {str(find_binary())} | {found for found in [shutil.which("redis-server")] if found}
COUNT = 12


@pytest.fixture(params=sorted(BINARIES), ids=lambda path: Path(path).name)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of its own that refuses to evict."""
    options = {"maxmemory-policy": "noeviction"}
    with Server(unix=True, binary=request.param, options=options) as own:
        yield own


class Desk:
    """One queue with jobs that run, on a server whose memory can be used up."""

    def __init__(self, client: Any) -> None:
        self.client, self.link = client, Link(client)
        self.keys = queue_keys("full", "q")
        self.ids = [f"job-{number:02d}" for number in range(COUNT)]
        self.enqueue(*self.ids)
        self.enqueue("later", delay=1)
        turn = self.work(1, COUNT)
        assert [job.id for job in turn.claimed] == self.ids
        self.enqueue("waiting")

    def run(self, command: Command) -> Any:
        """Send a script."""
        return run_sync(self.link, command)

    def enqueue(self, *ids: str, delay: int = 0) -> Any:
        """Enqueue jobs."""
        body = encode_body(Body("mail", "{}", delay=delay, unique_for=5))
        return self.run(
            verbs.enqueue(self.keys, 0, [part for job_id in ids for part in (job_id, body)])
        )

    def work(self, counter: int, want: int, settles: list[Settle] | None = None) -> verbs.Turn:
        """Settle and claim."""
        command = verbs.work(self.keys, "ann", counter, want, 15.0, settles or [])
        return verbs.read_turn(self.run(command))

    def fill(self) -> None:
        """Leave the server no memory."""
        self.client.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            self.client.set("full:more", "x" * 1000)


@pytest.fixture
def desk(server: Server) -> Iterator[Desk]:
    """A queue with running jobs on a full server."""
    client = server.client()
    made = Desk(client)
    made.fill()
    yield made
    client.close()


def test_enqueue_is_refused_whole_when_memory_is_full(desk: Desk) -> None:
    before = {key: desk.client.dump(key) for key in desk.client.keys("*")}
    with pytest.raises(OutOfMemoryError):
        desk.enqueue("new", "newer")
    assert {key: desk.client.dump(key) for key in desk.client.keys("*")} == before


def test_an_application_is_told_that_the_server_is_full(server: Server, desk: Desk) -> None:
    deck = qdeck.Deck(server.url, prefix="full")

    @deck.task
    def mail() -> None:
        """Do nothing."""

    with pytest.raises(ServerFull):
        mail.enqueue_sync()
    deck.close_sync()


def test_runs_of_every_outcome_are_settled_when_memory_is_full(desk: Desk) -> None:
    kinds = {"c": "completed", "f": "retrying", "s": "retrying", "b": "pending", "u": "retrying"}
    settles, expected = [], []
    for number, job_id in enumerate(desk.ids):
        kind = "cfsbu"[number % 5]
        value = '"result"' if kind == "c" else 1000
        settles.append(Settle(job_id, 1, kind, "mail", 1.0, value, 3, None, *ERROR))
        expected.append(kinds[kind])
    settles[-1].kind, settles[-1].final, expected[-1] = "f", "discarded", "dead"
    assert desk.work(2, 0, settles).settled == expected
    assert desk.work(2, 0, settles).settled == expected
    assert desk.client.zcard(desk.keys.lease) == 0


def test_leases_are_renewed_and_nothing_runs_twice_when_memory_is_full(desk: Desk) -> None:
    runs = [(job_id, 1) for job_id in desk.ids]
    assert desk.run(verbs.beat(desk.keys, 15.0, runs)) == [b"1"] * COUNT
    assert desk.run(verbs.progress(desk.keys, [(desk.ids[0], 1, 50.0, "half")])) == 1
    first = [job.id for job in desk.work(2, 50).claimed]
    again = [job.id for job in desk.work(2, 50).claimed]
    assert first == again
    assert not set(first) & set(desk.ids)
    assert desk.work(3, 50).claimed == []


def test_lost_and_due_jobs_come_back_when_memory_is_full(desk: Desk) -> None:
    desk.client.config_set("maxmemory", 0)
    desk.client.zadd(desk.keys.lease, dict.fromkeys(desk.ids, 1))
    desk.fill()
    wait_until(lambda: all_back(desk))


def all_back(desk: Desk) -> bool:
    """Look after the queue; say whether everything came back."""
    desk.run(verbs.tend(desk.keys, 15.0, 3))
    return bool(desk.client.zcard(desk.keys.ready) == COUNT + 2)


@pytest.mark.parametrize(("verb", "words"), [("cancel", "requested"), ("delete", "refused")])
def test_an_operator_cancels_and_deletes_when_memory_is_full(
    desk: Desk, verb: str, words: str
) -> None:
    ids = ["waiting", "later", desk.ids[0]]
    answer = verbs.read_moved(desk.run(verbs.move(desk.keys, verb, "eve", ids)))
    done = {"cancel": "cancelled", "delete": "deleted"}[verb]
    assert [moved.outcome for moved in answer] == [done, done, words]


def test_what_waits_starts_and_keys_are_freed_when_memory_is_full(server: Server) -> None:
    client = server.client()
    desk = Desk(client)
    links = {"waits": Links(after="q a", waits=1), "keyed": Links(key="k", most=1)}
    for job_id, tie in links.items():
        body = encode_body(Body("mail", "{}", links=tie))
        desk.run(verbs.enqueue(desk.keys, 0, [job_id, body]))
    desk.run(verbs.enqueue(desk.keys, 0, ["keyed-2", body]))
    desk.fill()
    assert desk.run(verbs.park(desk.keys)) == [1, 1]
    assert desk.run(verbs.deliver(desk.keys, [("waits", "q a")])) == [1]
    told = [Settle(desk.ids[0], 1, "c", "mail", 1.0, "1", then="q waits")]
    turn = desk.work(2, 5, told)
    assert turn.settled == ["completed"]
    assert [job.id for job in turn.claimed] == ["waiting", "keyed", "waits"]
    assert client.hget(desk.keys.outbox, desk.ids[0]) == b"q waits"
    desk.work(3, 0, [Settle("keyed", 1, "c", "mail", 1.0, "1")])
    assert desk.run(verbs.reclaim(desk.keys, ["k"], "mail")) == [1, 1, 1]
    assert [job.id for job in desk.work(4, 5).claimed] == ["keyed-2"]
    client.close()


def test_a_bulk_delete_frees_memory_when_it_is_full(desk: Desk) -> None:
    settles = [Settle(i, 1, "f", "mail", 1.0, 0, 0, "", *ERROR) for i in desk.ids]
    desk.work(2, 0, settles)
    desk.run(steps.freeze(desk.keys, desk.keys.dead, "op", "delete", "eve", 0, 900))
    desk.run(steps.start(desk.keys, "op", "eve"))
    step = steps.read_step(desk.run(steps.advance(desk.keys, "delete", "eve", "op")))
    assert (step.state, step.ok) == ("done", COUNT)
    assert desk.client.zcard(desk.keys.dead) == 0


def test_what_an_act_made_is_taken_back_when_memory_is_full(desk: Desk) -> None:
    act = ledger.Act("eve", "enqueue of job waiting", "1-1")
    for job_id, told in (
        ("waiting", [1, 0, 0, 0]),
        ("later", [1, 0, 0, 0]),
        ("job-00", [0, 1, 0, 0]),
    ):
        assert desk.run(ledger.retract(desk.keys, job_id, "", act)) == told
    assert desk.client.zcard(desk.keys.ready) == desk.client.zcard(desk.keys.scheduled) == 0
    assert desk.client.exists(desk.keys.job("waiting"), desk.keys.job("later")) == 0
    assert desk.client.exists(desk.keys.wake) == 0


def test_pausing_limits_and_trimming_work_when_memory_is_full(desk: Desk) -> None:
    assert desk.run(verbs.pause(desk.keys, True, "eve"))[0] == 1
    assert desk.run(verbs.pause(desk.keys, False, "eve"))[0] == 1
    assert desk.run(verbs.limit(desk.keys, 3, 5.0))[0] == 1


def test_a_slot_is_refused_whole_when_memory_is_full_and_can_wait_or_be_given_up(
    server: Server,
) -> None:
    client = server.client()
    desk = Desk(client)
    desk.run(store(desk.keys, "nightly", None, "{}", next_slot=1))
    desk.fill()
    before = {key: client.dump(key) for key in client.keys("*")}
    body = encode_body(Body("mail", "{}"))
    with pytest.raises(OutOfMemoryError):
        desk.run(tick(desk.keys, "nightly", 1, 1, Step((1,), 2), [(1, "slot", body)]))
    assert {key: client.dump(key) for key in client.keys("*")} == before
    waits = tick(desk.keys, "nightly", 1, 1, Step((), 0), (), wait=5000)
    assert read_tick(desk.run(waits)).word == "fired"
    assert desk.run(store(desk.keys, "nightly", 1, "{}", enabled=False)) == 2
    assert desk.run(store(desk.keys, "nightly", 2, "")) == 0
    client.close()


def test_everything_goes_on_once_there_is_memory_again(desk: Desk) -> None:
    desk.client.config_set("maxmemory", 0)
    assert desk.enqueue("new")[1] == b"p"
    settles = [Settle(i, 1, "c", "mail", 1.0, "1") for i in desk.ids]
    assert desk.work(2, 5, settles).settled == ["completed"] * COUNT
