"""The words about workers: list, quiet, stop, slots, stack, recover."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click

from qdeck.admin import Outcome
from qdeck.cli.answer import tell
from qdeck.cli.door import Door, json_option, page_options, place_options, with_door, write_options
from qdeck.cli.show import ago, number, print_json, print_table, seconds, worker_object
from qdeck.errors import QdeckError

__all__ = ["workers"]

WORKER = click.argument("worker", metavar="WORKER")
#: How often, and at what distance, an answer of a worker is looked for.
_POLLS: Final = 100
_POLL_S: Final = 0.2


@click.group(invoke_without_command=True)
@place_options
@page_options
@json_option
@click.pass_context
def workers(context: click.Context, /, **words: Any) -> None:
    """Look at and command workers; without a word, list them."""
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
            "?" if row.cpu_share is None else f"{row.cpu_share:.0%}",
            seconds(row.beat_age_s),
        )
        for row in rows
    )
    head = ("id", "host", "pid", "state", "queues", "running", "started", "cpu", "beat")
    print_table(head, cells, right=(2, 5, 7, 8))


@workers.command()
@WORKER
@click.option("--undo", is_flag=True, help="Let a quiet worker claim again.")
@write_options
@with_door
async def quiet(
    door: Door, worker: str, undo: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Ask a worker to claim nothing more."""
    await _known(door, worker)
    ask = door.admin.unquiet if undo else door.admin.quiet
    tell(await ask(worker, dry_run=dry_run), as_json, dry_run)


@workers.command()
@WORKER
@write_options
@with_door
async def stop(door: Door, worker: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Ask a worker to finish within its grace and exit."""
    await _known(door, worker)
    tell(await door.admin.stop(worker, dry_run=dry_run), as_json, dry_run)


@workers.command()
@WORKER
@click.argument("count", type=int)
@write_options
@with_door
async def slots(
    door: Door, worker: str, count: int, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Ask a worker to run up to COUNT jobs at a time; what runs goes on."""
    await _known(door, worker)
    tell(await door.admin.slots(worker, count, dry_run=dry_run), as_json, dry_run)


@workers.command()
@WORKER
@click.option("--last", is_flag=True, help="Print what it said last, and ask nothing.")
@write_options
@with_door
async def stack(
    door: Door, worker: str, last: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Ask a worker where its threads and handlers stand, and print that."""
    before, said = await door.admin.stack_of(worker)
    if not last:
        await _known(door, worker)
        outcome = await door.admin.stack(worker, dry_run=dry_run)
        if dry_run:
            tell(outcome, as_json, dry_run)
            return
        for _ in range(_POLLS):
            at, said = await door.admin.stack_of(worker)
            if at != before:
                break
            await asyncio.sleep(_POLL_S)
        else:
            raise QdeckError(f"worker {worker} has not answered yet; try --last later")
    tell(Outcome(said or "it was never asked", 0 if last else 1), as_json, dry_run)


@workers.command()
@WORKER
@write_options
@with_door
async def recover(door: Door, worker: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make the jobs of a lost worker pending again, once their leases have ended."""
    outcome = await door.admin.recover(worker, dry_run=dry_run)
    tell(outcome, as_json, dry_run)


async def _known(door: Door, worker: str) -> None:
    if worker not in {row.id for row in await door.admin.workers() if row.state != "lost"}:
        raise QdeckError(f"worker {worker} is not alive here; `qdeck workers` lists those that are")
