"""WakaQ as one side of a measurement; run by `versus_saq.py` in an environment that has it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from wakaq import WakaQ  # type: ignore[import-not-found]
from wakaq.worker import Worker  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import rows

app = WakaQ(
    queues=["bench"],
    host="127.0.0.1",
    port=urlsplit(rows.URL).port,
    concurrency=1,
    async_concurrency=50,
    worker_log_level=logging.ERROR,
    worker_log_file=os.devnull,
    soft_timeout=60,
    hard_timeout=120,
)


async def noop(i: int, pad: str) -> None:
    rows.record(i)


async def void(i: int, pad: str) -> None:
    return None


TASKS = {function.__name__: app.task(function, queue="bench") for function in (noop, void)}


class WakaQSide(rows.Side):
    def sync(self, index: int, job: str) -> None:
        TASKS[job].delay(index, pad=rows.PAD)

    def work(self, concurrency: int) -> None:
        Worker(wakaq=app).start()


if __name__ == "__main__":
    rows.main(WakaQSide())
