"""The words that change jobs and queues: cancel, retry, delete, recover, pause, resume."""

from __future__ import annotations

from collections.abc import Sequence

import click

from qdeck.admin import FINISHED, STATES
from qdeck.cli.answer import tell
from qdeck.cli.choice import Choice, choose_any, run_over
from qdeck.cli.door import Door, references, with_door, write_options
from qdeck.cli.ops import COPY, Pacing, pace_options, plainly

__all__ = ["cancel", "delete", "pause", "recover", "resume", "retry"]

_UNFINISHED = tuple(state for state in STATES if state not in FINISHED)


@click.command()
@choose_any(*_UNFINISHED)
@write_options
@with_door
async def cancel(door: Door, choice: Choice, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Cancel unfinished jobs; a running one is asked to stop."""
    if choice.ids:
        outcome = await door.admin.cancel(await choice.refs(door), dry_run=dry_run)
        tell(outcome, as_json, dry_run, strict="changed")
    else:
        draft = await door.admin.cancel(await choice.described(door))
        await run_over(door, choice, draft, "Cancel {}?", dry_run, yes, as_json)


@click.command()
@choose_any("dead", "cancelled")
@pace_options
@write_options
@with_door
async def retry(
    door: Door, choice: Choice, pacing: Pacing, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Give dead or cancelled jobs another round of runs."""
    # Jobs that are named are retried without a question.
    least = 2 if choice.state else len(choice.ids) + 1
    draft = await door.admin.retry(await choice.jobs(door))
    await run_over(door, choice, draft, "Retry {}?", dry_run, yes, as_json, pacing, least=least)


@click.command()
@choose_any(*(state for state in STATES if state != "running"))
@COPY
@write_options
@with_door
async def delete(
    door: Door, choice: Choice, no_copy: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete jobs with their records; taken back within 24 h. Running ones are left alone."""
    draft = await door.admin.delete(await choice.jobs(door))
    await run_over(
        door, choice, draft, "Delete {}?", dry_run, yes, as_json, plainly(no_copy), least=1
    )


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@write_options
@with_door
async def recover(door: Door, ids: Sequence[str], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make jobs pending again that a lost worker held, once their leases have ended; all that one
    worker held: `qdeck workers recover WORKER`.
    """
    outcome = await door.admin.recover(await references(door, ids), dry_run=dry_run)
    tell(outcome, as_json, dry_run, strict="changed")


@click.command()
@click.argument("queue")
@click.option("--task", help="Only the jobs of this task.")
@write_options
@with_door
async def pause(
    door: Door, queue: str, task: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Stop giving out jobs of a queue, or of one task in it; running jobs go on."""
    tell(await door.admin.pause(queue, task, dry_run=dry_run), as_json, dry_run)


@click.command()
@click.argument("queue")
@click.option("--task", help="Only the jobs of this task.")
@write_options
@with_door
async def resume(
    door: Door, queue: str, task: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Take a pause back."""
    tell(await door.admin.resume(queue, task, dry_run=dry_run), as_json, dry_run)
