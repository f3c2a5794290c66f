"""The words about dead jobs: list, groups, retry, patch, delete, export."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import click
import msgspec

from qdeck.admin import Change, Draft, JobRef, Selection, Window
from qdeck.cli.door import (
    Door,
    confirm,
    json_option,
    page_options,
    references,
    with_door,
    write_options,
)
from qdeck.cli.look import QUEUE, show_jobs
from qdeck.cli.ops import (
    COPY,
    PATCHES,
    Pacing,
    changes_of,
    pace_options,
    plainly,
    run_paced,
)
from qdeck.cli.show import ago, job_object, number, print_json, print_table

__all__ = ["dead"]

GROUP = click.option("--group", metavar="FINGERPRINT", help="Only this error group.")
WHERE = click.option(
    "--where", "--query", "query", default="", help="Only jobs that match this query."
)
ALL = click.option("--all", "everything", is_flag=True, help="All dead jobs (of --queue).")
_STEP = 200
Run = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead jobs a word is about: ids, or one description."""

    ids: tuple[str, ...]
    queue: str | None
    group: str | None
    query: str
    everything: bool

    @property
    def wanted(self) -> int:
        """How many jobs were asked for by id; 0 for a description."""
        return len(set(self.ids))

    async def jobs(self, door: Door) -> Sequence[JobRef] | Selection:
        """Return the jobs; raises click.UsageError unless ids or one description are given."""
        if bool(self.ids) == bool(self.group or self.query or self.everything):
            raise click.UsageError("give ids, or one of --group, --where and --all")
        if self.ids:
            return await references(door, self.ids)
        queue = self.queue
        if self.group and queue is None:
            queue = await _queue_of(door, self.group)
        return Selection("dead", queue, fingerprint=self.group, query=self.query)


def chosen_options(function: Run) -> Run:
    """Add ids and `--queue --group --where --all`, which a bulk word gets as one `choice`."""

    @functools.wraps(function)
    def command(
        ids: tuple[str, ...],
        queue: str | None,
        group: str | None,
        query: str,
        everything: bool,
        **words: Any,
    ) -> Any:
        return function(choice=Choice(ids, queue, group, query, everything), **words)

    ids = click.argument("ids", metavar="[ID]...", nargs=-1)
    return ids(QUEUE(GROUP(WHERE(ALL(command)))))


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
@chosen_options
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
) -> None:
    """Give dead jobs another round of runs: by id, by --group, by --where, or --all; with --set,
    --unset and --rename after a change to their payloads.
    """
    jobs = await choice.jobs(door)
    admin = door.admin
    draft = await (admin.patch(jobs, changes, retry=True) if changes else admin.retry(jobs))
    if draft.total > 1 and not dry_run:
        await _ask(door, draft, f"Retry {draft.total} dead jobs?", yes)
    await run_paced(door, draft, choice.wanted, dry_run, pacing)


@dead.command()
@chosen_options
@patch_options
@write_options
@with_door
async def patch(
    door: Door, choice: Choice, changes: Sequence[Change], dry_run: bool, yes: bool
) -> None:
    """Change the payloads of dead jobs, which stay dead: --set, --unset, --rename."""
    if not changes:
        raise click.UsageError("give at least one of --set, --unset and --rename")
    draft = await door.admin.patch(await choice.jobs(door), changes)
    if draft.total > 1 and not dry_run:
        await _ask(door, draft, f"Patch {draft.total} dead jobs?", yes)
    await run_paced(door, draft, choice.wanted, dry_run)


@dead.command()
@chosen_options
@COPY
@write_options
@with_door
async def delete(door: Door, choice: Choice, no_copy: bool, dry_run: bool, yes: bool) -> None:
    """Delete dead jobs: by id, by --group, by --where, or --all. Taken back within 24 h."""
    draft = await door.admin.delete(await choice.jobs(door))
    if draft.total and not dry_run:
        await _ask(door, draft, f"Delete {draft.total} dead jobs?", yes)
    await run_paced(door, draft, choice.wanted, dry_run, plainly(no_copy))


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


async def _queue_of(door: Door, fingerprint: str) -> str:
    found = [
        row.queue for row in (await door.admin.errors()).groups if row.fingerprint == fingerprint
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"group {fingerprint} is in {', '.join(found)}; give --queue")
    raise click.UsageError(f"group {fingerprint} is not known; `qdeck dead groups` lists them")


async def _ask(door: Door, draft: Draft, question: str, yes: bool) -> None:
    """Ask before a draft is started; forget it when the answer is no."""
    try:
        confirm(question, yes)
    except (click.Abort, click.UsageError):
        await door.admin.forget(draft)
        raise
