"""The words about dead jobs: list, groups, retry, patch, delete, export."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import IO, Any

import click
import msgspec

from qdeck.admin import Change, Window
from qdeck.cli.choice import WHERE, Choice, choose_dead, run_over
from qdeck.cli.door import Door, json_option, page_options, with_door, write_options
from qdeck.cli.look import QUEUE, show_jobs
from qdeck.cli.ops import COPY, PATCHES, Pacing, changes_of, pace_options, plainly
from qdeck.cli.show import ago, job_object, number, print_json, print_table

__all__ = ["dead"]

_STEP = 200
Run = Callable[..., Any]


def patch_options(function: Run) -> Run:
    """Add `--set --unset --rename`, which a word gets as `changes`."""

    @functools.wraps(function)
    def command(
        sets: tuple[str, ...], unsets: tuple[str, ...], renames: tuple[str, ...], **words: Any
    ) -> Any:
        return function(changes=changes_of(sets, unsets, renames), **words)

    for decorate in PATCHES:
        command = decorate(command)
    return command


@click.group()
def dead() -> None:
    """Look at, retry, patch and delete dead jobs."""


@dead.command("list")
@QUEUE
@WHERE
@page_options
@json_option
@with_door
async def list_(
    door: Door, queue: str | None, query: str, limit: int, offset: int, as_json: bool
) -> None:
    """List dead jobs, newest first."""
    page = await door.admin.jobs(queue, "dead", Window(offset, limit, reverse=True), query)
    await show_jobs(door, page.rows, as_json)


@dead.command()
@QUEUE
@page_options
@json_option
@with_door
async def groups(door: Door, queue: str | None, limit: int, offset: int, as_json: bool) -> None:
    """List dead jobs by the error that they died of, the largest group first."""
    rows = (await door.admin.errors(queue)).groups[offset : offset + limit]
    if as_json:
        print_json(
            [{**msgspec.to_builtins(row), "sample": row.sample and row.sample.id} for row in rows]
        )
        return
    cells = (
        (
            row.fingerprint,
            number(row.count),
            number(row.new_per_hour),
            ago(row.last_at),
            row.queue,
            row.task,
            f"{row.type}: {row.message}",
        )
        for row in rows
    )
    head = ("group", "dead", "last hour", "last", "queue", "task", "error")
    print_table(head, cells, right=(1, 2))


@dead.command()
@choose_dead
@patch_options
@pace_options
@write_options
@with_door
async def retry(
    door: Door,
    choice: Choice,
    changes: Sequence[Change],
    pacing: Pacing,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Give dead jobs another round of runs: by id, by --group, by --where, or --all; with --set,
    --unset and --rename after a change to their payloads.
    """
    jobs, admin = await choice.jobs(door), door.admin
    draft = await (admin.patch(jobs, changes, retry=True) if changes else admin.retry(jobs))
    await run_over(door, choice, draft, "Retry {} that are dead?", dry_run, yes, as_json, pacing)


@dead.command()
@choose_dead
@patch_options
@write_options
@with_door
async def patch(
    door: Door, choice: Choice, changes: Sequence[Change], dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Change the payloads of dead jobs, which stay dead: --set, --unset, --rename."""
    if not changes:
        raise click.UsageError("give at least one of --set, --unset and --rename")
    draft = await door.admin.patch(await choice.jobs(door), changes)
    await run_over(door, choice, draft, "Patch {} that are dead?", dry_run, yes, as_json)


@dead.command()
@choose_dead
@COPY
@write_options
@with_door
async def delete(
    door: Door, choice: Choice, no_copy: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete dead jobs: by id, by --group, by --where, or --all. Taken back within 24 h."""
    draft, pacing = await door.admin.delete(await choice.jobs(door)), plainly(no_copy)
    question = "Delete {} that are dead?"
    await run_over(door, choice, draft, question, dry_run, yes, as_json, pacing, least=1)


@dead.command()
@QUEUE
@WHERE
@click.option(
    "-o", "--output", type=click.File("w"), default="-", help="A file; stdout unless given."
)
@click.option("--json", "as_json", is_flag=True, hidden=True, help="It is JSON anyway.")
@with_door
async def export(door: Door, queue: str | None, query: str, output: IO[str], as_json: bool) -> None:
    """Write all dead jobs as JSON, one a line."""
    offset = 0
    while True:
        page = await door.admin.jobs(queue, "dead", Window(offset, _STEP), query)
        found = await asyncio.gather(
            *(door.deck.job(row.ref.id, queue=row.ref.queue) for row in page.rows)
        )
        for job in found:
            if job is not None:
                raw = msgspec.json.encode(job_object(job), enc_hook=str)
                click.echo(raw.decode(), file=output)
        offset += len(page.rows)
        if not page.rows:
            return
