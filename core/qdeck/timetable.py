"""Schedules as an operator sees them: rows with what became of their last slots.

Owns the reads: the names, the stored schedules of each queue, and the states of the jobs of slots
that were unfinished when the schedule was last ticked. No read needs `EVAL`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from qdeck.admin import Denied, JobRef, ScheduleRow, SlotRow, SlotWord
from qdeck.errors import QdeckError
from qdeck.plan import Plan, decode_plan
from qdeck.reader import Reader, at_ms, items, text
from qdeck.schedule import Past, Stored, at, decode_stored

__all__ = ["Entry", "Timetable", "required"]

#: A set for each state that a job can be found in.
_STATES: Final[tuple[tuple[SlotWord, str], ...]] = (
    ("pending", "ready"),
    ("running", "lease"),
    ("scheduled", "scheduled"),
    ("retrying", "retrying"),
    ("completed", "completed"),
    ("dead", "dead"),
    ("cancelled", "cancelled"),
)
_WORDS: Final[frozenset[str]] = frozenset(
    {*(word for word, _ in _STATES), "gone", "overlap", "unique", "missed"}
)
_IDS: Final = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored schedule with its name and queue; `plan` is None where it is not readable."""

    name: str
    queue: str
    stored: Stored
    plan: Plan | None
    fault: str = ""

    @classmethod
    def of(cls, name: str, queue: str, raw: bytes) -> Entry:
        """Return what stands under a name."""
        stored = decode_stored(raw)
        if stored is None:
            none = Stored(0, 0, 0, 0, 0, "", "", "", 0, "", [])
            return cls(name, queue, none, None, "it is not readable; save it anew, or remove it")
        try:
            plan = decode_plan(stored.spec)
            plan.check()
        except QdeckError as error:
            return cls(name, queue, stored, None, str(error))
        return cls(name, queue, stored, plan)

    @property
    def drifted(self) -> str | None:
        """The declared expression where the declaration differs from what is stored."""
        declared = self.stored.declared
        if not declared or declared == self.stored.spec:
            return None
        try:
            return decode_plan(declared).expression
        except QdeckError:
            return "?"


class Timetable:
    """Reads schedules over the reader of one door."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._deck = reader.deck

    async def now(self) -> int:
        """Return the server's time in ms."""
        seconds, micros = await self._reader.one("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def entry(self, name: str) -> Entry | None:
        """Return one schedule; None where there is none of this name."""
        queue = await self._reader.one("HGET", self._deck.shared.schedules, name)
        if queue is None:
            return None
        return await self.within(name, text(queue))

    async def within(self, name: str, queue: str) -> Entry | None:
        """Return a schedule as a certain queue has it."""
        raw = await self._reader.one("HGET", self._deck.keys(queue).cron, name)
        return None if raw is None else Entry.of(name, queue, raw)

    async def entries(self) -> list[Entry]:
        """Return all schedules by name."""
        flat = items(await self._reader.one("HGETALL", self._deck.shared.schedules))
        queues = sorted({text(queue) for queue in flat[1::2]})
        replies = await self._reader.read(
            [("HGETALL", self._deck.keys(queue).cron) for queue in queues]
        )
        self._reader.refuse(replies)
        home = dict(zip(flat[::2], flat[1::2], strict=True))
        found = [
            Entry.of(text(reply[i]), queue, reply[i + 1])
            for queue, reply in zip(queues, replies, strict=True)
            for i in range(0, len(reply), 2)
            if home.get(reply[i]) == queue.encode()
        ]
        return sorted(found, key=lambda entry: entry.name)

    async def rows(self, entries: Sequence[Entry]) -> tuple[ScheduleRow, ...]:
        """Return the rows of schedules, with what became of their jobs."""
        if not entries:
            return ()
        now = await self.now()
        wanted: dict[str, dict[str, str]] = {}
        for entry in entries:
            asked, task = wanted.setdefault(entry.queue, {}), entry.plan.task if entry.plan else "?"
            asked.update((past.id, task) for past in entry.stored.history if _open(past))
            if entry.stored.last_job:
                asked[entry.stored.last_job] = task
        states: dict[tuple[str, str], SlotWord] = {}
        for queue, ids in wanted.items():
            states |= await self._states(queue, ids)
        return tuple(_row(entry, states, now) for entry in entries)

    async def _states(
        self, queue: str, tasks: Mapping[str, str]
    ) -> dict[tuple[str, str], SlotWord]:
        """Return the states of jobs, given their tasks by id."""
        keys, ids = self._deck.keys(queue), list(tasks)
        found: dict[tuple[str, str], SlotWord] = {}
        for start in range(0, len(ids), _IDS):
            part = ids[start : start + _IDS]
            sets = [("ZMSCORE", getattr(keys, name), *part) for _, name in _STATES]
            replies = await self._reader.read(
                [*sets, *(("EXISTS", keys.job(job_id)) for job_id in part)]
            )
            self._reader.refuse(replies)
            odd = []
            for place, job_id in enumerate(part):
                pairs = zip(_STATES, replies, strict=False)
                word = next(
                    (word for (word, _), scores in pairs if scores[place] is not None), None
                )
                found[queue, job_id] = word or "gone"
                if word is None and replies[len(_STATES) + place]:
                    odd.append(job_id)
            # What is there and in no set is held back with its paused task, or was cleared.
            held = await self._reader.read(
                [("ZSCORE", keys.held(tasks[job_id]), job_id) for job_id in odd]
            )
            for job_id, score in zip(odd, held, strict=True):
                found[queue, job_id] = "cancelled" if score is None else "pending"
        return found


def _open(past: Past) -> bool:
    return bool(past.id) and not past.word


def _row(entry: Entry, states: dict[tuple[str, str], SlotWord], now: int) -> ScheduleRow:
    stored, queue = entry.stored, entry.queue
    plan = entry.plan or Plan(expression="?", task="?")
    on = stored.enabled == 1
    history = tuple(
        SlotRow(
            at(past.slot),
            JobRef(past.id, queue) if past.id else None,
            states[queue, past.id] if _open(past) else _word(past.word),
            past.late / 1000,
            past.count,
        )
        for past in reversed(stored.history[-20:])
        if 0 < past.slot < 1e14
    )
    last_job = stored.last_job
    return ScheduleRow(
        entry.name,
        plan.expression,
        plan.task,
        plan.zone,
        queue,
        plan.payload,
        plan.options,
        plan.misfire,
        plan.overlap,
        plan.jitter,
        plan.catch_up,
        enabled=on,
        disabled_until=None if on else at_ms(stored.until),
        revision=stored.revision,
        last_slot=at_ms(stored.last),
        next_slot=at_ms(stored.next) if on else None,
        last_job=JobRef(last_job, queue) if last_job else None,
        last_outcome=states[queue, last_job] if last_job else None,
        history=history,
        late_s=max(now - stored.next, 0) / 1000 if on and stored.next else None,
        declared=bool(stored.declared),
        drifted=entry.drifted,
        edited_by=stored.editor,
        edited_at=at_ms(stored.edited),
        fault=entry.fault,
    )


def _word(raw: str) -> SlotWord:
    return raw if raw in _WORDS else "?"  # type: ignore[return-value]  # one of the words


def required(entry: Entry | None, name: str) -> Entry:
    """Return a schedule that is there; raises Denied where there is none."""
    if entry is None:
        raise Denied(
            f"there is no schedule {name!r} here; `qdeck schedule list` shows those there are"
        )
    return entry
