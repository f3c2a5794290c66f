"""The words that change jobs and queues: cancel, retry, delete, pause, resume."""

from __future__ import annotations

from collections.abc import Sequence

import click

from qdeck.admin import Draft, Operation, Outcome, Skipped
from qdeck.cli.door import Door, confirm, references, with_door, write_options
from qdeck.errors import WrongState

__all__ = ["cancel", "delete", "pause", "resume", "retry", "run_draft"]

IDS = click.argument("ids", metavar="ID...", nargs=-1, required=True)
SHOWN = 5


@click.command()
@IDS
@write_options
@with_door
async def cancel(door: Door, ids: Sequence[str], dry_run: bool, yes: bool) -> None:
    """Cancel unfinished jobs; a running one is asked to stop."""
    refs = await references(door, ids)
    if dry_run:
        say_dry("cancel", len(refs))
        return
    _say(await door.admin.cancel(refs))


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
    await run_draft(door, draft, len(set(ids)), dry_run)


@click.command()
@IDS
@write_options
@with_door
async def delete(door: Door, ids: Sequence[str], dry_run: bool, yes: bool) -> None:
    """Delete jobs with their records, for good. Running ones are left alone."""
    refs = await references(door, ids)
    if not dry_run:
        confirm(f"Delete {_jobs(len(refs))} for good?", yes)
    await run_draft(door, await door.admin.delete(refs), len(refs), dry_run)


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


async def run_draft(door: Door, draft: Draft, wanted: int, dry_run: bool) -> None:
    """Run a bulk operation to its end and say what it did; with `dry_run` forget it instead.

    `wanted` is how many jobs were asked for; what has another state is told. Raises WrongState
    when there is nothing to do.
    """
    if dry_run:
        await door.admin.forget(draft)
        say_dry(draft.verb, draft.total)
        return
    if not draft.total:
        await door.admin.forget(draft)
        raise WrongState(
            f"none of the {_jobs(wanted)} can be changed by {draft.verb}: they are in another "
            "state; `qdeck job ID` tells which"
        )
    operation: Operation = await door.admin.start(draft)
    queue = operation.queue
    while operation.state == "running":
        operation = await door.admin.advance(operation.id, queue)
    left = max(wanted, draft.total) - operation.ok
    text = f"{draft.verb}: {_jobs(operation.ok)} changed"
    click.echo(f"{text}, {left} left alone" if left else text)
    if not operation.ok:
        raise WrongState(f"no job was changed by {draft.verb}; they changed state meanwhile")


def say_dry(verb: str, count: int) -> None:
    """Say what a write would do."""
    click.echo(f"would {verb} {_jobs(count)}")


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
