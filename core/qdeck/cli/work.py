"""The word worker: run the jobs of one or more apps until stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import click

from qdeck.ending import end
from qdeck.errors import SettingsError
from qdeck.settings import load_settings

if TYPE_CHECKING:
    from qdeck.deck import Deck
    from qdeck.worker import Worker

__all__ = ["load_apps", "worker"]

_log = logging.getLogger("qdeck.worker")
#: Seconds that cancelled handlers have to end when the worker has.
LET_GO = 2.0
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("apps", metavar="[APP]...", nargs=-1)
@click.option(
    "-q",
    "--queue",
    "queues",
    multiple=True,
    metavar="NAMES",
    help="Queues in strict order (a,b), or by weight (a:3,b:1); those of the tasks unless given.",
)
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="Jobs at a time.")
@click.option(
    "--processes", "--workers", type=click.IntRange(min=1), help="Worker processes; QUEUE_WORKERS."
)
@click.option("--burst", is_flag=True, help="End when nothing is pending, due or running.")
@click.option("--grace", type=click.FloatRange(min=0), help="Seconds for jobs to end at a stop.")
@click.option("--max-jobs", type=click.IntRange(min=1), help="End after that many jobs.")
@click.option("--max-time", type=POSITIVE, metavar="SECONDS", help="End after that long.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def worker(
    apps: Sequence[str],
    queues: Sequence[str],
    concurrency: int | None,
    processes: int | None,
    burst: bool,
    grace: float | None,
    max_jobs: int | None,
    max_time: float | None,
    log_level: str,
) -> int:
    """Run the jobs of APP, which is module:deck or path/to/file.py[:deck].

    Without APP the `app` of qdeck.toml is served. SIGTERM or Ctrl+C stops claiming and waits for
    running jobs up to the grace; a second one gives them back at once. Exits 0 after a clean stop.
    """
    settings = load_settings()
    # Where no app is named none can say otherwise.
    deck = load_apps(apps) if apps or settings.app or settings.enabled else None
    if deck is None or not deck.settings.enabled:
        click.echo("QUEUE_ENABLED is false: this worker serves nothing")
        return 0
    names = [name.strip() for text in queues for name in text.split(",") if name.strip()]
    options: dict[str, Any] = {
        "grace": grace,
        "max_jobs": max_jobs,
        "max_time": max_time,
    }
    made = deck.worker(
        names or None,
        concurrency,
        burst=burst,
        **{name: value for name, value in options.items() if value is not None},
    )
    count = processes or deck.settings.workers
    if count > 1 and deck.settings.connection == "memory":
        raise SettingsError(
            f"{count} worker processes would each have a memory server of their own; use one, or "
            "the embedded or redis connection"
        )
    if count > 1:
        from qdeck.cli.fleet import Fleet

        words = _words(apps, queues, concurrency, burst, log_level, options)
        recycle = max_jobs is not None or max_time is not None
        return Fleet(count, words, recycle=recycle and not burst).run()
    logging.basicConfig(
        stream=sys.stderr,
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    _run(_serve(deck, made))
    return 0


def load_apps(apps: Sequence[str]) -> Deck:
    """Return the deck of the first app, with the tasks of the others on it.

    Without any, those of the setting `app`. Raises SettingsError when there is none, and when
    the apps keep their jobs in different places.
    """
    from qdeck.app import load_app

    names = tuple(apps) or load_settings().app
    if not names:
        raise click.UsageError(
            "no app: give module:deck or path/to/file.py[:deck], or set app in qdeck.toml"
        )
    first, *others = [load_app(name) for name in names]
    for name, other in zip(names[1:], others, strict=True):
        if other is first:
            continue
        mine, its = first.settings, other.settings
        if (mine.address, mine.prefix) != (its.address, its.prefix):
            raise SettingsError(
                f"apps {names[0]!r} and {name!r} keep their jobs in different places "
                f"({mine.prefix} and {its.prefix}); run a worker for each"
            )
        for spec in other.registry:
            first.registry.add(spec)
    return first


def _words(
    apps: Sequence[str],
    queues: Sequence[str],
    concurrency: int | None,
    burst: bool,
    log_level: str,
    options: dict[str, Any],
) -> list[str]:
    """Return the words that make one process of a fleet."""
    words = ["worker", *apps, "--processes", "1", "--log-level", log_level]
    for queue in queues:
        words += ["-q", queue]
    if concurrency is not None:
        words += ["-c", str(concurrency)]
    if burst:
        words.append("--burst")
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


async def _serve(deck: Deck, made: Worker) -> None:
    """Run a worker until it ends or a signal stops it; the second signal forces it."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if made.state != "stopping":
            _log.info("worker %s stops; what runs has %g s to end", made.id, made.grace)
        made.stop_soon()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    served = ",".join(made.queues)
    _log.info("worker %s serves %s with %d slots", made.id, served, made.concurrency)
    try:
        await made.run()
    finally:
        await deck.close()
    await _let_go()


async def _let_go() -> None:
    """End the process if a handler ignores its cancellation: the loop would wait for it."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, ignoring = await asyncio.wait(left, timeout=LET_GO)
        if ignoring:
            end(0)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(coroutine)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)
