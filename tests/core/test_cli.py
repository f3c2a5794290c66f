"""The command line's words, each run as a process of its own on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import Program

from qdeck.cli import main
from qdeck.cli.program import ALIASES, WORDS
from qdeck.cli.show import seconds


def test_help_names_every_word_and_loads_no_console(qdeck: Program) -> None:
    shown = qdeck.run("--help").stdout
    for word in WORDS:
        assert f"\n  {word} " in shown
    for option in ("--profile NAME", "--theme NAME", "--read-only", "--ascii", "--plain"):
        assert f"\n  {option} " in shown
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


@pytest.mark.parametrize("word", ["make", "server", "dead", "ops", "schedule"])
def test_a_group_of_words_without_one_of_them_is_answered_with_its_help(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "--help"]) == 0
    help_ = capsys.readouterr().out
    assert main([word]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", help_)
    assert said.err.startswith(f"Usage: qdeck {word} ")


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
        (("dead", "retry", "--group", "beef"), 1, "dead groups"),
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
    qdeck.enqueue("send", "to=x", "-q", "mail")
    qdeck.enqueue("send", "to=x", "-q", "mail", "--delay", "99")
    qdeck.enqueue("boom", "why=x", "-q", "bulk")
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
    qdeck.work()
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


def test_lengths_of_time_are_told_in_the_unit_that_says_most() -> None:
    told = [seconds(value) for value in (None, 0, 0.0123, 0.72, 59, 90, 5400, 129_600)]
    assert told == ["-", "0.0 s", "12 ms", "0.7 s", "59.0 s", "1.5 m", "1.5 h", "1.5 d"]


def test_config_shows_values_and_where_they_come_from(qdeck: Program, prefix: str) -> None:
    (qdeck.folder / "qdeck.toml").write_text('max_retries = 9\napp = "app.py"\n')
    rows = {row["name"]: row for row in qdeck.json("config")}
    assert (rows["max_retries"]["value"], rows["max_retries"]["source"]) == ("9", "qdeck.toml")
    assert (rows["prefix"]["value"], rows["prefix"]["source"]) == (prefix, "QUEUE_PREFIX")
    assert rows["lease"]["source"] == "default"
    assert rows["durability"]["value"] is None
    assert "s3cret" not in qdeck.run("config", REDIS_URL="redis://:s3cret@h/0").stdout
    assert "max_retries" in qdeck.fails("config", QUEUE_MAX_RETRIES="many").lower()
    qdeck.enqueue("send", "to=x", "-q", "mail")
    qdeck.run("worker", "--burst")
    assert {row["queue"]: row["completed"] for row in qdeck.json("queues")}["mail"] == 1


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
