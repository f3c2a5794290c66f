"""The words that look: queues, jobs, job, tasks, stats."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from qdeck.admin import FINISHED, STATES, Failure, JobRow, QueueRow, StateName, Window
from qdeck.cli.door import Door, json_option, page_options, with_door
from qdeck.cli.show import (
    ago,
    job_object,
    number,
    print_json,
    print_table,
    queue_object,
    seconds,
    totals_object,
)
from qdeck.errors import ConnectionFailed, JobNotFound

__all__ = ["job", "jobs", "queues", "show_jobs", "stats", "tasks"]

QUEUE = click.option("-q", "--queue", help="One queue; all unless given.")


@click.command()
@page_options
@json_option
@with_door
async def queues(door: Door, limit: int, offset: int, as_json: bool) -> None:
    """List the queues with their counts."""
    rows = (await _queue_rows(door))[offset : offset + limit]
    if as_json:
        print_json([queue_object(row) for row in rows])
        return
    head = ("queue", "pending", "running", "scheduled", "retrying", "completed", "cancelled")
    cells = (
        (
            row.name,
            *map(
                number,
                (
                    row.pending,
                    row.running,
                    row.scheduled,
                    row.retrying,
                    row.completed,
                    row.cancelled,
                    row.dead,
                ),
            ),
            seconds(row.oldest_pending_s),
            f"by {row.paused.by}" if row.paused else "",
        )
        for row in rows
    )
    print_table((*head, "dead", "oldest", "paused"), cells, right=range(1, 9))


@click.command()
@QUEUE
@click.option("--state", type=click.Choice(STATES), help="One state; all unless given.")
@click.argument("query", nargs=-1)
@page_options
@json_option
@with_door
async def jobs(
    door: Door,
    queue: str | None,
    state: StateName | None,
    query: Sequence[str],
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List jobs. QUERY filters: `task:name`, `error~text`, `-queue:bulk`, bare words."""
    words = " ".join(query)
    rows: list[JobRow] = []
    for each in (state,) if state else STATES:
        if len(rows) >= limit:
            break
        # Of finished jobs the newest come first, of the others what is next.
        window = Window(offset, limit - len(rows), each in FINISHED)
        page = await door.admin.jobs(queue, each, window, words)
        while not page.complete and len(page.rows) < window.limit:
            # A query scans a bounded part a call, and goes on where it stopped.
            scanned = page.scanned or 0
            page = await door.admin.jobs(queue, each, window, words)
            if (page.scanned or 0) <= scanned and not page.complete:
                break
        rows.extend(page.rows)
        offset = max(offset - (page.total or 0), 0) if not page.rows else 0
    await show_jobs(door, rows, as_json)


@click.command()
@click.argument("job_id", metavar="ID")
@QUEUE
@json_option
@with_door
async def job(door: Door, job_id: str, queue: str | None, as_json: bool) -> None:
    """Show one job: its fields, its attempts and its error."""
    found = await door.deck.job(job_id, queue=queue)
    if found is None:
        raise JobNotFound(f"job {job_id} is not known here; `qdeck jobs` lists those that are")
    fields = job_object(found)
    if as_json:
        print_json(fields)
        return
    ref = await door.admin.find(job_id)
    detail = await door.admin.job(ref) if ref is not None else None
    for name, value in fields.items():
        if name == "error" and value is not None:
            click.echo(f"{name:13} {value['type']}: {value['message']}")
        elif name in ("payload", "metadata", "result") and value not in (None, {}):
            raw = msgspec.json.encode(value, enc_hook=str)
            click.echo(f"{name:13} {msgspec.json.format(raw, indent=0).decode()}")
        elif name != "created" and value not in (None, "", {}):
            click.echo(f"{name:13} {value}")
    if detail is None:
        return
    if detail.reason:
        click.echo(f"{'reason':13} {detail.reason}")
    if detail.was is not None:
        click.echo(f"{'payload was':13} {detail.was} (edited by {detail.edited_by})")
    for attempt in detail.attempts:
        took = ""
        if attempt.started_at and attempt.ended_at:
            took = f" after {seconds((attempt.ended_at - attempt.started_at).total_seconds())}"
        click.echo(f"{f'run {attempt.number}':13} {attempt.outcome}{took} {attempt.error}".rstrip())
    if detail.error and detail.error.traceback:
        click.echo(f"\n{detail.error.traceback.rstrip()}")


@click.command()
@QUEUE
@page_options
@json_option
@with_door
async def tasks(door: Door, queue: str | None, limit: int, offset: int, as_json: bool) -> None:
    """List the tasks of each queue, worst first."""
    names = [queue] if queue else [row.name for row in await _queue_rows(door)]
    groups = await asyncio.gather(*(door.admin.tasks(name) for name in names))
    rows = [row for group in groups for row in group][offset : offset + limit]
    if as_json:
        print_json(rows)
        return
    head = ("queue", "task", "pending", "running", "later", "dead", "failing", "run p50", "p95")
    cells = (
        (
            row.queue,
            row.task,
            *map(number, (row.pending, row.running, row.later, row.dead)),
            "-" if row.failure_share is None else f"{row.failure_share:.0%}",
            seconds(row.run_p50),
            seconds(row.run_p95),
            f"by {row.paused.by}" if row.paused else "",
        )
        for row in rows
    )
    print_table((*head, "paused"), cells, right=range(2, 9))


@click.command()
@json_option
@with_door
async def stats(door: Door, as_json: bool) -> None:
    """Show totals over all queues, since the first job."""
    by_queue = {}
    for row in await _queue_rows(door):
        keys = door.deck.keys(row.name)
        counts = _counts(await door.deck.call("HGETALL", keys.totals))
        counts["enqueued"] = int(await door.deck.call("HGET", keys.meta, "enqueued") or 0)
        by_queue[row.name] = totals_object(counts, row)
    names = tuple(totals_object({}, QueueRow("")))
    total = {name: sum(counts[name] for counts in by_queue.values()) for name in names}
    if as_json:
        print_json({**total, "queues": by_queue})
        return
    rows = [
        (queue, *(str(counts[name]) for name in names))
        for queue, counts in [*by_queue.items(), ("all", total)]
    ]
    head = ("queue", *(name.removeprefix("total_").replace("_letter", "") for name in names))
    print_table(head, rows, right=range(1, len(head)))


async def show_jobs(door: Door, rows: Sequence[JobRow], as_json: bool) -> None:
    """Print rows of jobs; as JSON, the whole jobs."""
    if as_json:
        found: list[Any] = await asyncio.gather(
            *(door.deck.job(row.ref.id, queue=row.ref.queue) for row in rows)
        )
        print_json([job_object(job) for job in found if job is not None])
        return
    cells = (
        (
            row.ref.id,
            row.ref.queue,
            row.task,
            row.state,
            number(row.priority),
            f"{number(row.attempt)}/{number(row.max_attempts)}",
            ago(row.created_at),
            row.error or row.message or row.args,
        )
        for row in rows
    )
    head = ("id", "queue", "task", "state", "prio", "run", "created", "about")
    print_table(head, cells, right=(4, 5))


async def _queue_rows(door: Door) -> tuple[QueueRow, ...]:
    found = (await door.admin.snapshot()).queues
    if isinstance(found, Failure):
        raise ConnectionFailed(f"the queues cannot be read: {found.reason}")
    return found


def _counts(raw: Any) -> dict[str, int]:
    """Return a hash of counts, given as field and value in turn or as a mapping."""
    pairs = raw.items() if isinstance(raw, dict) else zip(raw[::2], raw[1::2], strict=True)
    return {name.decode(): int(value) for name, value in pairs}
