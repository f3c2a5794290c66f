"""What a plain job costs the server: what a deck writes goes the short ways of the scripts."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from tests.servers import Server

import qdeck
from qdeck.keys import queue_keys
from qdeck.record import decode_record

_OWN = ("cmdstat_evalsha", "cmdstat_config", "cmdstat_info", "cmdstat_script")


def commands(client: Any) -> int:
    """Return how many commands scripts ran since the counters began."""
    found = client.info("commandstats")
    return sum(each["calls"] for name, each in found.items() if not name.startswith(_OWN))


def test_a_plain_job_is_known_by_its_bytes_and_enqueued_in_nine_commands() -> None:
    parts = files("qdeck").joinpath("lua", "parts")
    told = parts.joinpath("tail.lua").read_text() + "return plain_priority(ARGV[1]) or -1"
    with Server(unix=True) as own:
        deck = qdeck.Deck(own.url, prefix="cost")

        @deck.task(max_retries=100)
        async def often(number: int) -> None:
            return None

        @deck.task
        async def note(number: int) -> None:
            return None

        client: Any = own.client()
        keys = queue_keys("cost", "default")
        plain = [
            note.enqueue_sync(0),
            often.enqueue_sync(1),
            note.options(priority="high").enqueue_sync(2),
        ]
        told_of = [client.eval(told, 0, client.get(keys.job(job.id))) for job in plain]
        own_terms: list[dict[str, Any]] = [
            {"delay": 60}, {"expires": 60}, {"timeout": 5}, {"unique": True}, {"metadata": {"a": 1}}
        ]  # fmt: skip
        special = [note.options(**terms).enqueue_sync(3) for terms in own_terms]
        told_special = [client.eval(told, 0, client.get(keys.job(job.id))) for job in special]
        client.config_resetstat()
        for number in range(100):
            note.enqueue_sync(number)
        spent = commands(client)
        priorities = [decode_record(client.get(keys.job(job.id))).body.priority for job in plain]
        deck.close_sync()
        client.close()
    assert told_of == priorities
    assert set(told_special) == {-1}
    # The first of a minute lets two counters end by themselves.
    assert spent in (900, 902)
