"""Every script on three cluster nodes, with queues that lie on different ones."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError
from tests.servers import Cluster, settings_for

from qdeck import ledger, steps
from qdeck import queue as verbs
from qdeck.connection import Connector
from qdeck.keys import queue_keys, shared_keys
from qdeck.ledger import Act
from qdeck.record import Body, Settle, encode_body
from qdeck.schedule import Note, Step, store, tick
from qdeck.scripts import Command, run, run_sync


async def test_every_script_runs_on_the_node_of_its_queue(cluster: Cluster, prefix: str) -> None:
    connector = Connector(settings_for(cluster.url, prefix=prefix))
    queues = [cluster.queue_on(node, prefix) for node in range(3)]
    found = await asyncio.gather(*(one_life(connector, prefix, queue) for queue in queues))
    assert found == [found[0]] * 3
    for node, queue in enumerate(queues):
        keys = queue_keys(prefix, queue)
        assert cluster.nodes[node].ask("ZCARD", keys.completed) == 1
    register = verbs.register(shared_keys(prefix), "ann", True, ["host", "h", "queue", queues[0]])
    assert await run(connector.lane(), register) > 0
    asked = ledger.command(shared_keys(prefix), "ann", "quiet", "quiet", "asked", Act("eve"))
    assert (await run(connector.lane(), asked))[0] == 1
    await connector.aclose()


async def one_life(connector: Connector, prefix: str, queue: str) -> list[Any]:
    """Take jobs of one queue through every script; return the answers that hold no times."""
    lane, keys = connector.lane(), queue_keys(prefix, queue)

    async def send(command: Command) -> Any:
        return await run(lane, command)

    entries: list[str | bytes] = []
    for number in range(4):
        entries += [f"job-{number}", encode_body(Body("mail", "{}", unique=f"u{number}"))]
    answers = [(await send(verbs.enqueue(keys, 9, entries)))[1:]]
    turn = verbs.read_turn(await send(verbs.work(keys, "ann", 1, 3, 15.0, [])))
    answers.append([job.id for job in turn.claimed])
    error = ("ValueError", "bad", "trace", "group")
    settles = [
        Settle("job-0", 1, "c", "mail", 1.0, "3"),
        Settle("job-1", 1, "f", "mail", 1.0, 0, 0, "", *error),
    ]
    turn = verbs.read_turn(await send(verbs.work(keys, "ann", 2, 0, 15.0, settles)))
    answers.append(turn.settled)
    part = msgspec.msgpack.encode(["job-2", 1, [20, 0, "line"]])
    for command in (
        verbs.beat(keys, 15.0, [("job-2", 1)]),
        verbs.progress(keys, [("job-2", 1, 5.0, "m")]),
        verbs.append_logs(keys, [part]),
        verbs.park(keys),
        verbs.reclaim(keys, ["one"], "mail"),
        verbs.deliver(keys, [("job-3", "other job-1")]),
        verbs.move(keys, "cancel", "eve", ["job-3", "job-2"]),
        verbs.trim(keys, settings_for("redis://127.0.0.1")),
    ):
        answers.append(await send(command))
    body = encode_body(Body("mail", "{}"))
    for command in (
        store(keys, "nightly", None, "{}", next_slot=1, note=Note("eve", "add", "ok")),
        store(keys, "nightly", 1, ""),
        store(keys, "nightly", None, "{}", next_slot=1),
    ):
        answers.append(await send(command))
    ticks = [tick(keys, "nightly", 1, 1, Step((1,), 2), [(1, "slot", body)]) for _ in range(2)]
    answers += [(await send(command))[1:] for command in ticks]
    assert answers[-2:] == [[b"fired", b"p"], [b"moved"]]
    answers.append(await send(verbs.move(keys, "delete", "eve", ["slot"])))
    for command in (
        verbs.pause(keys, True, "eve", "mail"),
        verbs.pause(keys, False, "eve", "mail"),
        verbs.limit(keys, 5, None, "eve"),
        ledger.clear(keys, keys.cancelled, "cancelled", "copy", Act("eve")),
    ):
        answers.append((await send(command))[0])
    answers.append((await send(ledger.restore(keys, keys.cancelled, "copy", Act("eve"))))[:3])
    again = ledger.reclear(keys, keys.cancelled, "copy", Act("eve"))
    answers.append((await send(again))[:3])
    answers.append(await send(ledger.sweep(keys)))
    answers.append(await send(ledger.retract(keys, "job-3", "", Act("eve"))))
    stale = ledger.edit(keys, "job-3", "", b"", "{}", ("", ""), Act("eve"))
    answers.append(await send(stale))
    answers.append((await send(verbs.tend(keys, 15.0, 3)))[1:])
    answers.append((await send(steps.freeze(keys, keys.dead, "op", "delete", "eve", 0, 900)))[:2])
    answers.append(await send(steps.start(keys, "op", "eve")))
    answers.append(await send(steps.advance(keys, "delete", "eve", "op")))
    return answers


def test_keys_of_two_queues_in_one_call_are_refused(cluster: Cluster, prefix: str) -> None:
    connector = Connector(settings_for(cluster.url, prefix=prefix))
    one, two = (queue_keys(prefix, cluster.queue_on(node, prefix)) for node in (0, 1))
    mixed = verbs.pause(one, True, "eve")
    mixed = Command(mixed.script, (*mixed.keys[:3], two.wake), mixed.args)
    with pytest.raises(ResponseError, match="slot"):
        run_sync(connector.sync_lane(), mixed)
    connector.close()
