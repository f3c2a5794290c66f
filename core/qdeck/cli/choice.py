"""Which jobs a bulk word is about: ids, or one description, and how its operation is begun."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from qdeck.admin import STATES, Draft, JobRef, Selection, StateName
from qdeck.cli.door import Door, confirm, references
from qdeck.cli.look import QUEUE
from qdeck.cli.ops import Pacing, run_paced
from qdeck.errors import QdeckError

__all__ = ["WHERE", "Choice", "choose_any", "choose_dead", "run_over"]

GROUP = click.option("--group", metavar="FINGERPRINT", help="Only this error group.")
WHERE = click.option(
    "--where", "--query", "query", default="", help="Only jobs that match this query."
)
IDS = click.argument("ids", metavar="[ID]...", nargs=-1)
Run = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which jobs a word is about: ids, or one description of jobs in one state."""

    ids: tuple[str, ...]
    state: StateName | None = None
    queue: str | None = None
    group: str | None = None
    query: str = ""
    everything: bool = False

    @property
    def wanted(self) -> int:
        """How many jobs were asked for by id; 0 for a description."""
        return len(set(self.ids))

    async def refs(self, door: Door) -> list[JobRef]:
        """Return the jobs that ids name."""
        return await references(door, self.ids)

    async def jobs(self, door: Door) -> Sequence[JobRef] | Selection:
        """Return the jobs; raises click.UsageError unless ids or one description are given."""
        if self.ids and not (self.group or self.query or self.everything):
            return await self.refs(door)
        return await self.described(door)

    async def described(self, door: Door) -> Selection:
        """Return the description; raises click.UsageError where there is none, or ids too."""
        if self.state is None:
            raise click.UsageError("give ids, or --state with --where, a queue or --all")
        if self.ids or not (self.group or self.query or self.everything):
            raise click.UsageError("give ids, or one of --group, --where and --all")
        queue = self.queue
        if self.group and queue is None:
            queue = await _queue_of(door, self.group)
        return Selection(self.state, queue, fingerprint=self.group, query=self.query)


def choose_dead(function: Run) -> Run:
    """Add ids and `--queue --group --where --all`, which a word about the dead gets as `choice`."""

    @functools.wraps(function)
    def command(
        ids: tuple[str, ...],
        queue: str | None,
        group: str | None,
        query: str,
        everything: bool,
        **words: Any,
    ) -> Any:
        choice = Choice(ids, "dead", queue, group, query, everything)
        return function(choice=choice, **words)

    every = click.option("--all", "everything", is_flag=True, help="All dead jobs (of --queue).")
    return IDS(QUEUE(GROUP(WHERE(every(command)))))


def choose_any(*states: StateName, source: str = "--queue") -> Callable[[Run], Run]:
    """Add ids and `--state --queue --where --all`, which a word about jobs in some states gets as
    `choice`; `source` is the option that names the queue.
    """

    def decorate(function: Run) -> Run:
        @functools.wraps(function)
        def command(
            ids: tuple[str, ...],
            chosen_state: str | None,
            chosen_queue: str | None,
            query: str,
            everything: bool,
            **words: Any,
        ) -> Any:
            state = next((each for each in STATES if each == chosen_state), None)
            if ids and (state or query or everything):
                raise click.UsageError(f"give ids, or --state with --where, {source} or --all")
            if state and not (query or everything or chosen_queue):
                raise click.UsageError(f"--state {state} needs --where, {source} or --all")
            choice = Choice(ids, state, chosen_queue, None, query, state is not None)
            return function(choice=choice, **words)

        for option in (
            click.option("--all", "everything", is_flag=True, help="All of them."),
            WHERE,
            click.option(*(("-q",) if source == "--queue" else ()), source, "chosen_queue",
                         metavar="QUEUE", help="Only of this queue."),
            click.option("--state", "chosen_state", type=click.Choice(states),
                         help="Instead of ids: the jobs of this state."),
            IDS,
        ):  # fmt: skip
            command = option(command)
        return command

    return decorate


async def run_over(
    door: Door,
    choice: Choice,
    draft: Draft,
    question: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    pacing: Pacing | None = None,
    least: int = 2,
) -> None:
    """Ask where a draft has `least` jobs or more, and run it to its end; forget it for a no.

    `question` holds `{}` for how many jobs there are.
    """
    if draft.total >= least and not dry_run:
        many = f"{draft.total} job" if draft.total == 1 else f"{draft.total} jobs"
        try:
            confirm(question.format(many), yes)
        except (click.Abort, click.UsageError):
            await door.admin.forget(draft)
            raise
    await run_paced(door, draft, choice.wanted, dry_run, as_json, pacing)


async def _queue_of(door: Door, fingerprint: str) -> str:
    found = [
        row.queue for row in (await door.admin.errors()).groups if row.fingerprint == fingerprint
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"group {fingerprint} is in {', '.join(found)}; give --queue")
    raise QdeckError(f"group {fingerprint} is not known; `qdeck dead groups` lists them")
