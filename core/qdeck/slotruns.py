"""What the jobs of a schedule's last slots took, and of what they died; reads, without `EVAL`."""

from __future__ import annotations

from typing import Final

from qdeck.admin import JobRow, ScheduleRow, ScheduleRuns, SlotRun, StateName
from qdeck.glimpse import Hit, read_rows
from qdeck.reader import Reader, items

__all__ = ["read_runs"]

#: Where a job is found that ended or runs, and what its score says there.
_SETS: Final[tuple[tuple[StateName, str], ...]] = (
    ("completed", "completed"),
    ("dead", "dead"),
    ("cancelled", "cancelled"),
    ("running", "lease"),
)


async def read_runs(reader: Reader, row: ScheduleRow) -> ScheduleRuns:
    """Return the runs of the slots that a schedule still knows, newest first."""
    keys = reader.deck.keys(row.queue)
    refs = [slot.job for slot in row.history if slot.job is not None]
    if not refs:
        return ScheduleRuns(row.name)
    ids = [ref.id for ref in refs]
    replies = await reader.read([("ZMSCORE", getattr(keys, name), *ids) for _, name in _SETS])
    reader.refuse(replies)
    hits = []
    for at, ref in enumerate(refs):
        for (state, _), scores in zip(_SETS, map(items, replies), strict=True):
            if scores[at] is not None:
                hits.append(Hit(ref.queue, ref.id, float(scores[at]), state))
                break
    found = {each.ref.id: each for each in await read_rows(reader, hits, {})}
    runs = tuple(
        SlotRun(ref, _took(found.get(ref.id)), found[ref.id].error if ref.id in found else "")
        for ref in refs
    )
    took = sorted(run.run_s for run in runs if run.run_s is not None)
    return ScheduleRuns(row.name, runs, _share(took, 0.5), _share(took, 0.95))


def _took(job: JobRow | None) -> float | None:
    """Return the seconds of a job's last run, None where it has not ended or is gone."""
    if job is None or job.started_at is None or job.finished_at is None:
        return None
    return max(0.0, (job.finished_at - job.started_at).total_seconds())


def _share(took: list[float], share: float) -> float | None:
    """Return the smallest of sorted times that this share does not exceed; None for none."""
    return took[min(len(took) - 1, int(share * len(took)))] if took else None
