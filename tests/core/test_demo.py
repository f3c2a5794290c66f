"""The demo without a terminal: real jobs to their end, and nothing left."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.commands import Program
from tests.servers import wait_until

from qdeck.demo.plan import ROUND
from qdeck.server import SharedServer, server_status


@pytest.fixture
def qdeck(tmp_path: Path) -> Iterator[Program]:
    for name in ("tmp", "data", "work"):
        (tmp_path / name).mkdir()
    environ = {"TMPDIR": str(tmp_path / "tmp"), "XDG_DATA_HOME": str(tmp_path / "data")}
    yield Program(tmp_path / "work", environ)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert keys_left(tmp_path / "data" / "qdeck") == []


def keys_left(folder: Path) -> list[Any]:
    """Return the keys of an embedded server that nobody uses any more."""
    assert not server_status(folder).running
    server = SharedServer.at(folder)
    path = server.acquire(folder)
    try:
        with redis.Redis(unix_socket_path=path) as client:
            found: Any = client.keys("*")
            return list(found)
    finally:
        server.release(folder)


def test_the_demo_brings_every_job_where_it_has_to_be_and_leaves_nothing(qdeck: Program) -> None:
    report = json.loads(qdeck.run("demo", "--headless", "--jobs", "75", "--json").stdout)
    assert report["misfits"] == []
    rows = {row["task"]: row for row in report["tasks"]}
    assert sum(row["enqueued"] for row in rows.values()) == 75
    dead = rows.pop("parse_as_json")
    assert (dead["enqueued"], dead["dead"], dead["completed"]) == (3, 3, 0)
    assert all(row["completed"] == row["enqueued"] for row in rows.values())
    assert rows["mirror_file"]["retried"] >= 3
    assert all(row["wait_p50"] <= row["wait_p95"] for row in rows.values())
    assert all(0 < row["run_p50"] <= row["run_p95"] for row in rows.values())


def test_the_demo_prints_a_table(qdeck: Program) -> None:
    lines = qdeck.run("demo", "--headless", "--jobs", "25", "--seed", "5").stdout.splitlines()
    assert lines[0].split()[:5] == ["task", "enqueued", "completed", "retried", "dead"]
    assert {line.split()[0] for line in lines[1:9]} == set(ROUND) - {"flaky"}
    assert lines[-1].startswith("25 jobs in ")


def test_the_demo_takes_no_notice_of_the_users_settings(qdeck: Program) -> None:
    (qdeck.folder / "qdeck.toml").write_text('max_retries = 0\ntimeout = 1\nprefix = "mine"\n')
    url = "redis://127.0.0.1:1/0"
    qdeck.run("demo", "--headless", "--jobs", "25", REDIS_URL=url, QUEUE_DEFAULT="other")


def test_an_interrupted_demo_leaves_nothing(qdeck: Program, tmp_path: Path) -> None:
    process = subprocess.Popen(
        qdeck.command("demo", "--headless", "--jobs", "5000"),
        cwd=qdeck.folder,
        env=qdeck.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        folder = tmp_path / "data" / "qdeck"
        wait_until(lambda: process.poll() is not None or server_status(folder).running)
        wait_until(
            lambda: process.poll() is not None or any((tmp_path / "tmp").glob("qdeck-demo-*"))
        )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == 130, said
        assert "Traceback" not in said
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
