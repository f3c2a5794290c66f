"""What monitoring and a troubled operator are told, judged and on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Program
from tests.core.desk import Desk
from tests.core.serving import eventually, serving
from tests.core.test_acl import README, login
from tests.servers import Server

from qdeck.admin import (
    Failure,
    JobRef,
    Pause,
    QueueRow,
    ScheduleSpec,
    ServerInfo,
    Snapshot,
    TaskRow,
    WorkerRow,
)
from qdeck.checkup import DEFAULTS, Finding, Late, examine, worst

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
WORKER = WorkerRow("w1", "host-a", 7, queues=("mail",), beat_age_s=1.0)


def judge(
    *rows: QueueRow,
    workers: tuple[WorkerRow, ...] = (WORKER,),
    tasks: tuple[TaskRow, ...] = (),
    late: tuple[Late, ...] = (),
    server: ServerInfo | Failure | None = None,
    **terms: Any,
) -> list[Finding]:
    snapshot = Snapshot(NOW, 0.0, rows, server or ServerInfo())
    return examine(snapshot, workers, tasks, late, {**DEFAULTS, **terms})


def test_nothing_wrong_finds_nothing() -> None:
    found = judge(QueueRow("mail", pending=3, held=0, dead=0, oldest_pending_s=4.0))
    assert found == []
    assert worst(found) == "ok"


@pytest.mark.parametrize(("age", "status"), [(59.0, "ok"), (61.0, "warning"), (301.0, "critical")])
def test_the_age_of_the_oldest_job_has_two_thresholds(age: float, status: str) -> None:
    found = judge(QueueRow("mail", pending=3, held=0, oldest_pending_s=age))
    assert worst(found) == status
    if found:
        assert found[0].text.startswith("the oldest job of mail waits ")
        assert (found[0].check, found[0].queue, found[0].value) == ("age", "mail", age)


def test_a_threshold_of_none_is_none() -> None:
    row = QueueRow("mail", pending=3, held=0, oldest_pending_s=9e5)
    assert judge(row, age=None, warn_age=None) == []


def test_dead_jobs_lost_workers_late_schedules_and_failing_tasks_are_found() -> None:
    lost = WorkerRow("w9", "host-c", 44, "lost", ("mail",), beat_age_s=99.0,
                     holds=(JobRef("1", "mail"),))  # fmt: skip
    found = judge(
        QueueRow("mail", pending=0, dead=3),
        workers=(WORKER, lost),
        tasks=(TaskRow("mail", "send", failure_share=0.98),),
        late=(Late("nightly", 90.0),),
    )
    assert [(each.status, each.text) for each in found] == [
        ("critical", "1 worker lost (host-c:44), held 1 job (limit 0)"),
        ("critical", "98% of send in mail fail (limit 50%)"),
        ("warning", "3 jobs dead (limit 0)"),
        ("warning", "schedule nightly is 1m late (limit 1m)"),
    ]
    assert worst(found) == "critical"


def test_a_paused_queue_is_what_it_is_said_to_be() -> None:
    row = QueueRow("mail", pending=9, held=0, oldest_pending_s=900.0, paused=Pause("ana", NOW))
    (found,) = judge(row, workers=())
    assert (found.status, found.text) == ("warning", "mail is paused by ana since 03:00 UTC")
    assert judge(row, workers=(), paused="ok") == []
    assert worst(judge(row, paused="critical")) == "critical"


def test_jobs_that_nobody_serves_are_critical() -> None:
    (found,) = judge(QueueRow("bulk", pending=9, held=0, oldest_pending_s=1.0))
    assert (found.status, found.text) == ("critical", "no worker serves bulk; 9 jobs pending")


def test_what_cannot_be_read_is_unknown() -> None:
    snapshot = Snapshot(NOW, 0.0, Failure("no right"))
    found = examine(snapshot, (), (), (), DEFAULTS)
    assert worst(found) == "unknown"
    assert worst(judge(server=Failure("INFO is denied"))) == "unknown"
    full = ServerInfo(warnings=("the last snapshot to disk failed", "memory is 95% of maxmemory"))
    assert [each.status for each in judge(server=full)] == ["critical", "warning"]


@contextlib.asynccontextmanager
async def desk_of(valkey: Server, prefix: str) -> AsyncIterator[Desk]:
    async with Desk(valkey.url, prefix, block_timeout=0.5) as desk:

        @desk.deck.task
        async def job(n: int) -> None: ...

        yield desk


async def ran(qdeck: Program, *words: str, code: int = 0) -> str:
    return (await asyncio.to_thread(lambda: qdeck.run(*words, code=code))).stdout


async def test_check_answers_by_line_code_and_json(
    valkey: Server, prefix: str, qdeck: Program
) -> None:
    async with desk_of(valkey, prefix) as desk:
        assert await ran(qdeck, "check") == "QDECK OK - nothing is beyond its limit\n"
        await desk.put(3)
        line = await ran(qdeck, "check", code=2)
        assert line == "QDECK CRITICAL - no worker serves q; 3 jobs pending\n"
        found = json.loads(await ran(qdeck, "check", "--json", code=2))
        assert (found["status"], found["code"]) == ("critical", 2)
        assert found["findings"] == [
            {"status": "critical", "check": "unserved", "queue": "q", "value": 3.0,
             "text": "no worker serves q; 3 jobs pending"}
        ]  # fmt: skip
        async with serving(desk.deck, "q"):
            await eventually(lambda: desk.call("ZCARD", desk.deck.keys("q").completed))
            assert (await ran(qdeck, "check")).startswith("QDECK OK")
        await desk.put(1, "other")
        await desk.fail(1, "other")
        assert "1 job dead" in await ran(qdeck, "check", code=1)
        assert "1 job dead" in await ran(qdeck, "check", "--dead", "0", code=2)
        (qdeck.folder / "qdeck.toml").write_text("[check]\nwarn_dead = 5\n")
        assert (await ran(qdeck, "check")).startswith("QDECK OK")
        await ran(qdeck, "check", "--warn-dead", "0", code=1)
        await ran(qdeck, "check", "-q", "nowhere", code=3)
        (qdeck.folder / "qdeck.toml").write_text("[check]\nolds = 5\n")
        said = (await asyncio.to_thread(lambda: qdeck.run("check", code=1))).stderr
        assert "unknown threshold 'olds' in [check]" in said
        assert "warn_dead" in said


def test_check_calls_a_server_that_is_away_critical(qdeck: Program) -> None:
    done = qdeck.run("check", "--url", "redis://127.0.0.1:1/0", code=2)
    assert done.stdout.startswith("QDECK CRITICAL - ")


def test_check_refuses_a_threshold_that_is_none(qdeck: Program) -> None:
    assert "--failing" in qdeck.fails("check", "--failing", "7", code=2)


async def test_the_doctor_names_what_is_wrong_and_what_to_do(
    valkey: Server, prefix: str, qdeck: Program
) -> None:
    async with desk_of(valkey, prefix) as desk:
        out = await ran(qdeck, "doctor", "--app", "app.py", code=1)
        assert "nothing is written to disk: a restart loses all jobs: set appendonly yes" in out
        await desk.put(2)
        await desk.put(1, "bulk")
        (qdeck.folder / "qdeck.toml").write_text('app = "gone.py"\n[limits.nowhere]\nlimit = 3\n')
        found = json.loads(await ran(qdeck, "doctor", "--json", code=1))
        assert found["wrong"] == sum(each["level"] == "wrong" for each in found["findings"])
        told = {each["about"]: each for each in found["findings"]}
        texts = [each["text"] for each in found["findings"]]
        assert "no worker runs; 2 jobs pending in q" in texts
        assert "no worker runs; 1 job pending in bulk" in texts
        assert told["app"]["level"] == "wrong"
        assert "gone.py" in told["app"]["text"]
        assert "[limits.nowhere] is set, but there is no queue nowhere yet" in texts
        assert told["clock"]["level"] == "ok"
        assert {"level", "about", "text", "step"} == set(told["clock"])


async def test_the_doctor_finds_tasks_that_no_worker_knows(
    valkey: Server, prefix: str, qdeck: Program
) -> None:
    async with desk_of(valkey, prefix) as desk, serving(desk.deck, "q"):
        await desk.put(1, "q", "send_fax")
        await eventually(lambda: desk.call("ZCARD", desk.deck.keys("q").retrying))
        out = await ran(qdeck, "doctor", code=1)
        assert "no worker that serves q knows the task send_fax: deploy the app that has it" in out


def test_the_doctor_says_that_a_server_is_away(qdeck: Program) -> None:
    done = qdeck.run("doctor", "--url", "redis://127.0.0.1:1/0", code=1)
    assert "wrong  server " in done.stdout
    assert "127.0.0.1:1" in done.stdout


def test_the_doctor_names_the_file_and_the_line_of_settings_that_are_broken(
    qdeck: Program, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    (config / "qdeck").mkdir(parents=True)
    file = config / "qdeck" / "config.toml"
    for content, told in (
        ('theme = "dark"\nzone = \n', f": mend line 2 of {file}"),
        ('theme = "dark"\nzone', f": mend the end of {file}"),
        ("max_retries = -1\n", f"max_retries in {file}"),
    ):
        file.write_text(content)
        done = qdeck.run("doctor", XDG_CONFIG_HOME=str(config), code=1)
        (line,) = (each for each in done.stdout.splitlines() if each.startswith("wrong"))
        assert line.startswith("wrong  settings  ")
        assert told in line
        assert "qdeck config" not in line
    assert (
        "mend it, or name another with --app"
        in qdeck.run("doctor", "--app", "gone.py", code=1).stdout
    )


async def test_explain_history_events_and_redis_have_words(
    valkey: Server, prefix: str, qdeck: Program
) -> None:
    async with desk_of(valkey, prefix) as desk:
        ids = await desk.put(2)
        assert await ran(qdeck, "explain", "q") == (
            "no worker: no worker runs; 2 jobs pending in q\n    start one: qdeck worker APP -q q\n"
        )
        found = json.loads(await ran(qdeck, "explain", ids[1], "--json"))
        assert (found["kind"], found["queue"], found["target"]) == ("job", "q", ids[1])
        assert found["cause"] == "no worker"
        assert [each["cause"] for each in found["causes"]] == ["no worker", "ahead"]
        assert set(found["causes"][0]) == {"cause", "text", "next", "since"}
        await desk.complete(1)
        await desk.fail(1)
        found = json.loads(await ran(qdeck, "history", "q", "--minutes", "5", "--json"))
        assert len(found["steps"]) == 5
        assert sum(step["ok"] for step in found["steps"]) == 1
        assert sum(step["dead"] for step in found["steps"]) == 1
        assert {each["kind"] for each in found["times"]} == {"run", "wait"}
        assert json.loads(await ran(qdeck, "events", "--json")) == []
        server = json.loads(await ran(qdeck, "redis", "--json"))
        assert server["product"] == "valkey"
        assert server["role"] == "primary"
        assert "memory" in await ran(qdeck, "redis")
        assert "neither a queue nor a job" in (
            await asyncio.to_thread(lambda: qdeck.fails("explain", "nonsense"))
        )
        for more in ((), ("--json",)):
            words = ("history", "nosuch", *more)
            said = await asyncio.to_thread(qdeck.fails, *words)
            assert "there is no queue 'nosuch' here; `qdeck queues` lists" in said
        await ran(qdeck, "history")
        await ran(qdeck, "events")


async def test_a_user_who_may_only_read_runs_every_word_that_looks(
    prefix: str, tmp_path: Path
) -> None:
    with Server() as server:
        async with Desk(server.url, prefix) as desk:
            (job_id,) = await desk.put(1)
            await desk.put(1)
            await desk.fail(1)
            environ = {"REDIS_URL": login(server, "viewer", prefix), "QUEUE_PREFIX": prefix}
            viewer = Program(tmp_path, environ)
            for words, code in (
                (("metrics",), 0),
                (("check",), 2),
                (("doctor",), 1),
                (("explain", "q"), 0),
                (("explain", job_id), 0),
                (("history", "q"), 0),
                (("events",), 0),
                (("redis",), 0),
            ):
                await ran(viewer, *words, code=code)
            assert "may not read the slow log" in await ran(viewer, "redis")


SHAPES = {
    "queues": ("queues",), "stats": ("stats",), "tasks": ("tasks",), "workers": ("workers",),
    "dead groups": ("dead", "groups"), "explain": ("explain", "q"), "history": ("history", "q"),
    "events": ("events",), "redis": ("redis",), "check": ("check",),
    "config": ("config",), "audit": ("audit",), "job": ("job", "ID"), "logs": ("logs", "ID"),
    "schedule list": ("schedule", "list"), "ops list": ("ops", "list"),
}  # fmt: skip


def named(shape: str) -> set[str]:
    """Returns the names at the top of a shape as the README writes it."""
    inner = re.sub(r"\{[^{}]*\}", "", shape.strip("`").lstrip("[").rstrip("]")[1:-1])
    return {re.split(r"[ :(]", part.strip())[0] for part in inner.split(",") if part.strip()}


async def test_json_has_the_shapes_that_the_readme_gives(
    valkey: Server, prefix: str, qdeck: Program
) -> None:
    rows = dict(re.findall(r"^\| `([a-z ]+)`[^|]*\| (`[^|`]+`)", README, re.MULTILINE))
    async with desk_of(valkey, prefix) as desk, serving(desk.deck, "other"):
        (job_id,) = await desk.put(1)
        dead = await desk.fail(1)
        await desk.put(1)
        draft = await desk.operator.retry([JobRef(dead[0], "q")])
        await desk.finish(await desk.operator.start(draft))
        await desk.operator.pause("q")
        await desk.operator.add_schedule(
            ScheduleSpec("nightly", "0 3 * * *", "job", queue="q", payload={"n": 1})
        )
        await desk.call("XADD", desk.deck.keys("q").log(job_id), "*", "t", 1, "l", "info", "a", 1,
                        "x", "hello")  # fmt: skip
        await desk.put(1, "q", "boom")
        await desk.operator.resume("q")
        await desk.fail(3)
        for name, words in SHAPES.items():
            chosen = tuple(job_id if word == "ID" else word for word in words)
            code = 1 if name == "check" else 0
            found = json.loads(await ran(qdeck, *chosen, "--json", code=code))
            sample = found[0] if isinstance(found, list) else found
            assert set(sample) == named(rows[name]), name
