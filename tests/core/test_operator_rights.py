"""What users of the server with fewer rights can do, and what rows say about rights."""

from __future__ import annotations

import asyncio

import pytest
from tests.core.desk import Desk
from tests.servers import Server

from qdeck.admin import (
    Change,
    Denied,
    Failure,
    JobRef,
    JobRow,
    Selection,
    ServerInfo,
    TaskRow,
    Window,
    WorkerRow,
    WorkerState,
)
from qdeck.rights import permissions
from qdeck.status import parse_info, server_info

#: As the README gives them; `shop` is the prefix.
VIEWER = "-@all +@read +@connection +info +time +multi +exec %R~{shop}:* %R~{shop:*}:*"
OPERATOR = (
    "-@all +@read +@write +@connection +@scripting +info +time +multi +exec "
    "-@dangerous +info ~{shop}:* ~{shop:*}:*"
)


def allow(server: Server, name: str, rules: str, prefix: str) -> str:
    """Makes a user and returns the URL to log in with."""
    words = rules.replace("shop", prefix).split()
    assert server.ask("ACL", "SETUSER", name, "on", ">secret", "resetkeys", *words) == b"OK"
    return server.url.replace("redis://", f"redis://{name}:secret@")


async def test_a_user_who_may_only_read_sees_everything_and_changes_nothing(prefix: str) -> None:
    with Server() as server:
        async with Desk(server.url, prefix) as desk:
            await desk.put(3)
            await desk.put(1, delay=60)
            (dead,) = await desk.fail(1)
            (run,) = await desk.claim(1)
            async with Desk(allow(server, "viewer", VIEWER, prefix), prefix) as viewer:
                door = viewer.operator
                snapshot = await door.snapshot()
                assert isinstance(snapshot.queues, tuple)
                assert isinstance(snapshot.server, ServerInfo)
                assert [row.pending for row in snapshot.queues] == [1]
                page = await door.jobs(None, "pending", Window(), "task:job no")
                assert page.total == 0
                assert (await door.running(Window())).total == 1
                assert len(await door.tasks("q")) == 1
                (group,) = (await door.errors()).groups
                assert (await door.group(group, Window())).total == 1
                ref = await door.find(dead)
                assert ref is not None
                assert await door.job(ref) is not None
                assert not (await door.log(JobRef(run.id, "q"), follow=True)).ended
                assert await door.workers() == ()
                assert await door.operations() == ()
                writes = [
                    door.pause("q"),
                    door.cancel([ref]),
                    door.run_now([ref]),
                    door.retry([ref]),
                    door.delete(Selection("dead")),
                ]
                for write in writes:
                    with pytest.raises(Denied, match="does not permit"):
                        await write
            assert (await desk.operator.jobs("q", "dead", Window())).total == 1


async def test_a_user_with_an_operators_rights_can_use_every_verb(prefix: str) -> None:
    with Server() as server:
        async with Desk(server.url, prefix) as desk:
            await desk.put(3)
            await desk.put(1, delay=60)
            dead = await desk.fail(2)
            async with Desk(allow(server, "ana", OPERATOR, prefix), prefix) as limited:
                door = limited.operator
                await door.snapshot()
                await door.pause("q")
                await door.resume("q")
                await door.pause("q", "job")
                (later,) = (await door.jobs("q", "scheduled", Window())).rows
                assert (await door.run_now([later.ref])).changed == 1
                assert (await door.cancel([later.ref])).changed == 1
                draft = await door.retry([JobRef(dead[0], "q")])
                assert (await limited.finish(await door.start(draft))).ok == 1
                draft = await door.delete(Selection("dead"))
                await door.forget(draft)
                draft = await door.patch(Selection("dead"), [Change("set", "n", "7")])
                patched = await limited.finish(await door.start(draft))
                assert (await door.undo_operation(patched.id)).changed == 1
                draft = await door.retry(Selection("dead"))
                slow = await door.start(draft, rate=0.01, stop_after=1, canary=True)
                assert (await door.abort(slow.id)).changed == 1
            other = Desk(allow(server, "ana", OPERATOR, prefix), "elsewhere")
            async with other:
                with pytest.raises(Denied, match="does not permit"):
                    await other.operator.jobs(None, "dead", Window())


async def test_what_a_user_may_not_ask_fails_alone(prefix: str) -> None:
    with Server() as server:
        async with Desk(server.url, prefix) as desk:
            await desk.put(1)
            no_info = allow(server, "a", VIEWER.replace("+info", "-info"), prefix)
            async with Desk(no_info, prefix) as viewer:
                snapshot = await viewer.operator.snapshot()
                assert isinstance(snapshot.server, Failure)
                assert isinstance(snapshot.queues, tuple)
            no_queues = allow(server, "b", f"-@all +info +@connection {VIEWER}", prefix)
            server.ask("ACL", "SETUSER", "b", "-smembers")
            async with Desk(no_queues, prefix) as viewer:
                snapshot = await viewer.operator.snapshot()
                assert isinstance(snapshot.server, ServerInfo)
                assert isinstance(snapshot.queues, Failure)
                assert isinstance(snapshot.verdict, Failure)


WORKERS: list[tuple[WorkerState, set[str]]] = [
    ("running", {"quiet", "stop"}),
    ("stuck", {"quiet", "stop"}),
    ("quiet", {"unquiet", "stop"}),
    ("stopping", set()),
    ("lost", set()),
]


@pytest.mark.parametrize(("state", "allowed"), WORKERS)
def test_a_workers_state_decides_what_it_can_be_asked(
    state: WorkerState, allowed: set[str]
) -> None:
    found = permissions(WorkerRow("w1", state=state), False)
    assert {verb for verb, each in found.items() if each.allowed} == allowed
    assert all(each.reason for each in found.values() if not each.allowed)


def test_only_what_a_lost_worker_held_can_be_recovered() -> None:
    lost = WorkerRow("w1", state="lost", holds=(JobRef("1", "q"),))
    assert permissions(lost, False)["recover"].allowed
    assert not permissions(WorkerRow("w1", state="lost"), False)["recover"].allowed
    assert not permissions(WorkerRow("w1", holds=lost.holds), False)["recover"].allowed


def test_rows_say_why_not() -> None:
    asked = JobRow(JobRef("1", "q"), "job", "running", cancel_requested=True)
    assert permissions(asked, False)["cancel"].reason == "it was asked to stop already"
    broken = JobRow(JobRef("1", "q"), "?", "dead")
    assert not permissions(broken, False)["retry"].allowed
    assert permissions(broken, False)["delete"].allowed
    assert permissions(TaskRow("q", "job"), False)["pause_task"].allowed
    assert permissions(TaskRow("q", "job"), True)["pause_task"].reason == "this door is read-only"


INFO = b"""# Server\r
redis_version:7.0.15\r
connected_clients:12\r
used_memory:950\r
maxmemory:1000\r
maxmemory_policy:allkeys-lru\r
rdb_saves:3\r
rdb_last_bgsave_status:err\r
aof_enabled:0\r
aof_last_write_status:err\r
master_link_status:down\r
"""


def test_the_server_is_told_in_one_line_with_warnings_in_words() -> None:
    info = server_info(parse_info(INFO), "redis://:***@h:1/0")
    assert (info.product, info.version, info.clients) == ("redis", "7.0.15", 12)
    assert (info.memory_bytes, info.memory_limit_bytes) == (950, 1000)
    assert info.persistence == "snapshots"
    assert info.warnings == (
        "memory is 95% of maxmemory",
        "maxmemory-policy allkeys-lru deletes jobs",
        "the last snapshot to disk failed",
        "the last write to the append-only file failed",
        "this replica has lost its primary",
    )
    plain = server_info({"valkey_version": "9.1.2", "maxmemory": "0", "aof_enabled": "1"}, "")
    assert (plain.product, plain.persistence, plain.warnings) == ("valkey", "append-only file", ())
    assert plain.memory_limit_bytes is None
    assert server_info({}, "").version == ""


async def test_a_snapshot_that_is_given_up_leaves_the_door_usable(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix) as desk:
        await desk.put(1)
        for pause in (0.0, 0.0005, 0.001, 0.002):
            reading = asyncio.create_task(desk.operator.snapshot())
            await asyncio.sleep(pause)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        snapshot = await desk.operator.snapshot()
        assert isinstance(snapshot.queues, tuple)
        assert [row.pending for row in snapshot.queues] == [1]
