"""The words about bulk operations: list, show, watch, abort, undo; and how one is started."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click
import msgspec

from qdeck.admin import Change, Denied, Draft, Operation
from qdeck.cli.answer import Answer, Told, tell
from qdeck.cli.door import Door, confirm, json_option, page_options, with_door, write_options
from qdeck.cli.show import ago, number, print_json, print_table
from qdeck.errors import WrongState

__all__ = ["COPY", "PATCHES", "Pacing", "changes_of", "ops", "pace_options", "plainly", "run_paced"]

Run = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Pacing:
    """How an operation is started; `detach` leaves it to the workers."""

    rate: float | None
    stop_after: int | None
    canary: bool
    resume: bool
    keep_copy: bool
    anyway: bool
    detach: bool


COPY = click.option("--no-copy", is_flag=True, help="Keep no copy for an undo: frees memory now.")


def plainly(no_copy: bool) -> Pacing:
    """Return how an operation is started that has no pace, and perhaps no copy for an undo."""
    return Pacing(None, None, False, False, not no_copy, False, False)


def pace_options(function: Run) -> Run:
    """Add the options that say how an operation is started, which a word gets as one `pacing`."""

    @functools.wraps(function)
    def command(
        rate: float | None,
        stop_after: int | None,
        canary: bool,
        resume: bool,
        no_copy: bool,
        anyway: bool,
        detach: bool,
        **words: Any,
    ) -> Any:
        pacing = Pacing(rate, stop_after, canary, resume, not no_copy, anyway, detach)
        return function(pacing=pacing, **words)

    for decorate in (
        click.option("--detach", is_flag=True, help="Leave it to the workers, and do not wait."),
        click.option("--anyway", is_flag=True, help="Also where the same runs already."),
        click.option("--no-copy", is_flag=True, help="Keep no copy for an undo."),
        click.option("--resume", is_flag=True, help="Resume the task after a good first job."),
        click.option("--canary", is_flag=True, help="Try one job first; go on if it completes."),
        click.option(
            "--stop-after",
            type=click.IntRange(1, 1000),
            metavar="N",
            help="Stop after N new failures.",
        ),
        click.option(
            "--rate", type=click.FloatRange(min=0, min_open=True), help="Jobs a second at most."
        ),
    ):
        command = decorate(command)
    return command


#: The options that change payloads.
PATCHES = (
    click.option(
        "--set", "sets", multiple=True, metavar="NAME=JSON", help="Set an argument: args.x=1."
    ),
    click.option("--unset", "unsets", multiple=True, metavar="NAME", help="Take an argument out."),
    click.option(
        "--rename", "renames", multiple=True, metavar="OLD=NEW", help="Rename an argument."
    ),
)


def changes_of(
    sets: tuple[str, ...], unsets: tuple[str, ...], renames: tuple[str, ...]
) -> list[Change]:
    """Return the changes that options ask for; raises click.UsageError for what is none."""
    try:
        found = [Change.parse(line) for line in sets]
        found += [Change("unset", name) for name in unsets]
        for line in renames:
            old, sign, new = line.partition("=")
            if not sign or not old or not new:
                raise Denied(f"{line!r} is no change; write --rename args.old=new")
            found.append(Change("rename", old.strip(), new.strip()))
    except Denied as error:
        raise click.UsageError(str(error)) from error
    if any(change.kind != "set" for change in found[: len(sets)]):
        raise click.UsageError("--set takes name=value; see --unset and --rename for the others")
    return found


async def run_paced(
    door: Door,
    draft: Draft,
    wanted: int,
    dry_run: bool,
    as_json: bool,
    pacing: Pacing | None = None,
) -> None:
    """Run a bulk operation to its end and say what it did; with `dry_run` forget it instead.

    `wanted` is how many jobs were asked for; what has another state is told. Raises WrongState
    when there is nothing to do, and when it stops before its end.
    """
    verb = draft.verb.replace("_", " ")
    told = Answer(dry_run=dry_run, warning=draft.warning, diffs=draft.diffs)
    if not as_json and (draft.total or wanted):
        show_diffs(draft)
    if dry_run and (draft.total or not wanted):
        await door.admin.forget(draft)
        said = f"would {verb} {_jobs(draft.total)}"
        _say(replace(told, text=said, changed=draft.total), as_json)
        return
    if not draft.total:
        await door.admin.forget(draft)
        if not wanted:
            raise WrongState(
                f"no job matches, so {verb} changed nothing; `qdeck jobs` shows those there are"
            )
        raise WrongState(
            f"none of the {_jobs(wanted)} can be changed by {verb}: they are in another "
            "state; `qdeck job ID` tells which"
        )
    operation = await start_paced(door, draft, pacing)
    if pacing is not None and pacing.detach:
        said = f"{verb}: started over {_jobs(operation.total)}"
        _say(replace(told, text=said, operation=_whole(operation)), as_json)
        if not as_json:
            click.echo(f"watch it: qdeck ops show {_short(operation)}")
        return
    while operation.state in ("running", "undoing"):
        operation = await door.admin.advance(operation.id, operation.queue)
    left = max(wanted, draft.total) - operation.ok
    text, error = f"{verb}: {_jobs(operation.ok)} changed", ""
    if operation.state in ("stopped", "aborted"):
        error = (
            f"{verb} {operation.state}: {operation.reason}; `qdeck ops show "
            f"{_short(operation)}` tells more"
        )
    elif not operation.ok:
        error = f"no job was changed by {verb}; they changed state meanwhile"
    done = replace(
        told,
        text=f"{text}, {left} left alone" if left else text,
        changed=operation.ok,
        left=left,
        operation=_whole(operation),
        undo_until=operation.undo_until,
        error=error,
    )
    _say(done, as_json)
    if error:
        raise Told(error)
    if as_json:
        return
    if operation.undo_until is not None:
        until = f"{operation.undo_until:%Y-%m-%d %H:%M} UTC"
        click.echo(f"take it back until {until}: qdeck ops undo {_short(operation)}", err=True)
    elif operation.ok and draft.verb == "delete" and (pacing is None or pacing.keep_copy):
        click.echo("no copy is kept: the server's memory is full", err=True)


async def start_paced(door: Door, draft: Draft, pacing: Pacing | None) -> Operation:
    """Start a draft as the options say."""
    if pacing is None:
        return await door.admin.start(draft)
    return await door.admin.start(
        draft,
        rate=pacing.rate,
        stop_after=pacing.stop_after,
        canary=pacing.canary,
        keep_copy=pacing.keep_copy,
        resume=pacing.resume,
        anyway=pacing.anyway,
    )


def show_diffs(draft: Draft) -> None:
    """Say what a patch would make of the jobs, and who runs the same already."""
    if draft.warning:
        click.echo(f"note: {draft.warning}")
    for diff in draft.diffs:
        click.echo(f"{diff.ref.id}  {diff.before}  >  {diff.problem or diff.after}", err=True)
    if draft.changed is not None:
        click.echo(
            f"{draft.changed} change, {draft.unchanged} unchanged, {draft.invalid} invalid",
            err=True,
        )


@click.group()
def ops() -> None:
    """Look at bulk operations, end them, and take them back."""


@ops.command("list")
@page_options
@json_option
@with_door
async def list_(door: Door, limit: int, offset: int, as_json: bool) -> None:
    """List the bulk operations on record, newest first."""
    rows = (await door.admin.operations())[offset : offset + limit]
    if as_json:
        print_json([operation_object(row) for row in rows])
        return
    cells = (
        (
            row.id.split(" ")[0],
            row.verb.replace("_", " "),
            row.state,
            row.queue,
            f"{row.done:,}/{row.total:,}",
            number(row.completed),
            number(row.failed_again),
            row.started_by or row.actor,
            ago(row.created_at),
        )
        for row in rows
    )
    head = ("id", "verb", "state", "queues", "done", "ok", "failed again", "by", "made")
    print_table(head, cells, right=(5, 6))


@ops.command()
@click.argument("operation")
@json_option
@with_door
async def show(door: Door, operation: str, as_json: bool) -> None:
    """Show one bulk operation."""
    row = await _found(door, operation)
    fields = operation_object(row)
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        if value not in (None, "", []):
            click.echo(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


@ops.command()
@click.argument("operation")
@write_options
@with_door
async def abort(door: Door, operation: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """End a running operation where it is; what it has moved stays."""
    row = await _found(door, operation)
    outcome = await door.admin.abort(row.id, dry_run=True)
    if not dry_run:
        confirm(f"Abort {row.verb} after {row.done} of {_jobs(row.total)}?", yes)
        outcome = await door.admin.abort(row.id)
    tell(outcome, as_json, dry_run)


@ops.command()
@click.argument("operation")
@write_options
@with_door
async def undo(door: Door, operation: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Take back what an ended operation did to jobs that nothing has touched since."""
    row = await _found(door, operation)
    outcome = await door.admin.undo_operation(row.id, dry_run=True)
    if not dry_run:
        confirm(f"Take back {row.verb} of {_jobs(row.ok)}?", yes)
        outcome = await door.admin.undo_operation(row.id)
    tell(outcome, as_json, dry_run)


def operation_object(row: Operation) -> dict[str, Any]:
    """Return an operation as JSON has it: times as RFC 3339, changes as lines, queues as a list."""
    fields: dict[str, Any] = msgspec.to_builtins(row)
    fields["id"] = row.id.split(" ")[0]
    fields["queues"] = fields.pop("queue").split(", ")
    fields["changes"] = [change.line for change in row.changes]
    return fields


async def _found(door: Door, operation: str) -> Operation:
    """Return an operation by its id or the end of it."""
    rows = [
        row for row in await door.admin.operations() if row.id.split(" ")[0].endswith(operation)
    ]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise WrongState(f"{operation} is the end of {len(rows)} ids; give more of it")
    raise WrongState(f"no operation {operation} is on record; `qdeck ops list` lists them")


def _whole(operation: Operation) -> str:
    return operation.id.split(" ")[0]


def _short(operation: Operation) -> str:
    return _whole(operation)[-8:]


def _say(answer: Answer, as_json: bool) -> None:
    if as_json:
        answer.print()
    else:
        click.echo(answer.text)


def _jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"
