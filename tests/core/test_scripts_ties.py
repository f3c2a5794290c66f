"""Keys and chains with broken data: each job stays in one set, and the whole ones go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from tests.core.test_scripts_broken import breaks, check, put_record
from tests.core.yard import FINE, LAST, Yard

from qdeck import queue as verbs
from qdeck.links import Links
from qdeck.record import Body, Settle, encode_body


class Tied(Yard):
    """A yard whose jobs all have the same ties."""

    def __init__(self, client: Any, prefix: str, ids: list[str], links: Links) -> None:
        super().__init__(client, prefix, ids)
        self.links = links

    def enqueue(self, *, delay: int = 0) -> Any:
        """Create the jobs."""
        body = encode_body(Body("mail", "{}", delay=delay, max_retries=1, links=self.links))
        entries: list[str | bytes] = [part for job_id in self.ids for part in (job_id, body)]
        return self.run(verbs.enqueue(self.keys, 0, entries))


def odd_links() -> dict[str, bytes]:
    """Return records whose ties are no ties, each in another way."""
    good: list[Any] = ["mail", "{}", 4, 0, 0, 0, 0, 1, -1, "", 0, ""]
    full: list[Any] = ["q x", "q y", 0, "k", 1]
    odd: list[Any] = [None, 7, "5", [], [1], {"a": 1}, float("inf"), float("nan")]
    found = [*odd, *([*full[:at], value, *full[at + 1 :]] for at in range(5) for value in odd)]
    return {
        f"links-{number:02d}": msgspec.msgpack.encode([1, 2, [*good, value]])
        for number, value in enumerate(found)
    }


def broken(yard: Yard, part: list[str]) -> None:
    """Break jobs, each in its way."""
    wrong, links = breaks(), odd_links()
    for job_id in part:
        if job_id in links:
            put_record(links[job_id], yard, job_id)
        else:
            wrong[job_id](yard, job_id)


def parts() -> Iterator[list[str]]:
    """Yield the names of all breaks, as many as one call handles."""
    names = sorted([*breaks(), *odd_links()])
    for start in range(0, len(names), 90):
        yield names[start : start + 90]


def test_what_waits_for_others_starts_whatever_is_broken_beside_it(
    client: Any, prefix: str
) -> None:
    for number, part in enumerate(parts()):
        ids = [FINE, *part, LAST]
        yard = Tied(client, f"{prefix}-{number}", ids, Links(after="q a", waits=1))
        yard.enqueue()
        broken(yard, part)
        for _ in range(2):
            yard.run(verbs.deliver(yard.keys, [(job_id, "q a") for job_id in ids]))
        check(yard, "ready", set(part))
        yard.work(400)
        check(yard, "lease", set(part))


def test_keys_have_their_places_whatever_is_broken_beside_them(client: Any, prefix: str) -> None:
    for number, part in enumerate(parts()):
        yard = Tied(client, f"{prefix}-{number}", [FINE, *part, LAST], Links(key="k", most=1000))
        yard.enqueue()
        broken(yard, part)
        yard.run(verbs.park(yard.keys))
        yard.work(400)
        check(yard, "lease", set(part))


def test_jobs_of_a_key_follow_each_other_whatever_is_broken_between_them(
    client: Any, prefix: str
) -> None:
    for number, part in enumerate(parts()):
        yard = Tied(client, f"{prefix}-{number}", [FINE, *part, LAST], Links(key="k", most=1))
        yard.enqueue()
        yard.run(verbs.park(yard.keys))
        assert yard.places()[LAST] == ["held:mail"]
        broken(yard, part)
        for _ in range(3 * len(part)):
            for job_id in yard.work(400):
                yard.work(0, [Settle(job_id, 1, "c", "mail", 1.0)])
            yard.run(verbs.park(yard.keys))
            yard.run(verbs.reclaim(yard.keys, ["k"], "mail"))
            if yard.places()[LAST] == ["completed"]:
                break
        check(yard, "completed", set(part))


WRECKS: dict[str, Callable[[Yard], str]] = {
    "places": lambda yard: yard.keys.key("k"),
    "waits": lambda yard: yard.keys.wait("k"),
    "index": lambda yard: yard.keys.keyed("mail"),
    "held": lambda yard: yard.keys.held("mail"),
    "done": lambda yard: yard.keys.done(FINE),
}


@pytest.mark.parametrize("name", WRECKS)
def test_a_key_of_another_type_stops_neither_keys_nor_chains(
    name: str, client: Any, prefix: str
) -> None:
    yard = Tied(client, prefix, [FINE, LAST], Links("q z", "q a", 1, "k", 1))
    yard.enqueue()
    client.set(WRECKS[name](yard), "x")
    yard.run(verbs.deliver(yard.keys, [(FINE, "q a"), (LAST, "q a")]))
    assert yard.work(2) == []
    client.set(WRECKS[name](yard), "x")
    assert yard.run(verbs.park(yard.keys)) == [1, 1]
    assert yard.work(2) == [FINE]
    if name == "held":
        return
    client.set(WRECKS[name](yard), "x")
    yard.work(0, [Settle(FINE, 1, "c", "mail", 1.0, then="q z")])
    freed = yard.run(verbs.reclaim(yard.keys, ["k"], "mail"))
    # Without its set of those that wait a job stays held, until somebody resumes its task.
    assert freed[1] == (0 if name == "waits" else 1)
    if name == "waits":
        yard.run(verbs.pause(yard.keys, True, "eve", "mail"))
        yard.run(verbs.pause(yard.keys, False, "eve", "mail"))
        yard.run(verbs.tend(yard.keys, 15.0, 1))
        yard.run(verbs.park(yard.keys))
    assert yard.work(2) == [LAST]
