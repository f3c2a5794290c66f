"""The words of the record on the command line: audit, undo, clear, restore, limits, edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.commands import Program
from tests.servers import Server


@pytest.fixture
def qdeck(tmp_path: Path, valkey: Server, prefix: str) -> Program:
    """The program in a folder of its own, on a shared server."""
    return Program(tmp_path, {"REDIS_URL": valkey.url, "QUEUE_PREFIX": prefix})


def enqueue(qdeck: Program, *words: str) -> str:
    """Enqueue a job of the queue `mail`; return its id."""
    made: dict[str, str] = qdeck.json("enqueue", "send", "--queue", "mail", *words)
    return made["id"]


def pending(qdeck: Program) -> list[str]:
    """Return the pending ids in their order."""
    rows: list[dict[str, Any]] = qdeck.json("jobs", "--state", "pending")
    return [row["id"] for row in rows]


def test_clear_asks_and_keeps_a_copy(qdeck: Program) -> None:
    ids = [enqueue(qdeck, f"n={n}") for n in range(2)]
    assert "would clear 2 pending jobs of mail" in qdeck.run("clear", "mail", "--dry-run").stdout
    assert "--yes" in qdeck.fails("clear", "mail", code=2)
    assert pending(qdeck) == ids
    done = qdeck.run("queue:clear", "mail", "--yes", "--as", "ana").stdout.splitlines()
    assert done[0] == "cleared 2 pending jobs of mail; kept for 24 h"
    assert pending(qdeck) == []
    assert qdeck.json("job", ids[0])["state"] == "cancelled"
    (copy,) = qdeck.json("restore")
    assert list(copy) == ["id", "queue", "state", "count", "at", "until", "actor"]
    assert (copy["queue"], copy["count"], copy["actor"]) == ("mail", 2, "ana")
    assert "would restore" in qdeck.run("restore", "mail", "--dry-run").stdout
    assert qdeck.run("restore", "mail").stdout == "restored 2 pending jobs of mail\n"
    assert pending(qdeck) == ids
    assert "nothing is kept of mail" in qdeck.fails("restore", "mail")
    assert "no queue 'mial'" in qdeck.fails("clear", "mial", "--yes")
    assert "mail has no dead jobs" in qdeck.run("clear", "mail", "--state", "dead", "--yes").stdout


def test_acts_are_listed_and_taken_back(qdeck: Program) -> None:
    made = enqueue(qdeck, "--as", "eve")
    (enqueued,) = qdeck.json("audit")
    assert (enqueued["actor"], enqueued["verb"], enqueued["target"]) == (
        "eve",
        "enqueue",
        f"job {made}",
    )
    qdeck.run("pause", "mail", "--as", "ana")
    qdeck.run("limits", "mail", "--limit", "3", "--rate", "2.5", "--as", "bob")
    limits, paused, _ = qdeck.json("audit")
    assert list(limits) == [
        "id", "at", "actor", "verb", "target", "count", "outcome", "queue", "undo_until",
        "undone_by", "of",
    ]  # fmt: skip
    assert (limits["actor"], limits["verb"], limits["outcome"]) == (
        "bob",
        "limits",
        "limit 3, rate 2.5",
    )
    assert (paused["actor"], paused["target"], paused["count"]) == ("ana", "queue mail", 1)
    assert "until 20" in qdeck.run("audit", "--limit", "1").stdout
    assert "somebody else" in qdeck.fails("undo", paused["id"], "--yes", "--as", "bob")
    assert "--yes" in qdeck.fails("undo", "--as", "ana", code=2)
    assert qdeck.run("undo", "--yes", "--as", "ana").stdout == "resumed mail\n"
    qdeck.run("undo", limits["id"], "--others", "--as", "ana")
    assert qdeck.json("queues")[0]["paused"] is False
    assert "already" in qdeck.fails("undo", paused["id"], "--as", "ana")
    took = qdeck.run("undo", "--yes", "--as", "eve").stdout
    assert took == f"took back enqueue of job {made}: 1 job\n"
    assert "is not known here" in qdeck.fails("job", made)
    assert "nothing that can be taken back" in qdeck.fails("undo", "--as", "eve")
    assert [row["verb"] for row in qdeck.json("audit", "--limit", "3")] == [
        "undo", "limits", "resume",
    ]  # fmt: skip
    assert "--limit" in qdeck.fails("limits", "mail", code=2)
    assert "whole number" in qdeck.fails("limits", "mail", "--limit", "x", code=2)


def test_single_jobs_are_edited_moved_and_enqueued_again(qdeck: Program) -> None:
    first = enqueue(qdeck, "to=a")
    assert "would replace" in qdeck.run("edit", first, "--payload", "{}", "--dry-run").stdout
    qdeck.run("edit", first, "--payload", '{"to":"b"}')
    assert qdeck.json("job", first)["payload"] == {"to": "b"}
    assert 'payload was   {"to":"a"} (edited by ' in qdeck.run("job", first).stdout
    assert "JSON" in qdeck.fails("edit", first, "--payload", "{")
    qdeck.run("undo", "--yes")
    assert qdeck.json("job", first)["payload"] == {"to": "a"}
    qdeck.run("move", first, "--queue", "other")
    assert qdeck.json("job", first)["queue"] == "other"
    assert "already" in qdeck.fails("move", first, "--queue", "other")
    said = qdeck.run("again", first).stdout
    assert said.startswith("enqueued send in other as ")
    assert len(qdeck.json("jobs", "-q", "other", "--state", "pending")) == 2


def test_words_about_workers_that_are_not_there(qdeck: Program) -> None:
    enqueue(qdeck)
    for words in (("slots", "w", "3"), ("stack", "w"), ("quiet", "w"), ("recover", "w")):
        assert "w" in qdeck.fails("workers", *words)
