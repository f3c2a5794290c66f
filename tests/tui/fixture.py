"""A shop in trouble at night: what the operator's scenarios are played on; for people also
`python -m tests.tui.fixture URL`.

Twelve queues, a backlog of mails, dead jobs in five groups, five workers of which one is lost, and
very many completed jobs. All of it is made by the engine: what lies in the past by its scripts
under an earlier clock, with the real errors of the tasks; what happens now by real workers. Only
the many completed jobs are copies of one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
import redis
from tests.servers import wait_until
from tests.tui.past import Past
from tests.tui.pty import ROOT, a_child_environment
from tests.tui.shop.tasks import with_tasks
from tests.tui.staff import APP, BRISK, Staff

from qdeck import Deck
from qdeck.admin import JobRef, ScheduleSpec, WorkerRow
from qdeck.job import Job, State
from qdeck.operator import Operator
from qdeck.task import Call
from qdeck.terms import Options, make_options

__all__ = ["GROUPS", "QUEUES", "Shop"]

T = TypeVar("T")

QUEUES: Final = (
    "emails", "reports", "webhooks", "thumbnails", "billing", "search", "exports", "import",
    "mail_in", "audit", "push", "low",
)  # fmt: skip
#: Sizes of the groups of dead jobs.
GROUPS: Final = (1204, 1100, 700, 5, 3)
#: What of the mails is pending, and what of it runs.
INVOICES, WELCOMES, DIGESTS = 46_020, 2_180, 10
RUNNING: Final = (38, 2)
COMPLETED: Final = 1_000_000
#: Invoices that died are numbered from here.
FIRST: Final = 88_118
MINUTE: Final = 60_000
#: Keeps what a real shop would not: all that is completed.
KEEP: Final[dict[str, Any]] = {"keep_completed_max": 2_000_000, "keep_completed": 864_000}


class Shop:
    """Everything under one prefix of one server; `close` ends the workers and keeps the data.

    `scale` is the share of the 1,000,000 completed jobs that is made.
    """

    def __init__(self, url: str, folder: Path, *, prefix: str = "shop", scale: float = 1.0) -> None:
        self.url, self.prefix, self.folder = url, prefix, folder
        self.scale = scale
        self.deck = with_tasks(Deck(url, prefix=prefix, **KEEP))
        self.client = redis.Redis.from_url(url)
        self.environ = a_child_environment(
            REDIS_URL=url,
            QUEUE_PREFIX=prefix,
            XDG_CONFIG_HOME=str(folder / "config"),
            XDG_DATA_HOME=str(folder / "data"),
        )
        self.staff = Staff(self.environ, folder)
        self._invoice = FIRST
        self._overdue: Job[Any] | None = None
        self._now = time.time_ns() // 1_000_000

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Making it

    def build(self) -> None:
        """Make everything, and return when it stands as it should."""
        lines = [f'app = ["{APP}"]', 'name = ["exports"]']
        lines += [f"{name} = {value}" for name, value in KEEP.items()]
        (self.folder / "qdeck.toml").write_text("\n".join(lines) + "\n")
        for queue in QUEUES:
            self.deck.call_sync("SADD", self.deck.shared.queues, queue)
        self.put([self.call("export_csv", file=f"{n}.csv", seconds=7200) for n in range(3)])
        self.staff.hire("lost")
        self._past_of_webhooks()
        self._lose()
        self._past_of_reports()
        self._past_of_thumbnails()
        self._past_of_emails()
        self._completed()
        self._schedules()
        self._present()

    def _past(self, queue: str) -> Past:
        return Past(self.client, self.deck, queue)

    def call(self, task: str, priority: int | None = None, **arguments: Any) -> Call[Any]:
        """Return an enqueue of one of the shop's tasks, as a program without its code sends it."""
        spec = self.deck.registry.get(task)
        return Call(spec, msgspec.json.encode(arguments), Options(priority=priority))

    def _past_of_webhooks(self) -> None:
        """1,100 hooks that are gone since three days, 700 that time out, 61 of them lately."""
        with self._past("webhooks") as past:
            gone = [self.call("post_hook", hook=n, event="closed") for n in range(GROUPS[1])]
            past.at(self._now - 3 * 1440 * MINUTE)
            past.run(gone)
            late = [self.call("post_hook", hook=n, event="late") for n in range(GROUPS[2])]
            for minute, part in ((2880, late[61:]), (50, late[:40]), (20, late[40:61])):
                past.at(self._now - minute * MINUTE)
                past.run(part)
            past.at(self._now - MINUTE)
            past.run([self.call("post_hook", hook=n, event="paid") for n in range(900)])

    def _past_of_reports(self) -> None:
        """Three reports that took too much memory, and what a report usually takes."""
        with self._past("reports") as past:
            past.at(self._now - 1440 * MINUTE)
            past.run([self.call("render_pdf", report=n, pages=10**6) for n in range(GROUPS[4])])
            for minute in range(50, 0, -5):
                past.at(self._now - minute * MINUTE)
                past.complete([self.call("build_report", name="small", rows=9)] * 8, 12.0)
                past.complete([self.call("import_csv", file="a.csv", seconds=1)], 600_000.0)

    def _past_of_thumbnails(self) -> None:
        """Five broken images, and ten jobs that wait since the queue was paused two hours ago."""
        with self._past("thumbnails") as past:
            past.at(self._now - 540 * MINUTE)
            broken = [self.call("make_thumb", image=f"{n}.broken", width=64) for n in range(5)]
            past.run(broken)
            past.at(self._now - 120 * MINUTE)
            past.pause("ana@ops-1")
            past.enqueue([self.call("make_thumb", image=f"{n}.png", width=64) for n in range(10)])

    def _past_of_emails(self) -> None:
        """An hour that began well: for 41 minutes now more comes in than goes out, and nearly every
        run of an invoice fails.
        """
        dead, minutes = GROUPS[0], 41
        backlog = self.backlog()
        with self._past("emails") as past:
            for minute in range(60, minutes, -1):
                past.at(self._now - minute * MINUTE)
                past.complete([self._invoice_of(n, "EUR") for n in range(40)], 400_000.0)
                past.complete([self.call("send_welcome", user=n) for n in range(8)], 400_000.0)
            for step in range(minutes):
                past.at(self._now - (minutes - step) * MINUTE)
                part = range(dead * step // minutes, dead * (step + 1) // minutes)
                past.run([self._dying() for _ in part])
                past.complete([self._invoice_of(step, "EUR")] if step % 2 else [], 400_000.0)
                share = len(backlog) * step // minutes, len(backlog) * (step + 1) // minutes
                past.enqueue(backlog[slice(*share)])

    def backlog(self) -> list[Call[Any]]:
        """Return what waits in `emails`, welcomes and digests among the invoices."""
        calls = [self._invoice_of(n, "EUR") for n in range(INVOICES + RUNNING[0])]
        for n in range(WELCOMES + RUNNING[1]):
            calls.insert(n * 21 + 3, self.call("send_welcome", user=5_000 + n))
        for n in range(DIGESTS):
            calls.insert(n * 4_000 + 50, self.call("send_digest", day=f"2026-11-{n + 1:02}"))
        return calls

    def _invoice_of(self, number: int, currency: str) -> Call[Any]:
        return self.call(
            "send_invoice", invoice=200_000 + number, to=f"c{number}@example.org",
            amount=990 + number % 500, currency=currency,
        )  # fmt: skip

    def _dying(self) -> Call[Any]:
        """Return an invoice that fails; it is urgent, and so is its retry."""
        number, self._invoice = self._invoice, self._invoice + 1
        to = f"d{number - FIRST}@example.org"
        return self.call("send_invoice", 6, invoice=number, to=to, amount=990)

    def _completed(self) -> None:
        """Very many completed jobs, over the last 20 hours."""
        with self._past("search") as past:
            past.at(self._now)
            past.complete([self.call("index_page", page=1)], 4.0)
            past.copy(round(COMPLETED * self.scale), 20 * 60 * MINUTE)

    def _schedules(self) -> None:
        """31 schedules, none of which is due soon."""
        plans = [
            ("nightly_report", "0 2 * * 1-5", "Europe/Berlin"),
            ("cleanup_tmp", "15 4 5 1 *", "UTC"),
            ("backup_db", "30 3 1 * *", "UTC"),
            ("nightly_billing", "30 2 2 * *", "UTC"),
            ("weekly_digest", "0 8 * * 1", "America/New_York"),
            *((f"monthly_{day:02}", f"0 5 {day} 2 *", "UTC") for day in range(1, 27)),
        ]

        async def add(admin: Operator) -> None:
            for name, expression, zone in plans:
                given = {"scope": name}
                await admin.add_schedule(
                    ScheduleSpec(name, expression, "report.nightly", zone, "reports", given)
                )

        self.operate(add)

    def _present(self) -> None:
        """Start the workers with what keeps them busy."""
        self.put([self.call("charge_card", order=n, cents=100) for n in range(40)], delay=86_400)
        self.put([self.call("import_csv", 8, file=f"{n}.csv", seconds=7200) for n in range(3)])
        self.overdue_job()
        self.put([self.call("build_report", name="small", rows=9)] * 312)
        for name in ("mails", "rest", "thumbnails", "reports"):
            self.staff.hire(name)
        self.quiet("thumbnails")
        wait_until(lambda: self.count("reports", "lease") == 4)
        wait_until(lambda: self.count("emails", "lease") == 40)
        wait_until(lambda: "lost" in [row.state for row in self.crew()])

    def _lose(self) -> None:
        """Lose the worker of the exports once it is known what it holds."""
        pid = self.staff.pid("lost")
        wait_until(lambda: [len(row.holds) for row in self.crew() if row.pid == pid] == [3])
        self.staff.lose("lost")

    def put(self, calls: Sequence[Call[Any]], **options: Any) -> list[Job[Any]]:
        terms = [
            msgspec.structs.replace(call, options=make_options(call.options, **options))
            for call in calls
        ]
        return self.deck.enqueue_many_sync(terms)

    # Looking at it, and letting things happen

    def count(self, queue: str, name: str) -> int:
        """Return how many jobs a set of a queue holds."""
        return int(self.deck.call_sync("ZCARD", getattr(self.deck.keys(queue), name)))

    def ids(self, queue: str, name: str) -> list[str]:
        """Return the ids in a set of a queue, in its order."""
        found = self.deck.call_sync("ZRANGE", getattr(self.deck.keys(queue), name), 0, -1)
        return [raw.decode() for raw in found]

    def found(self, job_id: str, queue: str) -> Job[Any]:
        """Return a job as it is now."""
        job = self.deck.job_sync(job_id, queue=queue)
        assert job is not None
        return job

    def operate(self, verb: Callable[[Operator], Awaitable[T]]) -> T:
        """Do something as another operator does."""

        async def act() -> T:
            async with Deck(self.url, prefix=self.prefix) as deck:
                door = deck.admin(actor="bob@ops-2")
                try:
                    return await verb(door)
                finally:
                    await door.close()

        return asyncio.run(act())

    def dead(self) -> list[str]:
        """Return the ids of the invoices that are dead, the oldest first."""
        return self.ids("emails", "dead")

    def arrive(self, count: int) -> list[str]:
        """Let so many more invoices die, and return their ids.

        A brisk worker of mails runs them; a still one has no slot free, and they are run here.
        """
        calls, before = [self._dying() for _ in range(count)], set(self.dead())
        if self.staff.brisk:
            jobs = self.put(calls)
            wait_until(lambda: self.found(jobs[-1].id, "emails").state is State.DEAD)
        else:
            with self._past("emails") as past:
                past.at(time.time_ns() // 1_000_000)
                past.run(calls)
                # What an operator made run again is as urgent, and came first.
                for _ in range(50):
                    past.work_off(len(before) + count - len(self.dead()))
        wait_until(lambda: len(self.dead()) == len(before) + count)
        return [job_id for job_id in self.dead() if job_id not in before]

    def top_up(self) -> list[str]:
        """Bring the largest group back to its size, and return its ids."""
        have = self.dead()
        over = have[GROUPS[0] :]
        if over:
            refs = [JobRef(job_id, "emails") for job_id in over]
            self.operate(lambda admin: _delete(admin, refs))
        if len(have) < GROUPS[0]:
            self.arrive(GROUPS[0] - len(have))
        return self.dead()

    def overdue_job(self) -> Job[Any]:
        """Return the report that runs far beyond its usual time; a new one where it has ended."""
        known = self._overdue and self.deck.job_sync(self._overdue.id, queue="reports")
        if self._overdue is None or not known or known.state.finished:
            call = self.call("build_report", 9, name="yearly", rows=20_000, pause=0.25)
            (self._overdue,) = self.put([call])
            if "reports" in self.staff.processes:
                started = self._overdue.id
                wait_until(lambda: self.found(started, "reports").state is State.RUNNING)
        return self._overdue

    def crew(self) -> tuple[WorkerRow, ...]:
        """Return the workers as an operator sees them."""
        return self.operate(lambda admin: admin.workers())

    def quiet(self, name: str) -> None:
        """Make a worker quiet, once it is listed."""
        pid = self.staff.pid(name)
        wait_until(lambda: pid in [row.pid for row in self.crew()])
        worker = next(row.id for row in self.crew() if row.pid == pid)
        self.operate(lambda admin: admin.quiet(worker))

    def close(self) -> None:
        """End the workers."""
        self.staff.close()
        self.deck.close_sync()
        self.client.close()


async def _delete(admin: Operator, refs: Sequence[JobRef]) -> None:
    operation = await admin.start(await admin.delete(refs))
    while operation.state == "running":
        operation = await admin.advance(operation.id, operation.queue)


def main() -> None:
    """Make the shop on a server and keep it busy until Ctrl+C; one more invoice dies every 2 s."""
    parser = argparse.ArgumentParser(prog="python -m tests.tui.fixture", description=__doc__)
    parser.add_argument("url", help="a server, such as redis://127.0.0.1:6379/0")
    parser.add_argument("--prefix", default="shop", help="of all its keys")
    parser.add_argument("--scale", type=float, default=1.0, help="of 1,000,000 completed")
    parser.add_argument("--brisk", action="store_true", help="let the backlog drain")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qdeck-shop-")))
        shop = Shop(chosen.url, folder, prefix=chosen.prefix, scale=chosen.scale)
        stack.enter_context(shop)
        began = time.monotonic()
        shop.build()
        if chosen.brisk:
            shop.staff.hire("mails", BRISK)
        took = time.monotonic() - began
        sys.stdout.write(
            f"made in {took:.0f} s; now in another terminal:\n"
            f"  cd {folder} && REDIS_URL={chosen.url} QUEUE_PREFIX={chosen.prefix} "
            f"PYTHONPATH={ROOT} qdeck\nCtrl+C ends the workers\n"
        )
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(2)
                shop.arrive(1)


if __name__ == "__main__":
    main()
