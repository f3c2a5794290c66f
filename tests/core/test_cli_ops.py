"""The words about bulk operations: patched retries, rates, the list, abort and undo."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.commands import Program


def die(qdeck: Program, count: int) -> list[str]:
    """Let jobs of the app die; they fail since their argument is a number."""
    ids = [qdeck.enqueue("boom", f'why="{n}"', "-q", "mail") for n in range(count)]
    qdeck.work()
    return ids


@contextmanager
def working(qdeck: Program) -> Iterator[None]:
    """Have a worker meanwhile."""
    with subprocess.Popen(
        qdeck.command("worker", "app.py"),
        cwd=qdeck.folder,
        env=qdeck.environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def test_a_group_is_retried_with_a_patch_and_taken_back(qdeck: Program) -> None:
    ids = die(qdeck, 2)
    (group,) = qdeck.json("dead", "groups")
    words = ("dead", "retry", "--group", group["fingerprint"], "--set", "args.why=fixed")
    dry = qdeck.run(*words, "--dry-run")
    assert dry.stdout == "would retry 2 jobs\n"
    assert "2 change, 0 unchanged, 0 invalid" in dry.stderr
    assert '{"why":"fixed"}' in dry.stderr
    assert qdeck.json("job", ids[0])["payload"] == {"why": "0"}
    done = qdeck.run(*words, "--yes", "--as", "ana")
    assert done.stdout == "retry: 2 jobs changed\n"
    assert [qdeck.json("job", each)["payload"] for each in ids] == [{"why": "fixed"}] * 2
    (row,) = qdeck.json("ops", "list")
    assert (row["verb"], row["state"], row["total"], row["ok"]) == ("retry", "done", 2, 2)
    assert (row["started_by"], row["queues"]) == ("ana", ["mail"])
    assert row["changes"] == ['why = "fixed"']
    assert qdeck.json("ops", "show", row["id"][-6:]) == row
    assert "state: done" in qdeck.run("ops", "show", row["id"]).stdout
    assert "2/2" in qdeck.run("ops", "list").stdout
    said = qdeck.run("ops", "undo", row["id"], "--yes").stdout
    assert said == "took back retry of 2 jobs: 2 jobs\n"
    assert [qdeck.json("job", each)["state"] for each in ids] == ["dead"] * 2


def test_what_a_task_refuses_is_left_alone(qdeck: Program) -> None:
    ids = die(qdeck, 2)
    done = qdeck.run("dead", "retry", "--all", "--set", "args.why=5", "--yes", code=1)
    assert "0 change, 0 unchanged, 2 invalid" in done.stderr
    assert "argument 'why'" in done.stderr
    assert [qdeck.json("job", each)["state"] for each in ids] == ["dead"] * 2
    qdeck.run("dead", "patch", *ids, "--rename", "args.why=cause", "--yes", code=1)
    qdeck.run("dead", "patch", *ids, "--set", "args.why=other", "--yes")
    assert [qdeck.json("job", each)["payload"] for each in ids] == [{"why": "other"}] * 2


def test_a_failing_canary_stops_the_rest(qdeck: Program) -> None:
    die(qdeck, 3)
    with working(qdeck):
        line = qdeck.fails("dead", "retry", "--all", "--canary", "--yes")
    assert "retry stopped: the canary failed" in line
    (row,) = qdeck.json("ops", "list")
    assert (row["state"], row["canary"], row["failed_again"]) == ("stopped", "failed", 1)
    assert len(qdeck.json("dead", "list")) == 3


def test_a_slow_operation_is_left_to_the_workers_and_aborted(qdeck: Program) -> None:
    die(qdeck, 3)
    words = ("dead", "retry", "--all", "--rate", "0.01", "--stop-after", "2", "--yes", "--detach")
    said = qdeck.run(*words).stdout
    assert said.startswith("retry: started over 3 jobs\nwatch it: qdeck ops show ")
    (row,) = qdeck.json("ops", "list")
    assert (row["state"], row["rate"], row["stop_after"]) == ("running", 0.01, 2)
    assert "over the same jobs" in qdeck.fails("dead", "retry", "--all", "--yes").splitlines()[-1]
    assert qdeck.run("ops", "abort", row["id"], "--dry-run").stdout.startswith("would abort retry")
    assert qdeck.run("ops", "abort", row["id"], "--yes").stdout.startswith("aborted retry after ")
    assert qdeck.json("ops", "show", row["id"])["state"] == "aborted"


def test_wrong_words_are_usage_errors(qdeck: Program) -> None:
    assert "no operation" in qdeck.fails("ops", "show", "nothing")
    for words in (
        ("dead", "retry", "--all", "--set", "x"),
        ("dead", "retry", "--all", "--rename", "x"),
        ("dead", "retry", "--all", "--set", "-args.x"),
        ("dead", "retry", "--all", "--rate", "0"),
        ("dead", "patch", "--all"),
    ):
        qdeck.fails(*words, code=2)
