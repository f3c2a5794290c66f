"""Which jobs the demo has, and how each must end. The same numbers and seed give the same plan.

Knows the tasks; enqueues nothing.
"""

from __future__ import annotations

import os
import random
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from qdeck.demo import tasks
from qdeck.errors import SettingsError
from qdeck.job import State
from qdeck.task import Call

__all__ = ["Planned", "plan", "source_files", "stream"]

#: One round of kinds; every round of a plan has each of them.
ROUND: Final = (
    ("hash_file",) * 9
    + ("count_words",) * 5
    + ("mirror_file",) * 3
    + ("compress_file",) * 2
    + ("CheckSyntax",) * 2
    + ("list_folder", "flaky", "parse_as_json", "build_report")
)
#: Seconds that a listing spends on each file when somebody watches.
WATCHED: Final = 0.06
#: A report sums up this many jobs before it, at most.
REPORTED: Final = 20

_PRIORITIES: Final = ("low", "normal", "normal", "normal", "high", "critical")
_DELAYED: Final = 0.1
_LARGEST: Final = 300_000
_SKIPPED: Final = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests"})


@dataclass(frozen=True, slots=True)
class Planned:
    """One job of the demo: `expected` is the state it must reach, `failures` its failed runs
    before.

    `inputs` are the numbers of the jobs whose results it reads; they come before it.
    """

    number: int
    task: str
    arguments: Mapping[str, Any]
    expected: State
    failures: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()

    def call(self, ids: Mapping[int, str]) -> Call[Any]:
        """Return the enqueue; `ids` holds the job ids of the inputs, by number."""
        arguments = dict(self.arguments)
        if self.inputs:
            arguments["ids"] = [ids[number] for number in self.inputs]
        if self.task == "CheckSyntax":
            return tasks.CheckSyntax(**arguments).options(**self.options).call()
        handle = getattr(tasks, self.task)
        call: Call[Any] = handle.options(**self.options).call(**arguments)
        return call


def source_files(root: Path | None = None, most: int = 4000) -> tuple[Path, ...]:
    """Return the Python sources under a folder, in order; the standard library unless told.

    Files above 300 kB, tests and installed packages are left out. Raises SettingsError when there
    is none.
    """
    root = Path(root or sysconfig.get_paths()["stdlib"]).expanduser().absolute()
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED)
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith(".py") and os.access(path, os.R_OK):
                size = path.stat().st_size
                if 0 < size <= _LARGEST:
                    found.append(path)
        if len(found) >= most:
            break
    if not found:
        raise SettingsError(f"there is no readable .py file under {root}; give another folder")
    return tuple(found[:most])


def plan(count: int, seed: int, folder: Path, files: Sequence[Path]) -> list[Planned]:
    """Return the first `count` jobs of the demo; what they write goes to `folder`."""
    return [_planned(number, seed, folder, files) for number in range(count)]


def stream(seed: int, folder: Path, files: Sequence[Path]) -> Iterator[Planned]:
    """Return the demo's jobs without an end, its listings slow enough to be watched."""
    number = 0
    while True:
        one = _planned(number, seed, folder, files)
        if one.task == "list_folder":
            one = replace(one, arguments={**one.arguments, "pause": WATCHED})
        yield one
        number += 1


def _planned(number: int, seed: int, folder: Path, files: Sequence[Path]) -> Planned:
    chance = random.Random(f"{seed}:{number}")
    order = list(ROUND[:-1])
    random.Random(f"{seed}:{number // len(ROUND)}").shuffle(order)
    kind = [*order, ROUND[-1]][number % len(ROUND)]
    path = chance.choice(files)
    options: dict[str, Any] = {"priority": chance.choice(_PRIORITIES)}
    if chance.random() < _DELAYED:
        options["delay"] = round(chance.uniform(0.2, 2.0), 1)
    done = State.COMPLETED
    if kind == "build_report":
        inputs = tuple(range(max(number - REPORTED, 0), number))
        return Planned(number, kind, {"folder": str(folder)}, done, 0, options, inputs)
    if kind == "list_folder":
        return Planned(number, kind, {"folder": str(path.parent)}, done, 0, options)
    if kind == "parse_as_json":
        return Planned(number, kind, {"path": str(path)}, State.DEAD, 2, options)
    if kind in ("mirror_file", "flaky"):
        bad = chance.randint(1, 2) if kind == "flaky" else 0
        arguments = {"path": str(path), "folder": str(folder), "bad_copies": bad}
        return Planned(number, "mirror_file", arguments, done, bad, options)
    return Planned(number, kind, {"path": str(path)}, done, 0, options)
