"""The words that change jobs and queues: cancel, retry, delete, pause, resume."""

from __future__ import annotations

from collections.abc import Sequence

import click

from qdeck.admin import Outcome, Skipped
from qdeck.cli.door import Door, confirm, references, with_door, write_options
from qdeck.cli.ops import COPY, plainly, run_paced
from qdeck.errors import WrongState

__all__ = ["cancel", "delete", "pause", "resume", "retry"]

IDS = click.argument("ids", metavar="ID...", nargs=-1, required=True)
SHOWN = 5


@click.command()
@IDS
@write_options
@with_door
async def cancel(door: Door, ids: Sequence[str], dry_run: bool, yes: bool) -> None:
    """Cancel unfinished jobs; a running one is asked to stop."""
    _say(await door.admin.cancel(await references(door, ids), dry_run=dry_run))


@click.command()
@IDS
@click.option("-q", "--queue", "_queue", hidden=True, help="Not needed: the id finds its queue.")
@write_options
@with_door
async def retry(
    door: Door, ids: Sequence[str], _queue: str | None, dry_run: bool, yes: bool
) -> None:
    """Give dead or cancelled jobs another round of runs."""
    draft = await door.admin.retry(await references(door, ids))
    await run_paced(door, draft, len(set(ids)), dry_run)


@click.command()
@IDS
@COPY
@write_options
@with_door
async def delete(door: Door, ids: Sequence[str], no_copy: bool, dry_run: bool, yes: bool) -> None:
    """Delete jobs with their records; taken back within 24 h. Running ones are left alone."""
    refs = await references(door, ids)
    if not dry_run:
        confirm(f"Delete {_jobs(len(refs))}?", yes)
    draft = await door.admin.delete(refs)
    await run_paced(door, draft, len(refs), dry_run, plainly(no_copy))


@click.command()
@click.argument("queue")
@click.option("--task", help="Only the jobs of this task.")
@write_options
@with_door
async def pause(door: Door, queue: str, task: str | None, dry_run: bool, yes: bool) -> None:
    """Stop giving out jobs of a queue, or of one task in it; running jobs go on."""
    _say(await door.admin.pause(queue, task, dry_run=dry_run), strict=False)


@click.command()
@click.argument("queue")
@click.option("--task", help="Only the jobs of this task.")
@write_options
@with_door
async def resume(door: Door, queue: str, task: str | None, dry_run: bool, yes: bool) -> None:
    """Take a pause back."""
    _say(await door.admin.resume(queue, task, dry_run=dry_run), strict=False)


def _say(outcome: Outcome, strict: bool = True) -> None:
    click.echo(outcome.text)
    for skipped in outcome.skipped[:SHOWN]:
        click.echo(_reason(skipped), err=True)
    if strict and not outcome.changed and outcome.skipped:
        raise WrongState("no job was changed; the reasons are above")


def _reason(skipped: Skipped) -> str:
    return f"{skipped.ref.id}: {skipped.reason}"


def _jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"
