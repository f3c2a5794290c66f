"""Each Lua file says in its header what its body does, and builds only names that are known."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from tests.core.yard import commands

from qdeck import ledger
from qdeck import queue as verbs
from qdeck.keys import SUFFIXES, queue_keys, shared_keys
from qdeck.ledger import Act
from qdeck.scripts import Command, script

NAMES = sorted(
    path.name.removesuffix(".lua")
    for path in files("qdeck").joinpath("lua").iterdir()
    if path.name.endswith(".lua")
)
#: Scripts that belong to no queue.
ELSEWHERE = ("register", "command")
KEYS = queue_keys("p", "q")
SHARED = shared_keys("p")


def sent() -> dict[str, Command]:
    """Return one call of every script, by the name of its file."""
    found = {command.script.name: command for command in commands(KEYS).values()}
    found["register"] = verbs.register(SHARED, "ann", True, ["host", "here"])
    found["command"] = ledger.command(SHARED, "ann", "quiet", "quiet", "asked", Act("eve"))
    return found


def header(name: str) -> dict[str, str]:
    """Return the parts of a header by their word."""
    lines = []
    for line in script(name).text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    parts = re.split(r"(?:^|\s)(Promise|KEYS|ARGV|Returns): ", " ".join(lines))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def body(name: str) -> str:
    """Return a script without its comments."""
    return re.sub(r"--[^\n]*", "", script(name).text)


def test_every_script_is_sent_by_some_verb() -> None:
    assert sorted(sent()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_header_states_promise_keys_arguments_and_answer(name: str) -> None:
    assert list(header(name)) == ["Promise", "KEYS", "ARGV", "Returns"]
    assert all(len(part) > 0 for part in header(name).values())


@pytest.mark.parametrize("name", NAMES)
def test_a_header_names_the_keys_that_are_sent_in_their_order(name: str) -> None:
    tag = SHARED.tag if name in ELSEWHERE else KEYS.tag
    named = header(name)["KEYS"].split()
    keys = sent()[name].keys
    assert len(named) == len(keys)
    for word, key in zip(named, keys, strict=True):
        assert word == "source" or key == tag + word


@pytest.mark.parametrize("name", NAMES)
def test_a_body_uses_the_keys_of_its_header_and_no_others(name: str) -> None:
    count = len(header(name)["KEYS"].split())
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", body(name))}
    assert used <= set(range(1, count + 1))
    if "unpack(KEYS)" not in body(name) and "KEYS[i]" not in body(name):
        assert used == set(range(1, count + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_body_uses_as_many_arguments_as_are_sent(name: str) -> None:
    used = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", body(name))}
    assert max(used, default=0) <= len(sent()[name].args)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_built_from_suffixes_that_are_spelled_in_one_place(name: str) -> None:
    known = set(SUFFIXES.values())
    if name in ELSEWHERE:
        known = {
            SHARED.worker("").removeprefix(SHARED.tag),
            SHARED.control("").removeprefix(SHARED.tag),
        }
    built = re.findall(r"(?:\btag|ARGV\[1\]) \.\. '([^']*)'", body(name))
    assert set(built) <= known
    of_operation = (
        KEYS.operation_ids,
        KEYS.operation_copy,
        KEYS.operation_out,
        KEYS.operation_kept,
    )
    parts = {part("op").removeprefix(KEYS.operation("op")) for part in of_operation}
    assert set(re.findall(r"\b(?:op_)?key \.\. '([^']*)'", body(name))) <= parts


@pytest.mark.parametrize("name", NAMES)
def test_a_script_reads_the_clock_of_the_server_in_one_way(name: str) -> None:
    text = body(name)
    assert "os.time" not in text
    assert "KEYS *" not in text
    assert text.count("'TIME'") <= 1
    assert "'TIME'" not in text or "call('TIME')" in text
