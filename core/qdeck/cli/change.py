"""The words that change jobs and queues: cancel, retry, delete, recover, pause, resume."""

from __future__ import annotations

from collections.abc import Sequence

import click

from qdeck.admin import FINISHED, STATES, Outcome, Skipped
from qdeck.cli.choice import Choice, choose_any, run_over
from qdeck.cli.door import Door, references, with_door, write_options
from qdeck.cli.ops import COPY, Pacing, pace_options, plainly
from qdeck.errors import WrongState

__all__ = ["cancel", "delete", "pause", "recover", "resume", "retry", "say"]

SHOWN = 5
_UNFINISHED = tuple(state for state in STATES if state not in FINISHED)


@click.command()
@choose_any(*_UNFINISHED)
@write_options
@with_door
async def cancel(door: Door, choice: Choice, dry_run: bool, yes: bool) -> None:
    """Cancel unfinished jobs; a running one is asked to stop."""
    if choice.ids:
        say(await door.admin.cancel(await choice.refs(door), dry_run=dry_run))
    else:
        draft = await door.admin.cancel(await choice.described(door))
        await run_over(door, choice, draft, "Cancel {}?", dry_run, yes)


@click.command()
@choose_any("dead", "cancelled")
@pace_options
@write_options
@with_door
async def retry(door: Door, choice: Choice, pacing: Pacing, dry_run: bool, yes: bool) -> None:
    """Give dead or cancelled jobs another round of runs."""
    # Jobs that are named are retried without a question.
    least = 2 if choice.state else len(choice.ids) + 1
    draft = await door.admin.retry(await choice.jobs(door))
    await run_over(door, choice, draft, "Retry {}?", dry_run, yes, pacing, least=least)


@click.command()
@choose_any(*(state for state in STATES if state != "running"))
@COPY
@write_options
@with_door
async def delete(door: Door, choice: Choice, no_copy: bool, dry_run: bool, yes: bool) -> None:
    """Delete jobs with their records; taken back within 24 h. Running ones are left alone."""
    draft = await door.admin.delete(await choice.jobs(door))
    await run_over(door, choice, draft, "Delete {}?", dry_run, yes, plainly(no_copy), least=1)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@write_options
@with_door
async def recover(door: Door, ids: Sequence[str], dry_run: bool, yes: bool) -> None:
    """Make jobs pending again that a lost worker held, once their leases have ended; all that one
    worker held: `qdeck workers recover WORKER`.
    """
    say(await door.admin.recover(await references(door, ids), dry_run=dry_run))


@click.command()
@click.argument("queue")
@click.option("--task", help="Only the jobs of this task.")
@write_options
@with_door
async def pause(door: Door, queue: str, task: str | None, dry_run: bool, yes: bool) -> None:
    """Stop giving out jobs of a queue, or of one task in it; running jobs go on."""
    say(await door.admin.pause(queue, task, dry_run=dry_run), strict=False)


@click.command()
@click.argument("queue")
@click.option("--task", help="Only the jobs of this task.")
@write_options
@with_door
async def resume(door: Door, queue: str, task: str | None, dry_run: bool, yes: bool) -> None:
    """Take a pause back."""
    say(await door.admin.resume(queue, task, dry_run=dry_run), strict=False)


def say(outcome: Outcome, strict: bool = True) -> None:
    """Say what a write did and left alone; raises WrongState where it changed nothing at all."""
    click.echo(outcome.text)
    for skipped in outcome.skipped[:SHOWN]:
        click.echo(_reason(skipped), err=True)
    if strict and not outcome.changed and outcome.skipped:
        raise WrongState("no job was changed; the reasons are above")


def _reason(skipped: Skipped) -> str:
    return f"{skipped.ref.id}: {skipped.reason}"
