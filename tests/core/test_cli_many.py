"""The words that change many jobs: by ids, or by a description of what is meant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.servers import Server

from qdeck import Deck, Job
from qdeck.cli.program import main
from qdeck.job import State

Word = Callable[..., str]


@pytest.fixture
def store(valkey: Server, prefix: str) -> Iterator[Deck]:
    """A deck whose jobs nobody runs."""
    deck = Deck(valkey.url, prefix=prefix)
    yield deck
    deck.close_sync()


@pytest.fixture
def word(valkey: Server, prefix: str, capsys: pytest.CaptureFixture[str]) -> Word:
    """Run words of the command line here; what they say on stdout, or where they fail on stderr."""

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        found = main([*words, "--url", valkey.url, "--prefix", prefix])
        said = capsys.readouterr()
        assert found == code, (words, said.out, said.err)
        return said.err if code else said.out

    return run


def put(store: Deck, count: int, queue: str = "q", delay: float | None = None) -> list[str]:
    """Enqueue jobs with the arguments {"n": 0…}; return their ids."""
    return [store.enqueue_sync("job", {"n": n}, queue=queue, delay=delay).id for n in range(count)]


def job(store: Deck, job_id: str) -> Job[object]:
    """Return a job that is there."""
    found = store.job_sync(job_id)
    assert found is not None
    return found


def states(store: Deck, ids: list[str]) -> list[State]:
    """Return the states of jobs that are there."""
    return [job(store, each).state for each in ids]


def test_jobs_are_cancelled_retried_and_discarded_by_what_they_are(store: Deck, word: Word) -> None:
    ids = put(store, 4)
    where = ("--state", "pending", "--where", "args.n:>1")
    assert word("cancel", *where, "--dry-run") == "would cancel 2 jobs\n"
    assert "give --yes" in word("cancel", *where, code=2)
    assert word("cancel", *where, "--yes") == "cancel: 2 jobs changed\n"
    assert states(store, ids) == ["pending", "pending", "cancelled", "cancelled"]
    assert word("retry", "--state", "cancelled", "-q", "q", "--yes") == "retry: 2 jobs changed\n"
    assert word("discard", ids[0]) == "discard: 1 job changed\n"
    assert word("discard", "--state", "pending", "--all", "--yes").startswith("discard: 3 jobs")
    assert states(store, ids) == ["dead"] * 4
    assert word("delete", "--state", "dead", "--all", "--yes") == "delete: 4 jobs changed\n"
    assert store.job_sync(ids[0]) is None
    assert word("undo", "--yes") == "took back delete of 4 jobs: 4 jobs\n"
    assert states(store, ids) == ["dead"] * 4


def test_jobs_that_are_due_later_run_now_or_at_another_time(store: Deck, word: Word) -> None:
    ids = put(store, 3, delay=3600)
    before = [job(store, each).available_at for each in ids]
    assert word("delay", "--state", "scheduled", "--all", "--by", "2h", "--yes").startswith(
        "move in time: 3 jobs changed"
    )
    after = [job(store, each).available_at for each in ids]
    assert after == [at + timedelta(hours=2) for at in before if at]
    assert word("delay", ids[0], "--to", "2099-01-01 00:00Z") == "move in time: 1 job changed\n"
    assert job(store, ids[0]).available_at == datetime(2099, 1, 1, tzinfo=UTC)
    assert word("run", ids[0]) == "made pending 1 job\n"
    assert word("run", "--state", "scheduled", "-q", "q", "--yes") == "run now: 2 jobs changed\n"
    assert states(store, ids) == ["pending"] * 3
    assert word("priority", *ids, "--to", "high", "--yes") == "priority: 3 jobs changed\n"
    assert {job(store, each).priority for each in ids} == {6}


def test_many_jobs_move_to_another_queue(store: Deck, word: Word) -> None:
    ids = put(store, 3)
    put(store, 1, "third")
    assert word("move", ids[0], "-q", "other") == "moved 1 job to other\n"
    words = ("move", "--state", "pending", "--from", "q", "-q", "other")
    assert word(*words, "--dry-run") == "would move queue 2 jobs\n"
    assert word(*words, "--yes") == "move queue: 2 jobs changed\n"
    assert {job(store, each).queue for each in ids} == {"other"}
    assert word("undo", "--yes").startswith("took back move of 2 jobs: 2 jobs")
    assert [job(store, each).queue for each in ids] == ["other", "q", "q"]


def test_metrics_and_schedules_are_told_as_json(store: Deck, word: Word) -> None:
    put(store, 2)
    word("schedule", "add", "nightly", "--cron", "0 3 * * *", "--task", "job", "-q", "q")
    found = json.loads(word("metrics", "--json"))
    (pending,) = [each for each in found if each["name"] == "queue_jobs_pending"]
    assert pending == {
        "name": "queue_jobs_pending", "type": "gauge", "labels": {"queue": "q"}, "value": 2.0,
    }  # fmt: skip
    plans = json.loads(word("schedule", "export", "--json"))["schedules"]
    assert plans["nightly"]["expression"] == "0 3 * * *"
    (listed,) = json.loads(word("schedule", "list", "--json", "--limit", "1"))
    assert listed["name"] == "nightly"
    assert json.loads(word("schedule", "list", "--json", "--offset", "1")) == []


@pytest.mark.parametrize(
    "words",
    [
        ("cancel",),
        ("cancel", "--all"),
        ("retry", "--state", "dead"),
        ("retry", "--state", "pending", "--all"),
        ("delete", "--state", "running", "--all"),
        ("discard", "X", "--state", "pending", "--all"),
        ("run", "X", "--where", "task:job"),
        ("delay", "X"),
        ("delay", "--state", "scheduled", "--all", "--by", "soon"),
        ("delay", "--state", "scheduled", "--all", "--to", "yesterday"),
        ("priority", "X"),
        ("recover",),
    ],
)
def test_a_word_that_does_not_say_which_jobs_is_wrong_usage(
    words: tuple[str, ...], word: Word, store: Deck
) -> None:
    said = word(*words, code=2)
    assert said.startswith("qdeck: ")
    assert said.count("\n") == 1


def test_what_is_refused_is_said_in_one_line(store: Deck, word: Word) -> None:
    (job_id,) = put(store, 1)
    assert "priority 'x' is not known" in word("priority", job_id, "--to", "x", code=1)
    assert "none of the 1 job can be changed by retry" in word("retry", job_id, code=1)
    for words in (
        ("dead", "patch", "--all", "--set", "args.n=2"),
        ("dead", "retry", "--all"),
        ("delete", "--state", "cancelled", "-q", "bad"),
    ):
        verb = words[1] if words[0] == "dead" else words[0]
        for more in ((), ("--yes",)):
            said = word(*words, *more, code=1)
            assert said == (
                f"qdeck: no job matches, so {verb} changed nothing; `qdeck jobs` shows those there "
                "are\n"
            )
        assert word(*words, "--dry-run") == f"would {verb} 0 jobs\n"
    described = ("cancel", "--state", "pending", "--where")
    assert "'no' is no field" in word(*described, "no:such", code=1)
