"""The tasks of the demo and their deck. Each does what its name says to real files.

Everything they write goes into a folder that the session makes and removes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import lzma
import re
import secrets
import shutil
from pathlib import Path
from typing import Any, Final

from qdeck.backoff import fixed
from qdeck.classtask import Task
from qdeck.context import Context
from qdeck.deck import Deck
from qdeck.errors import Snooze
from qdeck.job import Job
from qdeck.settings import load_settings

__all__ = ["QUEUES", "CheckSyntax", "deck"]

#: The demo's queues, most urgent first.
QUEUES: Final = ("reports", "files", "cpu")

_PREFIX = re.compile(r"demo-[0-9a-f]{4}")
_CHUNK = 256 * 1024
_WORD = re.compile(r"\w+")
_SHOWN_WORDS = 5


def _prefix() -> str:
    """Return the prefix that a parent process chose (QUEUE_PREFIX), else a new one."""
    given = load_settings("embedded://").prefix
    return given if _PREFIX.fullmatch(given) else f"demo-{secrets.token_hex(2)}"


# What the demo relies on is said here, so that no setting of the user's changes how it ends.
deck = Deck(
    "embedded://",
    prefix=_prefix(),
    default="files",
    keep_completed=86400,
    keep_completed_max=1_000_000,
    keep_dead=86400,
    keep_dead_max=1_000_000,
    max_size=0,
)


@deck.task(queue="files", max_retries=3, timeout=60)
async def hash_file(path: str) -> dict[str, Any]:
    """Hash a file in pieces, off the loop."""
    digest = hashlib.sha256()
    size = 0
    with await asyncio.to_thread(Path(path).open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _CHUNK):
            digest.update(piece)
            size += len(piece)
    return {"path": path, "sha256": digest.hexdigest(), "size": size}


@deck.task(queue="files", max_retries=3, timeout=60)
def count_words(ctx: Context, path: str) -> dict[str, Any]:
    """Count the words of a text file."""
    counts: dict[str, int] = {}
    for line in Path(path).read_text(errors="replace").splitlines():
        for word in _WORD.findall(line):
            counts[word] = counts.get(word, 0) + 1
    top = sorted(counts, key=lambda word: (-counts[word], word))[:_SHOWN_WORDS]
    ctx.log.info("%s: %d different words, most often %s", path, len(counts), " ".join(top))
    return {"path": path, "words": sum(counts.values()), "different": len(counts)}


@deck.task(queue="cpu", run="process", max_retries=3, timeout=120)
def compress_file(ctx: Context, path: str) -> dict[str, Any]:
    """Compress a file as far as it goes and check that it comes back: all of it CPU."""
    raw = Path(path).read_bytes()
    ctx.progress(10, f"compressing {len(raw)} bytes")
    packed = lzma.compress(raw, preset=6)
    ctx.progress(80, "verifying")
    if lzma.decompress(packed) != raw:
        raise RuntimeError(f"{path} did not survive compression")
    ctx.progress(100, "verified")
    ctx.log.info("%s: %d to %d bytes", path, len(raw), len(packed))
    return {"path": path, "size": len(raw), "packed": len(packed)}


@deck.task(queue="files", max_retries=4, timeout=60, backoff=[0.2, 0.4, 0.8])
def mirror_file(ctx: Context, path: str, folder: str, bad_copies: int = 0) -> dict[str, Any]:
    """Copy a file and compare the copy; the first `bad_copies` runs meet a copy cut short."""
    copy = Path(folder) / f"{ctx.job_id}.copy"
    try:
        shutil.copyfile(path, copy)
        if ctx.attempt <= bad_copies:
            with copy.open("ab") as file:
                file.write(b"noise on the line")
        wanted, found = (hashlib.sha256(p.read_bytes()).digest() for p in (Path(path), copy))
        if wanted != found:
            raise OSError(f"the copy of {path} differs after run {ctx.attempt}")
        ctx.log.info("mirrored %s on run %d", path, ctx.attempt)
    finally:
        copy.unlink(missing_ok=True)
    return {"path": path, "runs": ctx.attempt}


@deck.task(queue="files", max_retries=1, timeout=60, backoff=fixed(0.3))
async def parse_as_json(path: str) -> Any:
    """Read a Python source as JSON, which never works: the kind that ends dead."""
    text = await asyncio.to_thread(Path(path).read_text, errors="replace")
    return json.loads(f"{text}\n}}")


@deck.task(queue="files", max_retries=3, timeout=120)
async def list_folder(
    ctx: Context, folder: str, limit: int = 300, pause: float = 0.001
) -> dict[str, Any]:
    """Log the size of each file of a folder, a line each, with progress and a pause (s) each."""
    paths = sorted(
        p for p in await asyncio.to_thread(lambda: list(Path(folder).iterdir())) if p.is_file()
    )
    paths = paths[:limit]
    total = 0
    for done, path in enumerate(paths, 1):
        size = path.stat().st_size
        total += size
        ctx.log.info("%9d %s", size, path)
        ctx.progress(100 * done / len(paths), f"{done} of {len(paths)} files")
        await asyncio.sleep(pause)
    return {"folder": folder, "files": len(paths), "size": total}


@deck.task(queue="reports", max_retries=3, timeout=120)
async def build_report(ctx: Context, ids: list[str], folder: str) -> dict[str, Any]:
    """Sum up the results of other jobs and write them to a file; comes back later while one is
    unfinished.
    """
    jobs: list[Job[Any]] = []
    for done, job_id in enumerate(ids, 1):
        job = await deck.job(job_id)
        if job is None:
            raise LookupError(f"the job {job_id} of the report is gone")
        if not job.state.finished:
            raise Snooze(0.4)
        ctx.progress(100 * done / len(ids), f"read {done} of {len(ids)} results")
        jobs.append(job)
    good = [job.result for job in jobs if isinstance(job.result, dict)]
    report = {
        "jobs": len(jobs),
        "results": len(good),
        "bytes": sum(result.get("size", 0) for result in good),
        "words": sum(result.get("words", 0) for result in good),
    }
    target = Path(folder) / f"report-{ctx.job_id}.json"
    await asyncio.to_thread(target.write_text, json.dumps(report, indent=2))
    ctx.log.info("wrote %s", target)
    return report


@deck.register
class CheckSyntax(Task, queue="files", max_retries=3, timeout=60):
    """Compile a source file without running it; a class task, as a change."""

    path: str

    def handle(self, ctx: Context) -> dict[str, Any]:
        """Return whether it compiles."""
        try:
            compile(Path(self.path).read_bytes(), self.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            ctx.log.warning("%s does not compile: %s", self.path, error)
            return {"path": self.path, "compiles": False}
        return {"path": self.path, "compiles": True}
