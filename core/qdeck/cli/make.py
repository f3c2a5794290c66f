"""The word that writes code to begin with: a job class in a file of its own.

Owns the template, and the rules for names; imports nothing of the user's.
"""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Final

import click

from qdeck.admin import Outcome
from qdeck.cli.answer import tell
from qdeck.cli.door import local_options
from qdeck.errors import SettingsError

__all__ = ["TEMPLATE", "file_name", "make", "make_job"]

TEMPLATE: Final = '''"""The job {name}."""

from __future__ import annotations

import qdeck


class {name}(qdeck.Task, queue="{queue}", max_retries=3, timeout=60):
    """Says what one job does; the fields are its arguments.

    Register it on your deck: `deck.register({name})`. Enqueue it:
    `await {name}(item_id=1).dispatch()`.
    """

    item_id: int
    note: str = ""

    async def handle(self, ctx: qdeck.Context) -> None:
        """Do the work; it may run more than once, so make it idempotent."""
        ctx.progress(50, "working")
        ctx.log.info("item %d %s", self.item_id, self.note)

    def retry_delay(self, attempt: int) -> float:
        """Return the seconds to wait after failed run number `attempt`."""
        return 2.0**attempt

    async def failed(self, error: Exception) -> None:
        """Do what is to be done once the job is dead."""
'''
#: Modules that a file of the same name would hide.
OURS: Final = ("qdeck", "qdeck_tui")
#: Folders of a project that jobs are looked for in, before one is asked for.
FOLDERS: Final = ("jobs", "app/jobs", "src/jobs", "tasks")


@click.group()
def make() -> None:
    """Write code to begin with."""


@make.command("job")
@click.argument("name")
@click.option("--path", "--dir", "path", metavar="DIR", help="The folder of the app's jobs.")
@click.option("--queue", default="default", show_default=True, help="The queue of the job.")
@local_options
def make_job(
    name: str, path: str | None, queue: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Write a job class, as in `qdeck make job ProcessPayment`."""
    from qdeck.options import check_name

    file = file_name(name)
    check_name("queue", queue)
    place = Path(path) if path is not None else _ask_folder(yes or dry_run)
    target = place.expanduser() / file
    if target.exists() or target.is_symlink():
        raise SettingsError(f"{target} exists already and is left as it is; choose another name")
    if place.exists() and not place.is_dir():
        raise SettingsError(f"{place} is not a folder; give --path another one")
    if dry_run:
        tell(Outcome(f"would write {target}", 1), as_json, dry_run)
        return
    text = TEMPLATE.format(name=name, queue=queue)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": another one that writes it meanwhile is not overwritten either.
        with target.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise SettingsError(f"{target} exists already and is left as it is") from None
    tell(Outcome(f"wrote {target}; register it: deck.register({name})", 1), as_json)


def file_name(name: str) -> str:
    """Return the file of a job class; raises SettingsError for a name that is none.

    `ProcessPayment` becomes `process_payment.py`, `HTTPPing` `http_ping.py`.
    """
    if not name.isidentifier() or not name.isascii():
        raise SettingsError(
            f"job name {name!r} is no class name; write letters, digits and _, as in ProcessPayment"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise SettingsError(f"job name {name!r} is a word of Python; choose another one")
    if not name[0].isupper():
        raise SettingsError(
            f"job name {name!r} must begin with a capital letter, as classes do: "
            f"{name.lstrip('_')[:1].upper()}{name.lstrip('_')[1:]}"
        )
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    module = words.lower()
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module in OURS:
        owner = "qdeck" if module in OURS else "Python"
        raise SettingsError(
            f"job name {name!r} would make a module {module}, which {owner} has already; add a word"
        )
    return f"{module}.py"


def _ask_folder(settled: bool) -> Path:
    """Return the folder of the app's jobs: the one there is, or the one that is given on asking."""
    found = next((Path(name) for name in FOLDERS if Path(name).is_dir()), None)
    if settled or not sys.stdin.isatty():
        if found is None and not settled:
            raise click.UsageError("Give the folder of the app's jobs with --path.")
        return found or Path("jobs")
    return Path(click.prompt("Folder of the app's jobs", default=str(found or "jobs"), err=True))
