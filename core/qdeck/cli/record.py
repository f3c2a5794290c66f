"""The words of the record: audit, undo, clear, restore, limits."""

from __future__ import annotations

from typing import Any, Final, cast, get_args

import click

from qdeck.admin import AuditRow, Cleared, StateName, Window
from qdeck.cli.answer import tell
from qdeck.cli.door import Door, confirm, json_option, page_options, with_door, write_options
from qdeck.cli.show import ago, number, print_json, print_table
from qdeck.errors import WrongState

__all__ = ["audit", "clear", "limits", "restore", "undo"]

#: States that can be cleared.
CLEARABLE: Final = tuple(state for state in get_args(StateName) if state != "running")


@click.command()
@click.option("-q", "--queue", help="Only of one queue, without what was asked of workers.")
@page_options
@json_option
@with_door
async def audit(door: Door, queue: str | None, limit: int, offset: int, as_json: bool) -> None:
    """List what operators did, newest first, with the ids that `qdeck undo` takes."""
    rows = await door.admin.audit(Window(offset, limit), queue)
    if as_json:
        print_json([audit_object(row) for row in rows])
        return
    cells = (
        (row.id, ago(row.at), row.actor, row.verb, row.target, number(row.count), row.outcome,
         _undo_note(row))
        for row in rows
    )  # fmt: skip
    head = ("id", "when", "actor", "verb", "target", "count", "outcome", "undo")
    print_table(head, cells, right=(5,))


@click.command()
@click.argument("entry", metavar="[ID]", required=False)
@click.option("--others", is_flag=True, help="Also where it is the act of somebody else.")
@write_options
@with_door
async def undo(
    door: Door, entry: str | None, others: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Take back an act by its id, or your newest one that can be taken back."""
    admin, row = door.admin, None
    if entry is None:
        row = await admin.last_undoable()
        if row is None:
            raise WrongState(f"{admin.actor} did nothing that can be taken back; see `qdeck audit`")
        if not dry_run:
            confirm(f"Undo {row.verb} of {row.target}, {ago(row.at)}?", yes)
        entry = row.id
    tell(await admin.undo(entry, others=others, dry_run=dry_run), as_json, dry_run)


@click.command()
@click.argument("queue")
@click.option(
    "--state", type=click.Choice(CLEARABLE), default="pending", show_default=True,
    help="Which jobs.",
)  # fmt: skip
@write_options
@with_door
async def clear(
    door: Door, queue: str, state: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Take all jobs of one state out of a queue. A copy is kept for 24 h: `qdeck restore`."""
    named = cast(StateName, state)
    would = await door.admin.clear(queue, named, dry_run=True)
    if dry_run:
        tell(would, as_json, dry_run)
        return
    if would.changed:
        jobs = f"{would.changed:,} {state} job" + ("" if would.changed == 1 else "s")
        confirm(f"Clear {jobs} of {queue}?", yes)
    outcome = await door.admin.clear(queue, named)
    tell(outcome, as_json)


@click.command()
@click.argument("what", metavar="[QUEUE|COPY]", required=False)
@page_options
@write_options
@with_door
async def restore(
    door: Door,
    what: str | None,
    limit: int,
    offset: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Bring cleared jobs back: those of a copy, or the newest of a queue. Without a name, list the
    copies that are kept.
    """
    copies = await door.admin.cleared()
    if what is None:
        _list(copies[offset : offset + limit], as_json)
        return
    found = next((copy for copy in copies if what in (copy.id, copy.queue)), None)
    if found is None:
        raise WrongState(f"nothing is kept of {what}; `qdeck restore` lists what is")
    tell(await door.admin.restore(found.id, dry_run=dry_run), as_json, dry_run)


@click.command()
@click.argument("queue")
@click.option("--limit", help="Jobs that run at a time over all workers, or none.")
@click.option("--rate", help="Jobs started a second over all workers, or none.")
@write_options
@with_door
async def limits(
    door: Door,
    queue: str,
    limit: str | None,
    rate: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Set how many jobs of a queue run at once and start a second; what is not said stays."""
    if limit is None and rate is None:
        raise click.UsageError("say --limit N, --rate R, or none for either")
    snapshot = await door.admin.snapshot()
    rows = snapshot.queues if isinstance(snapshot.queues, tuple) else ()
    now = next((row for row in rows if row.name == queue), None)
    most = (now.limit if now else None) if limit is None else _whole(limit)
    speed = (now.rate if now else None) if rate is None else _real(rate)
    tell(await door.admin.set_limits(queue, most, speed, dry_run=dry_run), as_json, dry_run)


def audit_object(row: AuditRow) -> dict[str, Any]:
    """Return an act as other programs read it."""
    return {
        "id": row.id,
        "at": row.at,
        "actor": row.actor,
        "verb": row.verb,
        "target": row.target,
        "count": row.count,
        "outcome": row.outcome,
        "queue": row.queue or None,
        "undo_until": row.undo_until,
        "undone_by": row.undone_by or None,
        "of": row.of or None,
    }


def copy_object(copy: Cleared) -> dict[str, Any]:
    """Return a copy of cleared jobs as other programs read it."""
    return {
        "id": copy.id,
        "queue": copy.queue,
        "state": copy.state,
        "count": copy.count,
        "at": copy.at,
        "until": copy.until,
        "actor": copy.actor,
    }


def _list(copies: tuple[Cleared, ...], as_json: bool) -> None:
    if as_json:
        print_json([copy_object(copy) for copy in copies])
        return
    cells = (
        (copy.id, copy.queue, copy.state, str(copy.count), ago(copy.at), copy.actor)
        for copy in copies
    )
    print_table(("copy", "queue", "state", "jobs", "cleared", "by"), cells, right=(3,))


def _undo_note(row: AuditRow) -> str:
    if row.undone_by:
        return f"undone by {row.undone_by}"
    return f"until {row.undo_until:%Y-%m-%d %H:%M} UTC" if row.undo_until else "-"


def _whole(word: str) -> int | None:
    if word == "none":
        return None
    if not (word.isascii() and word.isdigit()):
        raise click.UsageError(f"--limit {word!r} is no whole number; give one, or none")
    return int(word)


def _real(word: str) -> float | None:
    if word == "none":
        return None
    try:
        return float(word)
    except ValueError:
        raise click.UsageError(f"--rate {word!r} is no number; give one, or none") from None
