"""The way of a command to a server: which deck, opened and closed around one coroutine.

Owns the options that say which server is meant, and the question before a write that asks.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from qdeck.cli.answer import answering
from qdeck.errors import JobNotFound

if TYPE_CHECKING:
    from qdeck.admin import Admin, JobRef
    from qdeck.deck import Deck

__all__ = [
    "Door",
    "confirm",
    "json_option",
    "local_options",
    "open_deck",
    "page_options",
    "place_options",
    "references",
    "with_door",
    "write_options",
]

P = ParamSpec("P")
Run = Callable[..., Any]


class Door:
    """A deck, and the operator's door to its server; each is opened when it is first used."""

    def __init__(self, deck: Deck, actor: str | None = None) -> None:
        self.deck = deck
        self._actor = actor

    @functools.cached_property
    def admin(self) -> Admin:
        """The operator's door."""
        admin: Admin = self.deck.admin(actor=self._actor)
        return admin

    @property
    def actor(self) -> str:
        """Who acts: what `--as` says, else user and host."""
        from qdeck.crew import whoami

        return self._actor or "@".join(whoami())

    async def close(self) -> None:
        """Close what was opened."""
        if "admin" in self.__dict__:
            await self.admin.close()
        await self.deck.close()


def place_options(function: Run) -> Run:
    """Add the options that say which server is meant."""
    for decorate in (
        click.option(
            "--app", metavar="APP", help="Take the deck of module:deck or file.py[:deck]."
        ),
        click.option("--prefix", help="Key prefix, instead of QUEUE_PREFIX."),
        click.option("--url", help="Server, instead of REDIS_URL and qdeck.toml."),
    ):
        function = decorate(function)
    return function


def open_deck(url: str | None, prefix: str | None, app: str | None) -> Deck:
    """Return the deck that the options name; nothing is opened yet."""
    if app is not None:
        if url is not None or prefix is not None:
            raise click.UsageError("--app brings its own server; leave out --url and --prefix")
        from qdeck.app import load_app

        return load_app(app)
    from qdeck.deck import Deck

    return Deck(url, prefix=prefix)


def with_door(function: Callable[Concatenate[Door, P], Awaitable[Any]]) -> Run:
    """Make a command of a coroutine function: it gets an open door first, and its own options."""

    @place_options
    @functools.wraps(function)
    def command(url: str | None, prefix: str | None, app: str | None, **words: Any) -> Any:
        return asyncio.run(_through(open_deck(url, prefix, app), function, words))

    return command


async def _through(deck: Deck, function: Callable[..., Awaitable[Any]], words: Any) -> Any:
    door = Door(deck, words.pop("actor", None))
    try:
        return await function(door, **words)
    finally:
        await door.close()


def json_option(function: Run) -> Run:
    """Add `--json`, which every word has that reads or writes."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def page_options(function: Run) -> Run:
    """Add `--limit` and `--offset`, which every list has."""
    at_least_0 = click.IntRange(min=0)
    function = click.option(
        "--offset", type=at_least_0, default=0, show_default=True, help="Rows to leave out."
    )(function)
    return click.option(
        "--limit", type=at_least_0, default=100, show_default=True, help="Rows at most."
    )(function)


def write_options(function: Run) -> Run:
    """Add `--dry-run`, `--yes`, `--json` and `--as`, which every write to a server has."""
    return local_options(
        click.option("--as", "actor", metavar="ACTOR", help="Who it is put on record for.")(
            function
        )
    )


def local_options(function: Run) -> Run:
    """Add `--dry-run`, `--yes` and `--json`, which a write on this machine has: nothing records it.

    With `--json` it prints JSON as well where it is refused.
    """
    function = json_option(answering(function))
    function = click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)
    return click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")(
        function
    )


def confirm(question: str, yes: bool) -> None:
    """Ask before a write. Without a terminal `--yes` must have been given (exit code 2)."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Without a terminal to ask on, give --yes.")
    click.confirm(question, abort=True, err=True)


async def references(door: Door, ids: Sequence[str]) -> list[JobRef]:
    """Return the references of jobs; JobNotFound names the first that is not known."""
    found = []
    for job_id in dict.fromkeys(ids):
        ref = await door.admin.find(job_id)
        if ref is None:
            raise JobNotFound(f"job {job_id} is not known here; `qdeck jobs` lists those that are")
        found.append(ref)
    return found
