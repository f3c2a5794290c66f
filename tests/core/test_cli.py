"""The command line's words, each run as a process of its own on a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.commands import APP, Program
from tests.servers import Server, wait_until

from qdeck.cli import main
from qdeck.cli.program import ALIASES, WORDS

JOB_FIELDS = {
    "id",
    "task",
    "queue",
    "state",
    "priority",
    "attempt",
    "max_attempts",
    "payload",
    "metadata",
    "created_at",
    "available_at",
    "started_at",
    "finished_at",
    "progress",
    "message",
    "error",
    "result",
    "worker",
    "created",
}


@pytest.fixture
def qdeck(tmp_path: Path, valkey: Server, prefix: str) -> Program:
    (tmp_path / "app.py").write_text(APP)
    return Program(tmp_path, {"REDIS_URL": valkey.url, "QUEUE_PREFIX": prefix})


def enqueue(qdeck: Program, *words: str) -> str:
    """Enqueue a job and return its id."""
    job_id: str = qdeck.json("enqueue", *words)["id"]
    return job_id


def work(qdeck: Program) -> None:
    """Run all that is due."""
    qdeck.run("worker", "app.py", "--burst")


def alive(qdeck: Program) -> list[dict[str, Any]]:
    """Return the workers that are not lost."""
    return [row for row in qdeck.json("workers") if row["state"] != "lost"]


def test_help_names_every_word_and_loads_no_console(qdeck: Program) -> None:
    shown = qdeck.run("--help").stdout
    for word in WORDS:
        assert f"\n  {word} " in shown
    for absent in ("schedule", "metrics", "doctor", "clear"):
        assert f"\n  {absent} " not in shown
    code = (
        "import sys; from qdeck.cli import main; main(['worker', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('textual', 'rich', 'redis')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=qdeck.environ, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", [*WORDS, *ALIASES])
def test_every_word_has_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word, "--help"]) == 0
    assert "Usage: qdeck " in capsys.readouterr().out


def test_enqueue_reads_values_as_json_where_they_parse(qdeck: Program) -> None:
    made = qdeck.json("enqueue", "send", "to=ann", "n=3", "-q", "mail", "--priority", "critical")
    assert set(made) == {"id", "queue", "state"}
    assert (made["queue"], made["state"]) == ("mail", "pending")
    job = qdeck.json("job", made["id"])
    assert set(job) == JOB_FIELDS
    assert (job["payload"], job["priority"], job["task"]) == ({"to": "ann", "n": 3}, 8, "send")
    assert datetime.fromisoformat(job["created_at"]).utcoffset() is not None
    assert job["error"] is None
    assert job["started_at"] is None


def test_enqueue_takes_a_payload_a_time_and_metadata(qdeck: Program) -> None:
    at = "2099-01-02T03:04:05+01:00"
    words = ("--payload", '{"to": "ann", "n": 1}', "n=2", "--at", at, "--metadata", '{"by": "me"}')
    made = qdeck.json("enqueue", "send", *words)
    assert made["state"] == "scheduled"
    job = qdeck.json("job", made["id"])
    assert job["payload"] == {"to": "ann", "n": 2}
    assert job["metadata"] == {"by": "me"}
    assert datetime.fromisoformat(job["available_at"]) == datetime.fromisoformat(at)
    later = qdeck.json("enqueue", "send", "to=x", "--delay", "60", "--max-retries", "7")
    assert later["state"] == "scheduled"
    assert qdeck.json("job", later["id"])["max_attempts"] == 8


def test_a_unique_job_is_enqueued_once(qdeck: Program) -> None:
    first = enqueue(qdeck, "send", "to=x", "--unique", "k")
    assert enqueue(qdeck, "send", "to=y", "--unique", "k") == first
    assert "already" in qdeck.run("enqueue", "send", "to=y", "--unique", "k").stdout


def test_with_an_app_arguments_are_checked_against_the_task(qdeck: Program) -> None:
    assert "'n'" in qdeck.fails("enqueue", "send", "to=x", "n=many", "--app", "app.py")
    assert "'n'" in qdeck.fails("enqueue", "send", "n=many", "to=x", "--app", "app.py", "--dry-run")
    assert "would enqueue" in qdeck.run("enqueue", "send", "to=x", "--dry-run").stdout
    assert qdeck.json("queues") == []
    made = qdeck.json("enqueue", "send", "to=x", "--app", "app.py")
    assert (made["queue"], qdeck.json("job", made["id"])["priority"]) == ("mail", 6)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("enqueue", "a b"), 1, "task name"),
        (("enqueue", "send", "noequals"), 2, "NAME=VALUE"),
        (("enqueue", "send", "--payload", "{"), 2, "JSON"),
        (("enqueue", "send", "--payload", "[1]"), 2, "object"),
        (("enqueue", "send", "--at", "soon"), 2, "2026-"),
        (("enqueue", "send", "--delay", "1", "--at", "2099-01-01"), 1, "exclude"),
        (("enqueue", "send", "--priority", "urgent"), 1, "critical"),
        (("enqueue", "send", "-q", "a b"), 1, "queue name"),
        (("enqueue", "send", "--timeout", "0"), 1, "timeout"),
        (("enqueue",), 2, "TASK"),
        (("job", "01NOSUCHJOB"), 1, "01NOSUCHJOB"),
        (("logs", "01NOSUCHJOB"), 1, "01NOSUCHJOB"),
        (("cancel", "01NOSUCHJOB"), 1, "01NOSUCHJOB"),
        (("retry", "01NOSUCHJOB"), 1, "01NOSUCHJOB"),
        (("delete", "01NOSUCHJOB", "--yes"), 1, "01NOSUCHJOB"),
        (("jobs", "--state", "asleep"), 2, "scheduled"),
        (("jobs", "--limit", "-1"), 2, "-1"),
        (("dead", "retry"), 2, "--all"),
        (("dead", "retry", "x", "--all"), 2, "--all"),
        (("dead", "retry", "--group", "beef"), 2, "dead groups"),
        (("workers", "stop", "nobody"), 1, "nobody"),
        (("nonsense",), 2, "nonsense"),
        (("worker",), 2, "module:deck"),
        (("demo",), 2, "--headless"),
        (("demo", "--headless", "--root", "/nonexistent"), 1, "/nonexistent"),
        (("queues", "--url", "http://x"), 1, "http"),
        (("queues", "--url", "x", "--app", "app.py"), 2, "--app"),
        (("config", "--prefix", "a b"), 1, "a b"),
        (("completion", "tcsh"), 2, "tcsh"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_a_user_gets_wrong_is_one_line_and_a_code(
    qdeck: Program,
    words: tuple[str, ...],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(qdeck.folder)
    for name in ("REDIS_URL", "QUEUE_PREFIX"):
        monkeypatch.setenv(name, qdeck.environ[name])
    assert main(words) == code
    line = capsys.readouterr().err
    assert line.startswith("qdeck: ")
    assert line.count("\n") == 1
    assert said in line


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


def test_a_server_that_is_away_is_named_without_its_password(qdeck: Program) -> None:
    line = qdeck.fails("queues", REDIS_URL="redis://:hunter2@127.0.0.1:1/0")
    assert "127.0.0.1:1" in line
    assert "hunter2" not in line


def test_an_app_that_cannot_be_imported_is_one_line(qdeck: Program) -> None:
    (qdeck.folder / "broken.py").write_text("import json\n\nraise RuntimeError('no luck')\n")
    line = qdeck.fails("worker", "broken.py")
    assert "no luck" in line
    assert "broken.py:3" in line


def test_queues_and_stats_have_their_pinned_shapes(qdeck: Program) -> None:
    enqueue(qdeck, "send", "to=x", "-q", "mail")
    enqueue(qdeck, "send", "to=x", "-q", "mail", "--delay", "99")
    enqueue(qdeck, "boom", "why=x", "-q", "bulk")
    rows = {row["queue"]: row for row in qdeck.json("queues")}
    assert set(rows) == {"mail", "bulk"}
    assert set(rows["mail"]) == {
        "queue",
        "pending",
        "running",
        "scheduled",
        "retrying",
        "completed",
        "dead",
        "cancelled",
        "paused",
        "oldest_pending_s",
    }
    assert (rows["mail"]["pending"], rows["mail"]["scheduled"]) == (1, 1)
    assert rows["mail"]["paused"] is False
    assert rows["mail"]["oldest_pending_s"] >= 0
    work(qdeck)
    qdeck.run("worker", "app.py", "-q", "bulk", "--burst")
    stats = qdeck.json("stats")
    names = ["total_enqueued", "total_processed", "total_failed", "total_retried", "pending"]
    names += ["running", "scheduled", "retrying", "dead_letter"]
    assert set(stats) == {*names, "queues"}
    assert stats["total_enqueued"] == 3
    assert stats["total_processed"] == 2
    assert (stats["total_failed"], stats["dead_letter"], stats["scheduled"]) == (1, 1, 1)
    assert set(stats["queues"]["mail"]) == set(names)
    assert stats["queues"]["bulk"]["dead_letter"] == 1
    assert qdeck.json("queues")[0]["oldest_pending_s"] is None
    for word in ("queues", "stats"):
        assert "mail" in qdeck.run(word).stdout


def test_a_burst_runs_every_task_and_shows_results(qdeck: Program) -> None:
    sent = enqueue(qdeck, "send", "to=ann", "n=2", "-q", "mail")
    paid = enqueue(qdeck, "Pay", "order=7", "-q", "bulk")
    talked = enqueue(qdeck, "talk", "lines=3", "-q", "bulk")
    work(qdeck)
    assert qdeck.json("job", sent)["result"] == "ann 2"
    assert qdeck.json("job", paid)["state"] == "completed"
    job = qdeck.json("job", talked)
    assert (job["result"], job["progress"], job["message"]) == (3, 50, "half way")
    texts = [line["text"] for line in qdeck.json("logs", talked)]
    assert texts == ["line 0 of 3", "line 1 of 3", "line 2 of 3", "said it"]
    assert "paid 7" in qdeck.run("logs", paid).stdout
    assert "paid 7" in qdeck.run("logs", paid, "-f").stdout
    assert "half way" in qdeck.run("job", talked).stdout


def test_jobs_can_be_listed_by_queue_state_and_query(qdeck: Program) -> None:
    for number in range(5):
        enqueue(qdeck, "send", "to=x", f"n={number}", "-q", "mail")
    late = enqueue(qdeck, "send", "to=late", "-q", "bulk", "--delay", "99")
    rows = qdeck.json("jobs", "-q", "mail", "--state", "pending")
    assert [row["payload"]["n"] for row in rows] == [0, 1, 2, 3, 4]
    assert set(rows[0]) == JOB_FIELDS
    assert len(qdeck.json("jobs")) == 6
    assert [row["id"] for row in qdeck.json("jobs", "--state", "scheduled")] == [late]
    paged = qdeck.json("jobs", "-q", "mail", "--limit", "2", "--offset", "3")
    assert [row["payload"]["n"] for row in paged] == [3, 4]
    assert [row["id"] for row in qdeck.json("jobs", "args.to:late")] == [late]
    assert late in qdeck.run("jobs").stdout


def test_a_pause_holds_a_queue_or_a_task_until_it_is_taken_back(qdeck: Program) -> None:
    first = enqueue(qdeck, "send", "to=x", "-q", "mail")
    assert "would pause" in qdeck.run("pause", "mail", "--dry-run").stdout
    qdeck.run("pause", "mail")
    assert qdeck.json("queues")[0]["paused"] is True
    qdeck.run("worker", "app.py", "-q", "mail", "--max-time", "1.5")
    assert qdeck.json("job", first)["state"] == "pending"
    qdeck.run("resume", "mail")
    qdeck.run("pause", "mail", "--task", "boom")
    held = enqueue(qdeck, "boom", "why=x", "-q", "mail")
    qdeck.run("worker", "app.py", "-q", "mail", "--max-time", "1.5")
    assert qdeck.json("job", first)["state"] == "completed"
    assert qdeck.json("job", held)["state"] == "pending"
    assert any(row["task"] == "boom" and row["paused"] for row in qdeck.json("tasks"))
    qdeck.run("resume", "mail", "--task", "boom", "--yes")
    work(qdeck)
    assert qdeck.json("job", held)["state"] == "dead"


def test_cancel_and_delete_change_what_may_be_changed(qdeck: Program) -> None:
    one, two = (enqueue(qdeck, "send", "to=x", "-q", "mail") for _ in range(2))
    assert "would cancel 1 job" in qdeck.run("cancel", one, "--dry-run").stdout
    qdeck.run("cancel", one)
    assert qdeck.json("job", one)["state"] == "cancelled"
    assert "reasons" in qdeck.run("cancel", one, code=1).stderr
    assert "--yes" in qdeck.fails("delete", one, code=2)
    assert "would delete 2 jobs" in qdeck.run("delete", one, two, "--dry-run").stdout
    qdeck.run("delete", one, two, "--yes")
    qdeck.fails("job", one)
    qdeck.fails("job", two)
    assert qdeck.json("jobs") == []


def test_retry_gives_a_dead_job_another_round(qdeck: Program) -> None:
    dead = enqueue(qdeck, "boom", "why=x", "-q", "mail")
    work(qdeck)
    job = qdeck.json("job", dead)
    assert (job["state"], job["error"]["type"], job["error"]["message"]) == (
        "dead",
        "ValueError",
        "x",
    )
    shown = qdeck.run("job", dead).stdout
    assert "run 1" in shown
    assert "ValueError: x" in shown
    assert "would retry 1 job" in qdeck.run("retry", dead, "--dry-run").stdout
    assert qdeck.json("job", dead)["state"] == "dead"
    qdeck.run("queue:retry", dead)
    assert qdeck.json("job", dead)["state"] == "pending"
    assert "another state" in qdeck.fails("retry", dead)


def test_the_dead_are_listed_grouped_retried_exported_and_deleted(qdeck: Program) -> None:
    ids = [enqueue(qdeck, "boom", f"why=case {number}", "-q", "mail") for number in range(3)]
    other = enqueue(qdeck, "talk", "lines=x", "-q", "bulk")
    work(qdeck)
    rows = qdeck.json("dead", "list", "-q", "mail")
    assert {row["id"] for row in rows} == set(ids)
    assert rows == qdeck.json("queue:dlq", "--queue", "mail")
    assert len(qdeck.json("dead", "list")) == 4
    assert len(qdeck.json("dead", "list", "--limit", "1", "--offset", "3")) == 1
    groups = qdeck.json("dead", "groups")
    assert [group["count"] for group in groups] == [3, 1]
    assert groups[0]["sample"] in ids
    exported = [json.loads(line) for line in qdeck.run("dead", "export").stdout.splitlines()]
    assert {job["id"] for job in exported} == {*ids, other}
    assert set(exported[0]) == JOB_FIELDS
    fingerprint = groups[0]["fingerprint"]
    assert "would retry 3" in qdeck.run("dead", "retry", "--group", fingerprint, "--dry-run").stdout
    assert "--yes" in qdeck.fails("dead", "retry", "--group", fingerprint, code=2)
    assert "3 jobs" in qdeck.run("dead", "retry", "--group", fingerprint, "--yes").stdout
    assert {qdeck.json("job", job_id)["state"] for job_id in ids} == {"pending"}
    assert "--yes" in qdeck.fails("dead", "delete", other, code=2)
    qdeck.run("dead", "delete", "--all", "-q", "bulk", "--yes")
    assert qdeck.json("dead", "list") == []
    assert "group" in qdeck.run("dead", "groups").stdout


def test_config_shows_values_and_where_they_come_from(qdeck: Program, prefix: str) -> None:
    (qdeck.folder / "qdeck.toml").write_text('max_retries = 9\napp = "app.py"\n')
    rows = {row["name"]: row for row in qdeck.json("config")}
    assert (rows["max_retries"]["value"], rows["max_retries"]["source"]) == ("9", "qdeck.toml")
    assert (rows["prefix"]["value"], rows["prefix"]["source"]) == (prefix, "QUEUE_PREFIX")
    assert rows["lease"]["source"] == "default"
    assert "s3cret" not in qdeck.run("config", REDIS_URL="redis://:s3cret@h/0").stdout
    assert "max_retries" in qdeck.fails("config", QUEUE_MAX_RETRIES="many").lower()
    enqueue(qdeck, "send", "to=x", "-q", "mail")
    qdeck.run("worker", "--burst")
    assert {row["queue"]: row["completed"] for row in qdeck.json("queues")}["mail"] == 1


def test_a_disabled_worker_says_so_and_ends_well(qdeck: Program) -> None:
    assert "QUEUE_ENABLED" in qdeck.run("worker", "app.py", QUEUE_ENABLED="off").stdout


def test_a_memory_connection_has_one_worker_process(qdeck: Program) -> None:
    line = qdeck.fails(
        "worker", "app.py", "--processes", "2", REDIS_URL="", QUEUE_CONNECTION="memory"
    )
    assert "embedded or redis" in line


def test_a_sync_connection_has_no_worker(qdeck: Program) -> None:
    line = qdeck.fails("worker", "app.py", REDIS_URL="", QUEUE_CONNECTION="sync")
    assert "sync" in line


def test_the_embedded_server_can_be_started_seen_and_stopped(tmp_path: Path) -> None:
    qdeck = Program(tmp_path, {"XDG_DATA_HOME": str(tmp_path / "data")})
    assert "no server" in qdeck.run("server", "status", code=1).stdout
    assert "would start" in qdeck.run("server", "start", "--dry-run").stdout
    assert "runs in" in qdeck.run("server", "start").stdout
    try:
        status = json.loads(qdeck.run("server", "status", "--json").stdout)
        assert status["running"] is True
        assert status["pid"] > 0
        assert "would stop" in qdeck.run("server", "stop", "--dry-run").stdout
    finally:
        assert "stopped" in qdeck.run("server", "stop").stdout
    assert "no server" in qdeck.run("server", "stop").stdout
    assert "sync" in qdeck.fails("server", "start", QUEUE_CONNECTION="sync")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_words(qdeck: Program, shell: str) -> None:
    assert "_QDECK_COMPLETE" in qdeck.run("completion", shell).stdout
    current = "wor" if shell == "fish" else "1"
    done = qdeck.run(
        _QDECK_COMPLETE=f"{shell}_complete", COMP_WORDS="qdeck wor", COMP_CWORD=current
    ).stdout
    assert "worker" in done
    assert "stats" not in done


def test_a_worker_stops_cleanly_on_sigterm_and_is_listed_meanwhile(qdeck: Program) -> None:
    words = qdeck.command("worker", "app.py", "-q", "mail,bulk:2", "-c", "3")
    process = subprocess.Popen(
        words, cwd=qdeck.folder, env=qdeck.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: bool(alive(qdeck)) or process.poll() is not None)
        (row,) = alive(qdeck)
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
            "local",
        }
        assert (row["pid"], row["state"], row["concurrency"]) == (process.pid, "running", 3)
        assert (row["running"], row["local"]) == (0, True)
        assert row["id"] in qdeck.run("workers", "list").stdout
        qdeck.run("workers", "quiet", row["id"])
        wait_until(lambda: alive(qdeck)[0]["state"] == "quiet")
        assert "would stop" in qdeck.run("workers", "stop", row["id"], "--dry-run").stdout
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert "Traceback" not in said
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
        wait_until(lambda: bool(alive(qdeck)) or process.poll() is not None)
        qdeck.run("workers", "stop", alive(qdeck)[0]["id"])
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
        wait_until(lambda: len(alive(qdeck)) == 2 or process.poll() is not None)
        first = alive(qdeck)[0]["pid"]
        assert first != process.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len({row["pid"] for row in qdeck.json("workers")}) == 3)
        job = enqueue(qdeck, "send", "to=x", "-q", "mail")
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
    ids = [enqueue(qdeck, "send", "to=x", "-q", "mail") for _ in range(3)]
    qdeck.run("worker", "app.py", "--processes", "2", "--burst")
    assert {qdeck.json("job", job_id)["state"] for job_id in ids} == {"completed"}


def test_two_apps_are_served_by_one_worker_if_they_share_a_place(qdeck: Program) -> None:
    (qdeck.folder / "second.py").write_text(
        "from qdeck import Deck\n\ndeck = Deck()\n\n\n"
        "@deck.task(run='process')\ndef square(n: int) -> int:\n    return n * n\n"
    )
    sent = enqueue(qdeck, "send", "to=x", "-q", "mail")
    squared = enqueue(qdeck, "square", "n=7")
    qdeck.run("worker", "app.py", "second.py", "--burst")
    assert qdeck.json("job", sent)["state"] == "completed"
    assert qdeck.json("job", squared)["result"] == 49
    line = qdeck.fails("worker", "app.py", "second.py", APP_URL="redis://127.0.0.1:1/0")
    assert "different places" in line


def test_times_in_a_job_are_rfc_3339_in_utc(qdeck: Program) -> None:
    job = qdeck.json("job", enqueue(qdeck, "send", "to=x"))
    assert (
        datetime.fromisoformat(job["created_at"]).astimezone(UTC).isoformat()[:16]
        == (job["created_at"][:16])
    )
