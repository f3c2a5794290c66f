"""The words that explain: explain, history, events, redis."""

from __future__ import annotations

from typing import Any

import click

from qdeck.admin import Denied, Explanation, Failure, JobRef
from qdeck.cli.door import Door, json_option, page_options, with_door
from qdeck.cli.show import number, print_json, print_table, seconds
from qdeck.errors import JobNotFound

__all__ = ["events", "explain", "explanation_object", "history", "redis"]


@click.command()
@click.argument("target", metavar="QUEUE|ID")
@json_option
@with_door
async def explain(door: Door, target: str, as_json: bool) -> None:
    """Say why a job, or the next job of a queue, is not running, and what to do."""
    ref = None
    if not await _is_queue(door, target):
        ref = await door.admin.find(target)
        if ref is None:
            raise JobNotFound(
                f"{target} is neither a queue nor a job here; `qdeck queues` and `qdeck jobs` list "
                "those that are"
            )
    found = await door.admin.explain(ref or target)
    if as_json:
        print_json(explanation_object(found, ref))
        return
    for cause in found.causes:
        click.echo(f"{cause.word}: {cause.text}")
        if cause.next_step:
            click.echo(f"    {cause.next_step}")


def explanation_object(found: Explanation, ref: JobRef | None) -> dict[str, Any]:
    """Return an explanation as other programs read it."""
    return {
        "target": found.target,
        "kind": "job" if ref else "queue",
        "queue": ref.queue if ref else found.target,
        "cause": found.word,
        "text": found.text,
        "next": found.next_step,
        "causes": [
            {"cause": each.word, "text": each.text, "next": each.next_step, "since": each.since}
            for each in found.causes
        ],
    }


@click.command()
@click.argument("queue", required=False)
@click.option("--minutes", type=click.IntRange(1, 2880), default=60, show_default=True)
@json_option
@with_door
async def history(door: Door, queue: str | None, minutes: int, as_json: bool) -> None:
    """Show what came in and how runs ended, minute by minute (by the hour beyond 3 h)."""
    if queue is not None and not await _is_queue(door, queue):
        raise Denied(f"there is no queue {queue!r} here; `qdeck queues` lists those that are")
    found = await door.admin.history(queue, minutes)
    if as_json:
        print_json(found)
        return
    names = ("enqueued", "started", "ok", "failed", "retried", "dead", "crashed")
    rows = [
        (f"{step.at:%Y-%m-%d %H:%M}", *(str(getattr(step, name)) for name in names))
        for step in found.steps
    ]
    print_table(("at (UTC)", *names), rows, right=range(1, 8))
    if found.times:
        click.echo()
        cells = [
            (each.task, each.kind, str(sum(each.counts)), seconds(each.p50_s), seconds(each.p95_s))
            for each in found.times
        ]
        print_table(("task", "time", "count", "p50", "p95"), cells, right=(2, 3, 4))


@click.command()
@page_options
@json_option
@with_door
async def events(door: Door, limit: int, offset: int, as_json: bool) -> None:
    """Show what happened, newest first."""
    found = (await door.admin.events(offset + limit))[offset:]
    if as_json:
        print_json(found)
        return
    for event in found:
        who = f" ({event.actor})" if event.actor else ""
        click.echo(f"{event.at:%Y-%m-%d %H:%M:%S} {event.kind}: {event.text}{who}")


@click.command()
@json_option
@with_door
async def redis(door: Door, as_json: bool) -> None:
    """Show the server: memory, persistence, nodes, slow commands, and warnings."""
    found = await door.admin.server()
    if as_json:
        print_json(found)
        return
    limit = f" of {_size(found.memory_limit_bytes)}" if found.memory_limit_bytes else ""
    rows = [
        ("server", f"{found.product} {found.version} {found.mode} {found.role}".strip()),
        ("address", found.address),
        ("up", seconds(found.uptime_s)),
        ("memory", f"{_size(found.memory_bytes)}{limit}, peak {_size(found.memory_peak_bytes)}"),
        ("eviction", found.eviction or "?"),
        ("persistence", found.persistence or "?"),
        ("clients", f"{number(found.clients)}, {number(found.blocked_clients)} blocked"),
        ("commands", f"{found.ops_per_s or 0:.0f}/s"),
        ("keys", number(found.keys)),
        *((node.role, f"{node.address} {node.state}".strip()) for node in found.nodes),
    ]
    for name, value in rows:
        click.echo(f"{name:12} {value}")
    if isinstance(found.slow, Failure):
        click.echo(f"{'slow log':12} {found.slow.reason}")
    else:
        for slow in found.slow:
            click.echo(f"{'slow':12} {slow.ms:.1f} ms {slow.command} at {slow.at:%H:%M:%S} UTC")
    for warning in found.warnings:
        click.echo(f"{'warning':12} {warning}")


async def _is_queue(door: Door, name: str) -> bool:
    return bool(await door.deck.call("SISMEMBER", door.deck.shared.queues, name))


def _size(value: int | None) -> str:
    return "?" if value is None else f"{value / 1_000_000:.1f} MB"
