"""Every word that writes can be tried, asked for JSON, and says in one line why it refuses."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.admin import ScheduleSpec, Selection
from qdeck.cli.program import main, program
from qdeck.crew import whoami

#: What a write says as JSON.
SHAPE = [
    "text", "dry_run", "changed", "left", "skipped", "jobs", "entry", "operation", "undo_until",
    "warning", "diffs", "error",
]  # fmt: skip
#: Words that only look, run something here until they end, or print a script.
READS = {
    "worker", "queues", "jobs", "job", "logs", "dead export", "dead groups", "dead list",
    "ops list", "ops show", "audit", "schedule export", "schedule list", "schedule next",
    "schedule show", "workers list", "tasks", "stats", "explain", "history", "events", "redis",
    "metrics", "check", "doctor", "config", "server status", "demo", "completion",
}  # fmt: skip
DAY = ("--from", "2026-03-02T00:00Z", "--to", "2026-03-02T03:00Z")
TOML = """
[schedules.other]
expression = "0 3 * * *"
task = "report"
queue = "q"
"""


def commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield every command below a group by its words."""
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        if isinstance(found, click.Group):
            yield from commands(found, (*before, name))
        else:
            yield " ".join((*before, name)), found


COMMANDS = dict(commands(program))


@dataclass
class Stage:
    """A queue with something for every word; `ids` names its jobs by their state."""

    url: str
    prefix: str
    ids: dict[str, str] = field(default_factory=dict)

    async def fill(self) -> None:
        """Put jobs, a schedule, workers, operations and a copy there."""
        async with Desk(self.url, self.prefix) as desk:
            door, ids = desk.operator, self.ids
            (ids["running"],) = await desk.put(1)
            await desk.claim(1, worker="gone")
            await desk.put(3)
            ids["dead"], ids["dead2"], _ = await desk.fail(3)
            (ids["pending"],) = await desk.put(1)
            (ids["scheduled"],) = await desk.put(1, delay=3600)
            await desk.put(2, "cleared")
            await door.clear("cleared")
            ids["copy"] = (await door.cleared())[0].id
            await desk.put(2, "undone")
            undone = await door.start(await door.priority(Selection("pending", "undone"), 9))
            await desk.finish(undone)
            ids["done"] = undone.id.split(" ")[0]
            await desk.put(2, "slow")
            slow = await door.start(await door.discard(Selection("pending", "slow")), rate=0.01)
            ids["slow"] = slow.id.split(" ")[0]
            await door.add_schedule(ScheduleSpec("nightly", "0 2 * * *", "report", queue="q"))
            await door.add_schedule(ScheduleSpec("off", "0 2 * * *", "report", queue="q"))
            await door.disable_schedule("off")
            key = desk.deck.keys("q").lease
            await desk.call("ZADD", key, 1, ids["running"])
            await self.publish(desk, "alive", 0)
            await self.publish(desk, "gone", 100, held=f"q/{ids['running']}")
            await door.pause("undone")

    async def publish(self, desk: Desk, worker: str, age: int, held: str = "") -> None:
        """Register a worker, last heard of so many seconds ago."""
        user, host = whoami()
        known = {"host": host, "user": user, "pid": 7, "state": "running", "queues": "q",
                 "concurrency": 4, "running": 0, "held": held, "lease": 15_000,
                 "stack": "it sleeps"}  # fmt: skip
        flat = [part for pair in known.items() for part in pair]
        await desk.deck.execute(verbs.register(desk.deck.shared, worker, True, flat))
        key = desk.deck.shared.worker(worker)
        beat = int(await desk.call("HGET", key, "beat")) - age * 1000
        await desk.call("HSET", key, "beat", beat)
        await desk.call("ZADD", desk.deck.shared.workers, beat, worker)


#: For each write words that it does, and words that it refuses; `{dead}` is a job's id.
Words = tuple[tuple[str, ...], tuple[str, ...]]
WRITES: dict[str, Words] = {
    "enqueue": (("report", "x=1"), ("report", "x=NaN")),
    "cancel": (("{pending}",), ("{dead}",)),
    "retry": (("{dead}",), ("{pending}",)),
    "delete": (("{dead}", "--yes"), ("{running}", "--yes")),
    "run": (("{scheduled}",), ("{dead}",)),
    "discard": (("{pending}",), ("{dead}",)),
    "delay": (("{scheduled}", "--by", "2h"), ("{scheduled}", "--by", "never")),
    "priority": (("{pending}", "--to", "high"), ("{pending}", "--to", "highest")),
    "recover": (("{running}",), ("{pending}",)),
    "dead retry": (("{dead}", "--set", "args.n=5"), ("unknown",)),
    "dead patch": (("--all", "--set", "args.n=5", "--yes"), ("--all", "--set", "args.n=5")),
    "dead delete": (("--all", "--yes", "-q", "q"), ("--group", "unknown", "--yes")),
    "pause": (("q", "--task", "job"), ("unknown",)),
    "resume": (("undone",), ("q", "--task", "unknown")),
    "limits": (("q", "--limit", "3"), ("q", "--limit", "0")),
    "clear": (("q", "--yes"), ("q",)),
    "restore": (("{copy}",), ("unknown",)),
    "edit": (("{pending}", "--payload", '{{"n": 7}}'), ("{pending}", "--payload", "[]")),
    "move": (("{pending}", "--queue", "other"), ("{dead}", "--queue", "other")),
    "again": (("{dead}",), ("unknown",)),
    "ops abort": (("{slow}", "--yes"), ("{done}", "--yes")),
    "ops undo": (("{done}", "--yes"), ("{slow}", "--yes")),
    "undo": (("--yes", "--as", "ana@here"), ("--yes", "--as", "nobody")),
    "schedule add": (
        ("new", "--cron", "0 1 * * *", "--task", "report", "-q", "q"),
        ("new", "--cron", "0 0 30 2 *", "--task", "report"),
    ),
    "schedule adopt": (("nightly", "--declared"), ("off",)),
    "schedule backfill": (("nightly", *DAY, "--yes"), ("unknown", *DAY, "--yes")),
    "schedule disable": (("nightly",), ("unknown",)),
    "schedule edit": (("nightly", "--cron", "0 4 * * *"), ("nightly", "--cron", "61 * * * *")),
    "schedule enable": (("off",), ("unknown",)),
    "schedule import": (("{toml}",), ("{bad}",)),
    "schedule move": (("nightly", "other"), ("unknown", "other")),
    "schedule remove": (("nightly", "--yes"), ("nightly",)),
    "schedule run": (("nightly",), ("unknown",)),
    "workers quiet": (("alive",), ("gone",)),
    "workers recover": (("gone",), ("alive",)),
    "workers slots": (("alive", "3"), ("alive", "0")),
    "workers stack": (("alive", "--last"), ("gone",)),
    "workers stop": (("alive",), ("unknown",)),
    "make job": (("PayBill", "--path", "{folder}"), ("pay_bill", "--path", "{folder}")),
    "server start": ((), ()),
    "server stop": ((), ()),
}
#: Writes on this machine, which no server records and which need none of this stage.
LOCAL = {"server start", "server stop"}
#: Writes that have no way back, or are one.
ONE_WAY = {
    "recover", "workers recover", "workers stop", "workers stack", "make job", "ops undo",
    "ops abort",
}  # fmt: skip
#: Writes whose JSON says more than that of the others.
OWN_SHAPE = {
    "enqueue": ["id", "queue", "state"],
    "schedule backfill": ["name", "total", "created", "existing", "slots", "dry_run"],
    "schedule import": ["added", "changed", "unchanged", "dry_run"],
}


@pytest.fixture
def stage(valkey: Server, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("REDIS_URL", valkey.url)
    monkeypatch.setenv("QUEUE_PREFIX", prefix)
    monkeypatch.setenv("QUEUE_LEASE", "1")
    made = Stage(valkey.url, prefix)
    asyncio.run(made.fill())
    return made


def dump(server: Server, prefix: str) -> dict[bytes, Any]:
    """Return all that is kept under a prefix, but for the reads that a server counts."""
    with server.client() as client:
        return {key: client.dump(key) for key in client.scan_iter(match=f"{{{prefix}*", count=1000)}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_no_word_is_forgotten_here() -> None:
    assert set(COMMANDS) == set(WRITES) | READS
    assert not set(WRITES) & READS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_word_has_the_options_of_its_kind(name: str) -> None:
    options = {option for each in COMMANDS[name].params for option in each.opts}
    wanted = set()
    if name in WRITES:
        wanted = {"--dry-run", "--yes", "--json"}
        if name not in LOCAL | {"make job"}:
            wanted.add("--as")
    elif name not in ("worker", "completion"):
        wanted = {"--json"}
    assert wanted <= options


@pytest.mark.parametrize("name", sorted(set(WRITES) - LOCAL))
def test_a_write_is_tried_refused_and_done(
    name: str,
    stage: Stage,
    valkey: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    eventually_up: Callable[[], None],
) -> None:
    if name == "schedule adopt":
        declare(stage)
    (tmp_path / "fine.toml").write_text(TOML)
    (tmp_path / "bad.toml").write_text(TOML.replace("0 3", "61 3"))
    known = {
        **stage.ids, "folder": str(tmp_path), "toml": str(tmp_path / "fine.toml"),
        "bad": str(tmp_path / "bad.toml"),
    }  # fmt: skip
    eventually_up()

    def run(words: tuple[str, ...], *more: str) -> tuple[int, str, str]:
        said = [word.format(**known) for word in words if word != "--declared"]
        code = main([*name.split(), *said, *more])
        out, err = capsys.readouterr()
        return code, out, err

    fine, refused = WRITES[name]
    shape = OWN_SHAPE.get(name, SHAPE)
    before, there = dump(valkey, stage.prefix), files(tmp_path)
    capsys.readouterr()

    code, out, err = run(fine, "--dry-run")
    assert (code, out.count("\n") > 0) == (0, True), (out, err)
    code, out, err = run(fine, "--dry-run", "--json")
    assert (code, err) == (0, ""), (out, err)
    tried = json.loads(out)
    assert list(tried) == shape
    assert tried.get("dry_run", True) is True
    assert tried.get("error") is None
    now = dump(valkey, stage.prefix)
    assert [key for key in {**before, **now} if before.get(key) != now.get(key)] == []
    assert files(tmp_path) == there

    for more in ((), ("--json",), ("--dry-run", "--json")):
        code, out, err = run(refused, *more)
        if more[:1] == ("--dry-run",) and code == 0:
            # What is only asked for is not asked about.
            assert "--yes" not in refused
            continue
        assert code in (1, 2), (out, err)
        assert err.startswith("qdeck: "), err
        assert err.count("\n") == 1, err
        if more:
            said = json.loads(out)
            assert list(said) == SHAPE
            assert (said["changed"], said["error"] != "") == (0, True)
            assert said["error"] in err
    now = dump(valkey, stage.prefix)
    assert [key for key in {**before, **now} if before.get(key) != now.get(key)] == []
    assert files(tmp_path) == there

    code, out, err = run(fine, "--json")
    assert (code, err) == (0, ""), (out, err)
    done = json.loads(out)
    assert list(done) == shape
    assert done.get("dry_run", False) is False
    if shape == SHAPE and "--last" not in fine:
        assert (done["changed"] > 0, done["error"]) == (True, None)
        assert done["changed"] == tried["changed"]
        assert done["text"] != tried["text"]
        assert (done["undo_until"] is not None) == (name not in ONE_WAY)
        assert done["undo_until"] is None or done["entry"] or done["operation"]
        after = (dump(valkey, stage.prefix), files(tmp_path))
        assert after != (before, there)


def declare(stage: Stage) -> None:
    """Let code declare the schedule, otherwise than it is stored."""
    from qdeck.schedule import decode_stored, store

    async def run() -> None:
        async with Desk(stage.url, stage.prefix) as desk:
            keys = desk.deck.keys("q")
            stored = decode_stored(await desk.call("HGET", keys.cron, "nightly"))
            assert stored is not None
            declared = stored.spec.replace("0 2", "0 5")
            command = store(keys, "nightly", stored.revision, stored.spec, declared=declared,
                            next_slot=None)  # fmt: skip
            assert await desk.deck.execute(command) > 0

    asyncio.run(run())


@pytest.fixture
def eventually_up(valkey: Server) -> Callable[[], None]:
    """Waits until the server has been up for the second that a lease lasts here."""
    import time

    def wait() -> None:
        with valkey.client() as client:
            while client.info("server")["uptime_in_seconds"] < 1:
                time.sleep(0.05)

    return wait


def test_the_embedded_server_is_started_and_stopped_with_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in [each for each in os.environ if each.startswith(("QUEUE_", "REDIS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def said(*words: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main(["server", *words, "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    assert said("stop")["changed"] == 0
    assert said("start", "--dry-run")["changed"] == 1
    assert said("status", code=1)["running"] is False
    started = said("start")
    assert list(started) == SHAPE
    assert "runs in" in started["text"]
    try:
        assert said("stop", "--dry-run")["changed"] == 1
        assert said("status")["running"] is True
    finally:
        assert said("stop")["changed"] == 1
    monkeypatch.setenv("QUEUE_CONNECTION", "sync")
    assert "sync" in said("start", code=1)["error"]
