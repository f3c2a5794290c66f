"""The words about single jobs: edit, move to another queue, enqueue again."""

from __future__ import annotations

from collections.abc import Sequence

import click

from qdeck.admin import Outcome
from qdeck.cli.door import Door, references, with_door, write_options
from qdeck.errors import WrongState

__all__ = ["again", "edit", "move"]


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--payload", required=True, help="The new arguments, a JSON object.")
@write_options
@with_door
async def edit(door: Door, job_id: str, payload: str, dry_run: bool, yes: bool) -> None:
    """Give a job that is not running another payload, checked against what its task takes. The
    old one is kept: `qdeck undo`.
    """
    (ref,) = await references(door, [job_id])
    _say(await door.admin.edit_payload(ref, payload, dry_run=dry_run))


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("-q", "--queue", required=True, help="Where they go.")
@write_options
@with_door
async def move(door: Door, ids: Sequence[str], queue: str, dry_run: bool, yes: bool) -> None:
    """Move waiting jobs to another queue under the same ids, each exactly once. Their attempts
    begin anew; logs and earlier runs stay behind.
    """
    outcome = await door.admin.move_queue(await references(door, ids), queue, dry_run=dry_run)
    _say(outcome)
    if not outcome.changed:
        raise WrongState("no job was moved; the reasons are above")


@click.command()
@click.argument("job_id", metavar="ID")
@write_options
@with_door
async def again(door: Door, job_id: str, dry_run: bool, yes: bool) -> None:
    """Enqueue a new job with the task, payload and terms of a known one."""
    (ref,) = await references(door, [job_id])
    _say(await door.admin.enqueue_again(ref, dry_run=dry_run))


def _say(outcome: Outcome) -> None:
    click.echo(outcome.text)
    for skipped in outcome.skipped[:5]:
        click.echo(f"{skipped.ref.id}: {skipped.reason}", err=True)
