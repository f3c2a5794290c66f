"""The words about workers: list, quiet, stop."""

from __future__ import annotations

from typing import Any

import click

from qdeck.admin import Outcome
from qdeck.cli.door import Door, json_option, page_options, place_options, with_door, write_options
from qdeck.cli.show import ago, number, print_json, print_table, seconds, worker_object
from qdeck.errors import QdeckError

__all__ = ["workers"]

WORKER = click.argument("worker", metavar="WORKER")


@click.group(invoke_without_command=True)
@place_options
@page_options
@json_option
@click.pass_context
def workers(context: click.Context, /, **words: Any) -> None:
    """List, quiet or stop workers; without a word, list them."""
    if context.invoked_subcommand is None:
        context.invoke(list_, **words)


@workers.command("list")
@page_options
@json_option
@with_door
async def list_(door: Door, limit: int, offset: int, as_json: bool) -> None:
    """List the workers that are alive or were within the last 24 h."""
    rows = (await door.admin.workers())[offset : offset + limit]
    if as_json:
        print_json([worker_object(row) for row in rows])
        return
    cells = (
        (
            row.id,
            row.host,
            number(row.pid),
            row.state,
            ",".join(row.queues),
            f"{number(row.running)}/{number(row.concurrency)}",
            ago(row.started_at),
            seconds(row.beat_age_s),
        )
        for row in rows
    )
    head = ("id", "host", "pid", "state", "queues", "running", "started", "beat")
    print_table(head, cells, right=(2, 5, 7))


@workers.command()
@WORKER
@click.option("--undo", is_flag=True, help="Let a quiet worker claim again.")
@write_options
@with_door
async def quiet(door: Door, worker: str, undo: bool, dry_run: bool, yes: bool) -> None:
    """Ask a worker to claim nothing more."""
    await _known(door, worker)
    if dry_run:
        click.echo(f"would {'wake' if undo else 'quiet'} worker {worker}")
        return
    _say(await (door.admin.unquiet(worker) if undo else door.admin.quiet(worker)))


@workers.command()
@WORKER
@write_options
@with_door
async def stop(door: Door, worker: str, dry_run: bool, yes: bool) -> None:
    """Ask a worker to finish within its grace and exit."""
    await _known(door, worker)
    if dry_run:
        click.echo(f"would stop worker {worker}")
        return
    _say(await door.admin.stop(worker))


async def _known(door: Door, worker: str) -> None:
    if worker not in {row.id for row in await door.admin.workers() if row.state != "lost"}:
        raise QdeckError(f"worker {worker} is not alive here; `qdeck workers` lists those that are")


def _say(outcome: Outcome) -> None:
    click.echo(outcome.text)
