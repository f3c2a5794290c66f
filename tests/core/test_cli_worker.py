"""`qdeck worker` serves, stops and is stopped, alone or as a fleet."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from tests.commands import Program
from tests.servers import wait_until


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("missing.py",), "missing.py"),
        (("app.py:nodeck",), "nodeck"),
        (("app.py", "-q", "a b"), "a b"),
    ],
)
def test_a_worker_that_cannot_serve_says_why(
    qdeck: Program, words: tuple[str, ...], said: str
) -> None:
    assert said in qdeck.fails("worker", *words)


def test_an_app_that_ends_while_it_is_imported_is_told(qdeck: Program) -> None:
    (qdeck.folder / "ends.py").write_text("import sys\n\nsys.exit(0)\n")
    line = qdeck.fails("worker", "ends.py")
    assert "SystemExit: 0 (ends.py:3)" in line
    assert "__main__" in line


def test_a_disabled_worker_says_so_and_ends_well(qdeck: Program) -> None:
    assert "QUEUE_ENABLED" in qdeck.run("worker", "app.py", QUEUE_ENABLED="off").stdout
    assert "QUEUE_ENABLED" in qdeck.run("worker", QUEUE_ENABLED="no").stdout


def test_a_memory_connection_has_one_worker_process(qdeck: Program) -> None:
    line = qdeck.fails(
        "worker", "app.py", "--processes", "2", REDIS_URL="", QUEUE_CONNECTION="memory"
    )
    assert "embedded or redis" in line


def test_a_sync_connection_has_no_worker(qdeck: Program) -> None:
    line = qdeck.fails("worker", "app.py", REDIS_URL="", QUEUE_CONNECTION="sync")
    assert "sync" in line


def test_a_worker_stops_cleanly_on_sigterm_and_is_listed_meanwhile(qdeck: Program) -> None:
    words = qdeck.command("worker", "app.py", "-q", "mail,bulk:2", "-c", "3")
    process = subprocess.Popen(
        words, cwd=qdeck.folder, env=qdeck.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: bool(qdeck.alive()) or process.poll() is not None)
        (row,) = qdeck.alive()
        assert set(row) == {
            "id",
            "host",
            "pid",
            "state",
            "queues",
            "concurrency",
            "running",
            "started_at",
            "beat_age_s",
            "cpu_share",
            "local",
        }
        assert (row["pid"], row["state"], row["concurrency"]) == (process.pid, "running", 3)
        assert (row["running"], row["local"]) == (0, True)
        assert row["id"] in qdeck.run("workers", "list").stdout
        qdeck.run("workers", "quiet", row["id"])
        wait_until(lambda: qdeck.alive()[0]["state"] == "quiet")
        assert "would stop" in qdeck.run("workers", "stop", row["id"], "--dry-run").stdout
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert "Traceback" not in said
        assert f"worker {row['id']} stops; what runs has 30 s to end" in said
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_a_worker_can_be_stopped_from_afar(qdeck: Program) -> None:
    process = subprocess.Popen(
        qdeck.command("queue:work", "app.py", "--queue", "mail", "--workers", "1"),
        cwd=qdeck.folder,
        env=qdeck.environ,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: bool(qdeck.alive()) or process.poll() is not None)
        qdeck.run("workers", "stop", qdeck.alive()[0]["id"])
        assert process.wait() == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_fleet_starts_again_what_dies_and_ends_together(qdeck: Program) -> None:
    process = subprocess.Popen(
        qdeck.command("worker", "app.py", "-q", "mail", "--processes", "2"),
        cwd=qdeck.folder,
        env=qdeck.environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(qdeck.alive()) == 2 or process.poll() is not None)
        first = qdeck.alive()[0]["pid"]
        assert first != process.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len({row["pid"] for row in qdeck.json("workers")}) == 3)
        job = qdeck.enqueue("send", "to=x", "-q", "mail")
        wait_until(lambda: bool(qdeck.json("job", job)["state"] == "completed"))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert "SIGKILL; starting another" in said
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_a_fleet_in_a_burst_ends_by_itself(qdeck: Program) -> None:
    ids = [qdeck.enqueue("send", "to=x", "-q", "mail") for _ in range(3)]
    qdeck.run("worker", "app.py", "--processes", "2", "--burst")
    assert {qdeck.json("job", job_id)["state"] for job_id in ids} == {"completed"}


def test_a_worker_tells_which_runs_failed_and_why(qdeck: Program) -> None:
    job = qdeck.enqueue("boom", "why=no such order", "-q", "mail")
    said = qdeck.run("worker", "app.py", "--burst").stderr
    assert f"job {job}: boom failed: ValueError: no such order" in said


def test_two_apps_are_served_by_one_worker_if_they_share_a_place(qdeck: Program) -> None:
    (qdeck.folder / "second.py").write_text(
        "from qdeck import Deck\n\ndeck = Deck()\n\n\n"
        "@deck.task(run='process')\ndef square(n: int) -> int:\n    return n * n\n"
    )
    sent = qdeck.enqueue("send", "to=x", "-q", "mail")
    squared = qdeck.enqueue("square", "n=7")
    qdeck.run("worker", "app.py", "second.py", "--burst")
    assert qdeck.json("job", sent)["state"] == "completed"
    assert qdeck.json("job", squared)["result"] == 49
    line = qdeck.fails("worker", "app.py", "second.py", APP_URL="redis://127.0.0.1:1/0")
    assert "different places" in line


def test_process_tasks_find_their_app_after_a_handler_left_the_folder(qdeck: Program) -> None:
    (qdeck.folder / "moving.py").write_text(
        "import os\n\nfrom qdeck import Deck\n\ndeck = Deck()\n\n\n"
        "@deck.task(priority='high')\ndef leave() -> None:\n    os.chdir('/')\n\n\n"
        "@deck.task(run='process', max_retries=0)\ndef square(n: int) -> int:\n    return n * n\n"
    )
    left, squared = qdeck.enqueue("leave"), qdeck.enqueue("square", "n=7")
    qdeck.run("worker", "moving.py", "--burst", "-c", "1")
    assert qdeck.json("job", left)["state"] == "completed"
    assert qdeck.json("job", squared)["result"] == 49
