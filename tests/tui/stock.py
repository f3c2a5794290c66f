"""What the in-memory twin is filled with for tests and for a look at the console."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

from tests.tui.twin import START, Twin

from qdeck.admin import JobRef, JobRow, LogLine, StateName, WorkerRow

__all__ = ["filled"]


def filled(dead: int = 250, pending: int = 40) -> Twin:
    """Return a twin with queues, jobs in all states, three failure groups, logs and workers."""
    twin = Twin()
    number = itertools.count(1)

    def job(task: str, queue: str, state: StateName, **more: object) -> JobRow:
        at = next(number)
        made = JobRow(
            JobRef(f"01J8F3{at:06d}", queue), task, state, attempt=1, max_attempts=4,
            created_at=START - timedelta(seconds=at), args=f'{{"invoice": {88000 + at}}}',
        )  # fmt: skip
        return twin.add(replace(made, **more))  # type: ignore[arg-type]

    for _ in range(pending):
        job("send_invoice", "emails", "pending")
    for at in range(dead):
        task, error = (
            ("send_invoice", "KeyError: 'currency'"),
            ("post_hook", "ConnectTimeout: no answer"),
            ("send_invoice", "KeyError: 'currency'"),
        )[at % 3]
        job(task, "emails" if at % 2 else "webhooks", "dead", error=error,
            finished_at=START - timedelta(seconds=dead - at))  # fmt: skip
    for at in range(3):
        job("build_report", "reports", "running", started_at=START - timedelta(minutes=at + 1),
            progress=20.0 * at, message="hashing", worker="host-a:11",
            usual_p95_s=300.0 - 140 * at)  # fmt: skip
    for at in range(5):
        job("nightly", "reports", "scheduled", due_at=START + timedelta(minutes=10 * at + 1))
        job("post_hook", "webhooks", "retrying", due_at=START + timedelta(seconds=30 * at + 5),
            error="ConnectTimeout: no answer")  # fmt: skip
    for _ in range(12):
        job("thumb", "images", "completed", finished_at=START - timedelta(minutes=3))
    for row in twin.of("running") + twin.of("dead")[-2:]:
        twin.logs[row.ref.id] = [
            LogLine(str(n), START + timedelta(seconds=n),
                    ("info", "info", "warning", "error")[n % 4], 1 + n // 40,
                    f"step {n} of {row.task} currency={n}")
            for n in range(80)
        ]  # fmt: skip
    twin.crew = {
        "a": WorkerRow("a", "host-a", 11, "running", ("emails", "reports"), 10, 3,
                       START - timedelta(hours=2), 2.0, 80 << 20, 1200, cpu_share=0.71),
        "b": WorkerRow("b", "host-b", 22, "lost", ("webhooks",), 10, 1, None, 400.0,
                       holds=(twin.of("running")[0].ref,)),
    }  # fmt: skip
    return twin
