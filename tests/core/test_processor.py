"""The share of a processor that a worker's process takes, as it publishes it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field

from tests.core.desk import Desk
from tests.core.test_crew import row_of, serving, until
from tests.servers import Server

from qdeck import queue as verbs
from qdeck.processor import Processor, Spent, spent

BURN = "import os\nwhile sum(os.times()[:2]) < 0.3: pass\nprint(flush=True)\ninput()"


@dataclass
class Machine:
    """A clock, and what a process and its children took of it."""

    at: float = 100.0
    own: float = 7.0
    children: dict[int, float] = field(default_factory=dict)

    def processor(self) -> Processor:
        return Processor(self.spent, lambda: self.at)

    def spent(self) -> Spent:
        return Spent(self.own, dict(self.children))

    def go(self, seconds: float, own: float = 0.0, **children: float) -> None:
        self.at += seconds
        self.own += own
        self.children = {int(pid[1:]): taken for pid, taken in children.items()}


def test_a_share_is_unknown_before_a_second_was_looked_at() -> None:
    machine = Machine()
    processor = machine.processor()
    machine.go(0.5, own=0.5)
    assert processor.share() is None
    machine.go(0.5, own=0.25)
    assert processor.share() == 0.75


def test_a_share_is_that_of_the_last_few_readings() -> None:
    machine = Machine()
    processor = machine.processor()
    machine.go(10, own=10)
    assert processor.share() == 1.0
    for _ in range(4):
        machine.go(10)
        share = processor.share()
    assert share == 0.0


def test_a_child_counts_while_it_lives_and_takes_nothing_back_when_it_ends() -> None:
    machine = Machine(children={1: 500.0})
    processor = machine.processor()
    machine.go(10, own=1, p1=504.0, p2=3.0)
    assert processor.share() == 0.8
    machine.go(10, p2=3.0)
    assert processor.share() == 0.4
    machine.go(20, own=8)
    assert processor.share() == 0.4


def test_what_a_child_of_this_process_takes_is_read_and_one_of_another_session_is_not() -> None:
    words = [sys.executable, "-c", BURN]
    for alone in (False, True):
        child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=alone
        )
        try:
            assert child.stdout is not None
            child.stdout.readline()
            taken = spent().children.get(child.pid)
            assert taken is None if alone else taken is not None and taken >= 0.25
        finally:
            child.communicate(b"\n")
    assert spent().own <= sum(os.times()[:2]) + 1


async def test_a_worker_says_with_its_beats_what_share_it_takes(
    valkey: Server, prefix: str
) -> None:
    async with Desk(valkey.url, prefix, lease=3.0) as desk:
        await desk.deck.execute(verbs.register(desk.deck.shared, "old", True, ["host", "h"]))
        async with serving(desk, 1) as worker:

            async def known() -> bool:
                return (await row_of(desk, worker.id)).cpu_share is not None

            await until(known)
            share = (await row_of(desk, worker.id)).cpu_share
            assert share is not None
            assert 0 <= share <= (os.cpu_count() or 1) + 0.5
        assert (await row_of(desk, "old")).cpu_share is None
