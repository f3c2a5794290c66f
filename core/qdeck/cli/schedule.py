"""The words about schedules: list, show, add, edit, remove, enable, disable, run, next, backfill,
adopt, move, export, import.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from qdeck.admin import ScheduleRow, ScheduleSpec, parse_moment
from qdeck.cli.answer import tell
from qdeck.cli.door import (
    Door,
    confirm,
    json_option,
    page_options,
    with_door,
    write_options,
)
from qdeck.cli.plans import changes, terms
from qdeck.cli.show import ago, print_json, print_table, schedule_object
from qdeck.cron import Cron
from qdeck.cronlint import lint
from qdeck.cronwords import describe, parse_words
from qdeck.errors import JobNotFound
from qdeck.zone import find_zone

__all__ = ["schedule"]

Run = Callable[..., Any]
NAME = click.argument("name")
TEXT = click.argument("text", metavar="EXPR")


@click.group()
def schedule() -> None:
    """Look at and change schedules: what is enqueued when, and what became of it.

    EXPR is a cron expression of five fields (minute hour day month weekday) or six with seconds
    first, @daily and the like, or plain words such as `mon 9:00`. Sunday is 0 and 7.
    """


@schedule.command("list")
@page_options
@json_option
@with_door
async def list_(door: Door, limit: int, offset: int, as_json: bool) -> None:
    """List schedules by name: when next, when last, and what became of the last job."""
    rows = (await door.admin.schedules())[offset : offset + limit]
    if as_json:
        print_json([schedule_object(row) for row in rows])
        return
    print_table(
        ("NAME", "EXPRESSION", "ZONE", "TASK", "QUEUE", "NEXT", "LAST", "OUTCOME", "NOTE"),
        [
            (
                row.name,
                row.expression,
                row.zone,
                row.task,
                row.queue,
                ago(row.next_slot),
                ago(row.last_slot),
                row.last_outcome or "-",
                _note(row),
            )
            for row in rows
        ],
    )


@schedule.command()
@NAME
@json_option
@with_door
async def show(door: Door, name: str, as_json: bool) -> None:
    """Show one schedule with its last 20 slots."""
    row = await _row(door, name)
    if as_json:
        print_json(schedule_object(row))
        return
    fields = schedule_object(row)
    del fields["history"]
    for field, value in fields.items():
        shown = json.dumps(value) if isinstance(value, (dict, bool)) else value
        click.echo(f"{field:15} {'-' if shown is None else shown}")
    if row.history:
        click.echo()
        print_table(
            ("SLOT", "OUTCOME", "JOB", "LATE"),
            [
                (
                    past.slot.isoformat(),
                    past.outcome if past.count == 1 else f"{past.outcome} x {past.count}",
                    past.job.id if past.job else "-",
                    f"{past.late_s:.1f} s" if past.late_s is not None else "?",
                )
                for past in row.history
            ],
        )


@schedule.command()
@NAME
@terms(True)
@click.option("-q", "--queue", help="The queue of its jobs; else the task's.")
@write_options
@with_door
async def add(
    door: Door,
    /,
    name: str,
    queue: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Create a schedule."""
    spec = ScheduleSpec(name, queue=queue or "", **changes(given))
    tell(await door.admin.add_schedule(spec, dry_run=dry_run), as_json, dry_run)


@schedule.command()
@NAME
@terms(False)
@click.option("--revision", type=int, help="Only if it still has this revision.")
@write_options
@with_door
async def edit(
    door: Door,
    /,
    name: str,
    revision: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Change what is given of a schedule; the rest stays."""
    said = changes(given)
    if not said:
        raise click.UsageError("give what is to change, such as --cron or --payload")
    row = await _row(door, name)
    seen = row.revision if revision is None else revision
    outcome = await door.admin.edit_schedule(replace(row.spec, **said), seen or 0, dry_run=dry_run)
    tell(outcome, as_json, dry_run)


@schedule.command()
@NAME
@write_options
@with_door
async def remove(door: Door, name: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove a schedule with its history; its jobs stay."""
    if not dry_run:
        confirm(f"Remove schedule {name}?", yes)
    tell(await door.admin.remove_schedule(name, dry_run=dry_run), as_json, dry_run)


@schedule.command()
@NAME
@write_options
@with_door
async def enable(door: Door, name: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Let a schedule fire again, from its next slot after now."""
    tell(await door.admin.enable_schedule(name, dry_run=dry_run), as_json, dry_run)


@schedule.command()
@NAME
@click.option("--until", metavar="TIME", help="It comes back by itself then.")
@write_options
@with_door
async def disable(
    door: Door, name: str, until: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Stop a schedule, for good or until a time (`+2h`, `mon 9:00`, `2026-11-23T09:00Z`)."""
    wake = None if until is None else _moment("--until", until)
    tell(await door.admin.disable_schedule(name, wake, dry_run=dry_run), as_json, dry_run)


@schedule.command()
@NAME
@write_options
@with_door
async def run(door: Door, name: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Enqueue the job of a schedule now, once; its slots stay as they are."""
    tell(await door.admin.trigger_schedule(name, dry_run=dry_run), as_json, dry_run)


@schedule.command()
@NAME
@write_options
@with_door
async def adopt(door: Door, name: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Replace what is stored of a schedule by what the code declares."""
    tell(await door.admin.adopt_schedule(name, dry_run=dry_run), as_json, dry_run)


@schedule.command()
@NAME
@click.argument("queue")
@write_options
@with_door
async def move(door: Door, name: str, queue: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Move a schedule to another queue."""
    tell(await door.admin.move_schedule(name, queue, dry_run=dry_run), as_json, dry_run)


@schedule.command("next")
@TEXT
@click.option("--tz", "zone", default="UTC", show_default=True, metavar="ZONE")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--from", "start", metavar="TIME", help="The first slot after this; else after now.")
@json_option
def next_(text: str, zone: str, count: int, start: str | None, as_json: bool) -> None:
    """Show the next slots of an expression, and what to mind about it. Needs no server."""
    cron, place = Cron.parse(parse_words(text) or text), find_zone(zone)
    slot = begin = datetime.now(UTC) if start is None else _past("--from", start)
    slots: list[datetime] = []
    while len(slots) < count:
        found = cron.after(slot, place)
        if found is None:
            break
        slots.append(slot := found)
    if as_json:
        print_json(slots)
        return
    click.echo(describe(cron))
    for each in slots:
        click.echo(f"{each.astimezone(place):%a %Y-%m-%d %H:%M:%S %Z}  {each:%H:%M:%S} UTC")
    for finding in lint(cron, place, (), begin):
        click.echo(f"{finding.level:<4}  {finding.text}")


@schedule.command()
@NAME
@click.option("--from", "start", required=True, metavar="TIME", help="The first slot may be this.")
@click.option("--to", "end", required=True, metavar="TIME", help="Slots before this.")
@write_options
@with_door
async def backfill(
    door: Door, name: str, start: str, end: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Enqueue a job for each slot of a past range that has none."""
    first, last = _past("--from", start), _past("--to", end)
    planned = await door.admin.backfill_schedule(name, first, last, dry_run=True)
    if not dry_run:
        if planned.total > planned.existing:
            confirm(f"Enqueue {planned.total - planned.existing} jobs of {name}?", yes)
        planned = await door.admin.backfill_schedule(name, first, last)
    if as_json:
        print_json(
            {
                name: getattr(planned, name)
                for name in ("name", "total", "created", "existing", "slots", "dry_run")
            }
        )
        return
    made = planned.total - planned.existing if dry_run else planned.created
    word = "would enqueue" if dry_run else "enqueued"
    click.echo(f"{word} {made} of {planned.total} slots; {planned.existing} had their job already")


@schedule.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file, instead of stdout.")
@json_option
@with_door
async def export(door: Door, output: str | None, as_json: bool) -> None:
    """Print all schedules as TOML, which `qdeck schedule import` takes."""
    text = await door.admin.export_schedules()
    if as_json:
        text = json.dumps(tomllib.loads(text), indent=2, default=str) + "\n"
    with click.open_file(output or "-", "w", encoding="utf-8") as file:
        file.write(text)


@schedule.command("import")
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@write_options
@with_door
async def import_(door: Door, file: Any, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Add and change schedules so that they are as a TOML file says; others stay."""
    text = file.read()
    planned = await door.admin.import_schedules(text, dry_run=True)
    if not dry_run:
        if planned.changed:
            confirm(f"Change {', '.join(planned.changed)}?", yes)
        planned = await door.admin.import_schedules(text)
    if as_json:
        print_json(
            {name: getattr(planned, name) for name in ("added", "changed", "unchanged", "dry_run")}
        )
        return
    for word, names in (
        ("add", planned.added),
        ("change", planned.changed),
        ("leave", planned.unchanged),
    ):
        if names:
            click.echo(f"{word:6} {', '.join(names)}")
    if dry_run:
        click.echo("nothing was changed")


async def _row(door: Door, name: str) -> ScheduleRow:
    row = await door.admin.schedule(name)
    if row is None:
        raise JobNotFound(
            f"there is no schedule {name!r} here; `qdeck schedule list` shows those there are"
        )
    return row


def _moment(option: str, text: str) -> datetime:
    """Return a time to come, as an operator writes it."""
    try:
        now = datetime.now().astimezone()
        return parse_moment(text, now, now.tzinfo or UTC)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _past(option: str, text: str) -> datetime:
    """Return any time; without a zone it is local."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"{option} {text!r} is no time; write 2026-03-01T09:00:00+01:00 or 2026-03-01T09:00"
        ) from None
    return moment if moment.tzinfo else moment.astimezone()


def _note(row: ScheduleRow) -> str:
    words = []
    if not row.enabled:
        until = row.disabled_until
        words.append(f"off until {until:%Y-%m-%d %H:%M} UTC" if until else "off")
    if row.late_s is not None and row.late_s >= 10:
        words.append(f"late {row.late_s:.0f} s")
    if row.drifted is not None:
        words.append(f"drifted: code says {row.drifted}")
    if row.fault:
        words.append(row.fault)
    return ", ".join(words)
