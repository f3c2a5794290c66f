"""The word list of the command line, and the one place that turns errors into lines and codes.

Each word names its module, which is imported when the word is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from qdeck.admin import Denied
from qdeck.errors import QdeckError

__all__ = ["WORDS", "main", "program"]

#: word -> (module below qdeck.cli, its command, one line for the list of words).
WORDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "worker": ("work", "worker", "Run jobs of one or more apps."),
    "enqueue": ("enqueue", "enqueue", "Enqueue one job by the name of its task."),
    "queues": ("look", "queues", "List the queues with their counts."),
    "jobs": ("look", "jobs", "List jobs by queue, state or query."),
    "job": ("look", "job", "Show one job."),
    "logs": ("logs", "logs", "Show or follow the log of one job."),
    "cancel": ("change", "cancel", "Cancel unfinished jobs."),
    "retry": ("change", "retry", "Give dead or cancelled jobs another round of runs."),
    "delete": ("change", "delete", "Delete jobs with their records."),
    "run": ("edit", "run", "Make scheduled or retrying jobs pending now."),
    "discard": ("edit", "discard", "Make waiting jobs dead at once."),
    "delay": ("edit", "delay", "Let scheduled or retrying jobs be due at another time."),
    "priority": ("edit", "priority", "Give waiting jobs another priority."),
    "recover": ("change", "recover", "Make jobs of a lost worker pending again."),
    "dead": ("dead", "dead", "Look at, retry and delete dead jobs."),
    "pause": ("change", "pause", "Stop giving out jobs of a queue or of one task in it."),
    "resume": ("change", "resume", "Take a pause back."),
    "limits": ("record", "limits", "Set how many jobs of a queue run at once and start a second."),
    "clear": ("record", "clear", "Take all jobs of one state out of a queue; a copy is kept."),
    "restore": ("record", "restore", "Bring cleared jobs back in the same order."),
    "edit": ("edit", "edit", "Give one job another payload."),
    "move": ("edit", "move", "Move waiting jobs to another queue."),
    "again": ("edit", "again", "Enqueue a new job like a known one."),
    "ops": ("ops", "ops", "List, show and abort bulk operations."),
    "audit": ("record", "audit", "List what operators did."),
    "undo": ("record", "undo", "Take an act back."),
    "schedule": ("schedule", "schedule", "Look at and change schedules."),
    "workers": ("workers", "workers", "List, quiet or stop workers."),
    "tasks": ("look", "tasks", "List the tasks of each queue."),
    "stats": ("look", "stats", "Show totals over all queues."),
    "explain": ("insight", "explain", "Say why a job or a queue does not run."),
    "history": ("insight", "history", "Show the counters of the past."),
    "events": ("insight", "events", "Show what happened."),
    "redis": ("insight", "redis", "Show the server, its memory and slow commands."),
    "metrics": ("metrics", "metrics", "Print metrics as Prometheus text."),
    "check": ("check", "check", "Compare with thresholds, for monitoring."),
    "doctor": ("doctor", "doctor", "Look for what is wrong, and say what to do."),
    "make": ("make", "make", "Write a job class to begin with."),
    "config": ("local", "config", "Show each setting and where it comes from."),
    "server": ("local", "server", "Start, stop or show the embedded server."),
    "demo": ("demo", "demo", "Run real jobs over a tree of files."),
    "completion": ("local", "completion", "Print the completion script of a shell."),
}

#: What the console takes without a word, each with one line for the help.
CONSOLE: Final[Mapping[str, str]] = {
    "--profile NAME": "Open a server of [profiles.NAME] in the user's config.toml.",
    "--theme NAME": "Draw in the colours of a theme.",
    "--read-only": "Look, but change nothing.",
    "--ascii": "Draw with ASCII only.",
    "--plain": "Draw no boxes; the cursor shows the row.",
}

#: The other spelling of a word: the words that it stands for.
ALIASES: Final[Mapping[str, str]] = {
    "queue:work": "worker",
    "queue:list": "queues",
    "queue:retry": "retry",
    "queue:dlq": "dead list",
    "queue:clear": "clear",
    "make:job": "make job",
}

_STREAMS: Final = (
    ("stdin", os.O_RDONLY, "r"),
    ("stdout", os.O_WRONLY, "w"),
    ("stderr", os.O_WRONLY, "w"),
)
#: The exit code after Ctrl+C.
INTERRUPTED: Final = 130


class _Program(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(WORDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        word, _, inner = ALIASES.get(cmd_name, cmd_name).partition(" ")
        if word not in WORDS:
            return None
        module, name, _ = WORDS[word]
        found: click.Command = getattr(importlib.import_module(f"qdeck.cli.{module}"), name)
        if inner and isinstance(found, click.Group):
            return found.commands[inner]
        return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        with formatter.section("Options of the console, in place of a word"):
            formatter.write_dl(list(CONSOLE.items()))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Words"):
            formatter.write_dl([(word, line) for word, (_, _, line) in WORDS.items()])


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a word, `qdeck` opens the console. `qdeck WORD --help` tells more.",
)
@click.version_option(package_name="qdeck", prog_name="qdeck")
def program() -> None:
    """Operate qdeck queues from the command line."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for an error, 2 for wrong usage.

    An error is one line on stderr that says what to do next.
    """
    _open_closed()
    try:
        code: Any = program.main(
            args=None if words is None else list(words),
            prog_name="qdeck",
            complete_var="_QDECK_COMPLETE",
            standalone_mode=False,
        )
    except click.UsageError as error:
        if error.ctx is not None and error.format_message() == error.ctx.get_help():
            # Of a group without a word of it, click says nothing but its help.
            click.echo(error.format_message(), err=True)
            return 2
        path = error.ctx.command_path if error.ctx else "qdeck"
        return _fail(f"{error.format_message()} (see {path} --help)", 2)
    except click.Abort as error:
        # click turns Ctrl+C into this as well.
        if isinstance(error.__cause__, KeyboardInterrupt):
            return INTERRUPTED
        return _fail("nothing was done", 1)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except BrokenPipeError:
        # Whoever read has gone; closing stdout again at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (QdeckError, Denied) as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(str(error) or type(error).__name__, 1)
    return code if isinstance(code, int) else 0


def _open_closed() -> None:
    """Let streams that the program was started without read and write nothing."""
    for name, flags, mode in _STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    click.echo(f"qdeck: {line}", err=True)
    return code
