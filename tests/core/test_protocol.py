"""The operator's door as a protocol: what holds for every implementation, the engine's and the
incomplete one in memory.

A call keeps its contract, or raises Denied with a sentence; nothing else.
"""

from __future__ import annotations

import contextlib
import inspect
import types
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.core.desk import Desk
from tests.core.test_acl import login
from tests.servers import Server
from tests.tui.twin import Twin

from qdeck import queue as verbs
from qdeck.admin import (
    Admin,
    Change,
    Denied,
    Draft,
    ErrorGroup,
    JobRef,
    JobRow,
    ScheduleRow,
    ScheduleSpec,
    Selection,
    StateName,
    Target,
    Window,
    WorkerRow,
)
from qdeck.operator import Operator

AT = datetime(2026, 1, 1, tzinfo=UTC)
METHODS = sorted(
    name for name in dir(Admin) if not name.startswith("_") and callable(getattr(Admin, name))
)
WRITES = [
    name for name in METHODS if "dry_run" in inspect.signature(getattr(Admin, name)).parameters
]
#: Asked without waiting, since they look at nothing but what they are given.
PLAIN = {"actions", "schedule_actions"}
READS = [name for name in METHODS if name not in WRITES and name not in PLAIN | {"close"}]


@dataclass
class World:
    """A door, and references to what stands behind it."""

    door: Admin
    pending: JobRef
    running: JobRef
    scheduled: JobRef
    dead: JobRef
    group: ErrorGroup
    worker: str = "w1"
    state: Callable[[], Awaitable[Any]] | None = None


Case = Callable[[World], Awaitable[Any]]
SPEC = ScheduleSpec("nightly", "0 3 * * *", "job", queue="q")
CASES: Mapping[str, Case] = {
    "snapshot": lambda w: w.door.snapshot(),
    "jobs": lambda w: w.door.jobs("q", "pending", Window(), "task:job"),
    "running": lambda w: w.door.running(Window()),
    "tasks": lambda w: w.door.tasks("q"),
    "verdict": lambda w: w.door.verdict(),
    "errors": lambda w: w.door.errors(),
    "group": lambda w: w.door.group(w.group, Window()),
    "job": lambda w: w.door.job(w.dead),
    "find": lambda w: w.door.find(w.dead.id),
    "log": lambda w: w.door.log(w.dead),
    "workers": lambda w: w.door.workers(),
    "stack_of": lambda w: w.door.stack_of(w.worker),
    "operations": lambda w: w.door.operations(),
    "operation": lambda w: w.door.operation("none q"),
    "schedules": lambda w: w.door.schedules(),
    "schedule": lambda w: w.door.schedule("nightly"),
    "schedule_runs": lambda w: w.door.schedule_runs("nightly"),
    "schedules_ahead": lambda w: w.door.schedules_ahead(AT, 24),
    "preview": lambda w: w.door.preview("0 3 * * *"),
    "export_schedules": lambda w: w.door.export_schedules(),
    "audit": lambda w: w.door.audit(),
    "last_undoable": lambda w: w.door.last_undoable(),
    "cleared": lambda w: w.door.cleared(),
    "explain": lambda w: w.door.explain(w.pending),
    "shared": lambda w: w.door.shared(w.group),
    "history": lambda w: w.door.history("q", 10),
    "events": lambda w: w.door.events(),
    "server": lambda w: w.door.server(),
    "abort": lambda w: w.door.abort("none q"),
    "add_schedule": lambda w: w.door.add_schedule(SPEC),
    "adopt_schedule": lambda w: w.door.adopt_schedule("nightly"),
    "advance": lambda w: w.door.advance("none q", "q"),
    "backfill_schedule": lambda w: w.door.backfill_schedule("nightly", AT, AT + timedelta(days=2)),
    "cancel": lambda w: w.door.cancel([w.pending]),
    "clear": lambda w: w.door.clear("q"),
    "delete": lambda w: w.door.delete([w.dead]),
    "disable_schedule": lambda w: w.door.disable_schedule("nightly"),
    "discard": lambda w: w.door.discard([w.pending]),
    "edit_payload": lambda w: w.door.edit_payload(w.dead, '{"n": 7}'),
    "edit_schedule": lambda w: w.door.edit_schedule(SPEC, 1),
    "enable_schedule": lambda w: w.door.enable_schedule("nightly"),
    "enqueue_again": lambda w: w.door.enqueue_again(w.dead),
    "enqueue_new": lambda w: w.door.enqueue_new("job", '{"n": 1}'),
    "forget": lambda w: w.door.forget(Draft("none q", "retry", 0)),
    "import_schedules": lambda w: w.door.import_schedules(""),
    "move_in_time": lambda w: w.door.move_in_time([w.scheduled], by=timedelta(hours=2)),
    "move_queue": lambda w: w.door.move_queue([w.pending], "other"),
    "move_schedule": lambda w: w.door.move_schedule("nightly", "other"),
    "patch": lambda w: w.door.patch([w.dead], [Change("set", "args.n", "7")]),
    "pause": lambda w: w.door.pause("q"),
    "priority": lambda w: w.door.priority([w.pending], 8),
    "quiet": lambda w: w.door.quiet(w.worker),
    "recover": lambda w: w.door.recover(w.worker),
    "remove_schedule": lambda w: w.door.remove_schedule("nightly"),
    "restore": lambda w: w.door.restore("none"),
    "resume": lambda w: w.door.resume("q"),
    "retry": lambda w: w.door.retry(Selection("dead", "q")),
    "run_now": lambda w: w.door.run_now([w.scheduled]),
    "set_limits": lambda w: w.door.set_limits("q", 5, 2.0),
    "slots": lambda w: w.door.slots(w.worker, 3),
    "stack": lambda w: w.door.stack(w.worker),
    "start": lambda w: w.door.start(Draft("none q", "retry", 0)),
    "stop": lambda w: w.door.stop(w.worker),
    "trigger_schedule": lambda w: w.door.trigger_schedule("nightly"),
    "undo": lambda w: w.door.undo("none"),
    "undo_operation": lambda w: w.door.undo_operation("none q"),
    "unquiet": lambda w: w.door.unquiet(w.worker),
}


@contextlib.asynccontextmanager
async def engine(server: Server, prefix: str, read_only: bool) -> AsyncIterator[World]:
    """Opens the engine's door to a queue with a job in each state, and a worker on record."""
    async with Desk(server.url, prefix) as desk:
        await desk.put(2)
        (dead,) = await desk.fail(1)
        (running,) = await desk.claim(1)
        (pending,) = await desk.put(1)
        (scheduled,) = await desk.put(1, delay=3600)
        fields = ["host", "h", "pid", 1, "state", "running", "queues", "q", "queue", "q"]
        await desk.deck.execute(verbs.register(desk.deck.shared, "w1", True, fields))
        (group,) = (await desk.operator.errors()).groups
        door = Operator(desk.deck, actor="ana@here", read_only=read_only)

        async def state() -> Any:
            with server.client() as client:
                keys = sorted(client.scan_iter(match=f"{{{prefix}*"))
                return {key: client.dump(key) for key in keys}

        places = JobRef(pending, "q"), JobRef(running.id, "q"), JobRef(scheduled, "q")
        yield World(door, *places, JobRef(dead, "q"), group, state=state)
        await door.close()


@contextlib.asynccontextmanager
async def twin(server: Server, prefix: str, read_only: bool) -> AsyncIterator[World]:
    """Opens the door in memory to the same."""
    door = Twin(read_only=read_only)
    refs = {}
    states: tuple[StateName, ...] = ("pending", "running", "scheduled", "dead")
    for state in states:
        ref = refs[state] = JobRef(f"01{state}", "q")
        error = "OSError: no route" if state == "dead" else ""
        door.add(JobRow(ref, "job", state, args='{"n": 1}', error=error))
    door.crew["w1"] = WorkerRow("w1", "h", 1)
    (group,) = (await door.errors()).groups

    async def state_now() -> Any:
        return dict(door.records), dict(door.crew), dict(door.started)

    places = (refs["pending"], refs["running"], refs["scheduled"], refs["dead"])
    yield World(door, *places, group, state=state_now)


MAKERS = {"engine": engine, "twin": twin}
BOTH = pytest.mark.parametrize("maker", MAKERS)


def fits(value: Any, hint: Any) -> bool:
    """Tells whether a value is what an annotation says."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if hint is None or hint is type(None):
        return value is None
    if origin is tuple:
        if len(parts) == 2 and parts[1] is Ellipsis:
            return isinstance(value, tuple) and all(fits(each, parts[0]) for each in value)
        return isinstance(value, tuple) and all(map(fits, value, parts))
    return isinstance(value, origin or hint)


def promised(name: str) -> Any:
    """Returns the annotation of what a method returns."""
    return typing.get_type_hints(getattr(Admin, name))["return"]


async def tried(name: str, world: World) -> Any:
    """Calls a method; returns what it gave, or the sentence that it was denied with."""
    try:
        value = await CASES[name](world)
    except Denied as denied:
        value = denied
    if not isinstance(value, Denied):
        assert fits(value, promised(name)), (name, value)
    else:
        assert len(str(value).split()) >= 3, (name, value)
        assert "\n" not in str(value), (name, value)
    return value


def test_every_method_has_a_case() -> None:
    assert sorted(CASES) == sorted({*READS, *WRITES})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_stands_in_both_with_the_same_parameters(name: str) -> None:
    wanted = inspect.signature(getattr(Admin, name))
    for kind in (Operator, Twin):
        method = getattr(kind, name)
        found = inspect.signature(method)
        assert list(found.parameters) == list(wanted.parameters), kind
        for key, parameter in wanted.parameters.items():
            other = found.parameters[key]
            assert (other.kind, other.default) == (parameter.kind, parameter.default), (kind, key)
        asynchronous = inspect.iscoroutinefunction(getattr(Admin, name))
        assert inspect.iscoroutinefunction(method) == asynchronous, kind


@BOTH
@pytest.mark.parametrize("name", [*READS, *WRITES])
async def test_a_call_keeps_its_contract_or_is_denied_with_a_sentence(
    valkey: Server, prefix: str, maker: str, name: str
) -> None:
    async with MAKERS[maker](valkey, prefix, False) as world:
        found = await tried(name, world)
        if maker == "engine" and name in READS and name != "operation":
            assert not isinstance(found, Denied), found


@BOTH
@pytest.mark.parametrize("name", WRITES)
async def test_a_dry_run_changes_nothing(
    valkey: Server, prefix: str, maker: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MAKERS[maker](valkey, prefix, False) as world:
        assert world.state is not None
        method = getattr(world.door, name)
        monkeypatch.setattr(
            world.door, name, lambda *words, **more: method(*words, **more, dry_run=True)
        )
        before = await world.state()
        found = await tried(name, world)
        assert await world.state() == before, found


@BOTH
async def test_a_step_and_a_forgetting_can_be_tried(
    valkey: Server, prefix: str, maker: str
) -> None:
    async with MAKERS[maker](valkey, prefix, False) as world:
        door = world.door
        assert world.state is not None
        draft, other = await door.retry([world.dead]), await door.retry([world.dead])
        before = await world.state()
        tried = await door.forget(other, dry_run=True)
        assert tried.changed == 1
        assert await world.state() == before
        assert (await door.forget(other)).changed == 1
        assert (await door.forget(other)).changed == 0
        operation = await door.start(draft)
        before = await world.state()
        step = await door.advance(operation.id, operation.queue, dry_run=True)
        assert (step.state, step.done) == ("running", 0)
        assert await world.state() == before
        assert (await door.forget(draft)).changed == 0
        step = await door.advance(operation.id, operation.queue)
        assert (step.state, step.ok) == ("done", 1)


@BOTH
@pytest.mark.parametrize("name", WRITES)
async def test_a_read_only_door_denies_every_write(
    valkey: Server, prefix: str, maker: str, name: str
) -> None:
    async with MAKERS[maker](valkey, prefix, True) as world:
        assert world.door.read_only
        assert world.state is not None
        before = await world.state()
        assert isinstance(await tried(name, world), Denied)
        assert await world.state() == before


async def test_all_reads_pass_for_a_user_who_may_only_read(prefix: str) -> None:
    with Server() as server:
        async with engine(server, prefix, False) as world:
            server.ask("CONFIG", "RESETSTAT")
            async with Desk(login(server, "viewer", prefix), prefix) as viewer:
                world.door = viewer.operator
                for name in READS:
                    found = await tried(name, world)
                    assert not isinstance(found, Denied) or name == "operation", (name, found)
            stats = server.ask("INFO", "commandstats")
            assert b"cmdstat_eval" not in stats


@BOTH
async def test_actions_say_of_every_target_what_is_allowed_and_why_not(
    valkey: Server, prefix: str, maker: str
) -> None:
    for read_only in (False, True):
        async with MAKERS[maker](valkey, prefix + str(read_only), read_only) as world:
            snapshot = await world.door.snapshot()
            assert isinstance(snapshot.queues, tuple)
            targets: list[Target] = [*snapshot.queues, *await world.door.tasks("q"), world.group]
            targets += [*await world.door.workers()]
            targets += [*(await world.door.jobs("q", "pending", Window())).rows]
            for target in targets:
                for permission in world.door.actions(target).values():
                    assert permission.allowed or permission.reason
                    assert not (read_only and permission.allowed)
            row = ScheduleRow("nightly", "0 3 * * *", "job")
            for permission in world.door.schedule_actions(row).values():
                assert permission.allowed or permission.reason
                assert not (read_only and permission.allowed)
