"""The words that change waiting jobs: edit, move to another queue, run now, discard, priority,
delay; and enqueue again.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from qdeck.admin import parse_moment
from qdeck.cli.answer import tell
from qdeck.cli.choice import Choice, choose_any, run_over
from qdeck.cli.door import Door, references, with_door, write_options

__all__ = ["again", "delay", "discard", "edit", "move", "priority", "run"]

_SPAN = re.compile(r"([+-]?)(\d{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--payload", required=True, help="The new arguments, a JSON object.")
@write_options
@with_door
async def edit(
    door: Door, job_id: str, payload: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Give a job that is not running another payload, checked against what its task takes. The
    old one is kept: `qdeck undo`.
    """
    (ref,) = await references(door, [job_id])
    tell(await door.admin.edit_payload(ref, payload, dry_run=dry_run), as_json, dry_run)


@click.command()
@choose_any("pending", "scheduled", "retrying", source="--from")
@click.option("-q", "--queue", required=True, help="Where they go.")
@write_options
@with_door
async def move(
    door: Door, choice: Choice, queue: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Move waiting jobs to another queue under the same ids, each exactly once. Their attempts
    begin anew; logs and earlier runs stay behind.
    """
    if not choice.ids:
        draft = await door.admin.move_queue(await choice.described(door), queue)
        await run_over(door, choice, draft, f"Move {{}} to {queue}?", dry_run, yes, as_json)
        return
    outcome = await door.admin.move_queue(await choice.refs(door), queue, dry_run=dry_run)
    tell(outcome, as_json, dry_run, strict="moved")


@click.command()
@choose_any("scheduled", "retrying")
@write_options
@with_door
async def run(door: Door, choice: Choice, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make scheduled or retrying jobs pending now."""
    if choice.ids:
        outcome = await door.admin.run_now(await choice.refs(door), dry_run=dry_run)
        tell(outcome, as_json, dry_run, strict="changed")
    else:
        draft = await door.admin.run_now(await choice.described(door))
        await run_over(door, choice, draft, "Run {} now?", dry_run, yes, as_json)


@click.command()
@choose_any("pending", "scheduled", "retrying")
@write_options
@with_door
async def discard(door: Door, choice: Choice, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make waiting jobs dead at once; they can be retried later."""
    draft = await door.admin.discard(await choice.jobs(door))
    await run_over(door, choice, draft, "Discard {}?", dry_run, yes, as_json)


@click.command()
@choose_any("pending", "scheduled", "retrying")
@click.option("--to", "wanted", required=True, metavar="PRIORITY",
              help="0 to 9, low, normal, high or critical.")  # fmt: skip
@write_options
@with_door
async def priority(
    door: Door, choice: Choice, wanted: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Give waiting jobs another priority."""
    draft = await door.admin.priority(await choice.jobs(door), wanted)
    await run_over(door, choice, draft, f"Give {{}} priority {wanted}?", dry_run, yes, as_json)


@click.command()
@choose_any("scheduled", "retrying")
@click.option("--to", "moment", metavar="TIME", help="When: `+2h`, `mon 9:00`, 2026-11-23T09:00Z.")
@click.option("--by", "span", metavar="SPAN", help="So much later, or earlier: 90s, 30m, 2h, -1d.")
@write_options
@with_door
async def delay(
    door: Door,
    choice: Choice,
    moment: str | None,
    span: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let scheduled or retrying jobs be due at another time."""
    if (moment is None) == (span is None):
        raise click.UsageError("give --to TIME or --by SPAN")
    to = None if moment is None else _moment(moment)
    by = None if span is None else _span(span)
    draft = await door.admin.move_in_time(await choice.jobs(door), to=to, by=by)
    await run_over(door, choice, draft, "Move {} in time?", dry_run, yes, as_json)


@click.command()
@click.argument("job_id", metavar="ID")
@write_options
@with_door
async def again(door: Door, job_id: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Enqueue a new job with the task, payload and terms of a known one."""
    (ref,) = await references(door, [job_id])
    tell(await door.admin.enqueue_again(ref, dry_run=dry_run), as_json, dry_run)


def _moment(text: str) -> datetime:
    now = datetime.now().astimezone()
    try:
        return parse_moment(text, now, now.tzinfo or UTC)
    except ValueError as error:
        raise click.UsageError(f"--to: {error}") from None


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise click.UsageError(f"--by {text!r} is no span; write 90s, 30m, 2h, or -1d for earlier")
    seconds = int(found[2]) * _UNITS[found[3]]
    return timedelta(seconds=-seconds if found[1] == "-" else seconds)
