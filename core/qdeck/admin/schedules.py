"""The operator's door to schedules: their values, and what may be asked and done.

A schedule lives on the server; its slots are computed in its own zone, and each fires once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Literal, Protocol

from qdeck.admin.cronview import Ahead, Preview
from qdeck.admin.frozen import dataclass
from qdeck.admin.jobs import JobRef
from qdeck.admin.values import Denied, Outcome, Permission

__all__ = [
    "SCHEDULE_ACTIONS",
    "Backfill",
    "Conflict",
    "Imported",
    "Misfire",
    "Overlap",
    "ScheduleAction",
    "ScheduleRow",
    "ScheduleRuns",
    "ScheduleSpec",
    "SchedulesDoor",
    "SlotRow",
    "SlotRun",
    "SlotWord",
]

Misfire = Literal["skip", "latest", "all"]
Overlap = Literal["allow", "skip"]
#: What became of a slot: the state of its job (`gone`: its record is no longer there, `?`: not
#: known), or why it has none: the last job was unfinished (`overlap`), another job held its unique
#: key (`unique`), or it was missed and dropped (`missed`, with how many in `count`).
SlotWord = Literal[
    "scheduled",
    "pending",
    "running",
    "retrying",
    "completed",
    "dead",
    "cancelled",
    "gone",
    "overlap",
    "unique",
    "missed",
    "?",
]
ScheduleAction = Literal[
    "edit", "enable", "disable", "remove", "trigger", "backfill", "adopt", "move"
]
SCHEDULE_ACTIONS: tuple[ScheduleAction, ...] = (
    "edit",
    "enable",
    "disable",
    "remove",
    "trigger",
    "backfill",
    "adopt",
    "move",
)


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What an operator says about a schedule; `jitter` and `catch_up` are seconds.

    `payload` are the arguments of the task, `options` those of an enqueue: `priority`, `expires`,
    `unique`, `unique_for`, `metadata`, `max_retries`, `timeout`. `misfire` says what becomes of
    slots that were missed while no worker ran: none fires (`skip`), the latest, or all that are not
    older than `catch_up`. `overlap="skip"` drops a slot while the last job is unfinished. A job is
    due up to `jitter` after its slot, each slot always by the same amount. Without a `queue` it is
    that of the task.
    """

    name: str
    expression: str
    task: str
    zone: str = "UTC"
    queue: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    misfire: Misfire = "latest"
    overlap: Overlap = "allow"
    jitter: float = 0.0
    catch_up: float = 3600.0


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot of a schedule's past: its job and what became of it, or why it has none.

    `late_s` is how long after its time the slot was handled.
    """

    slot: datetime
    job: JobRef | None = None
    outcome: SlotWord = "?"
    late_s: float | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule as it stands. Times are aware UTC; what cannot be known is None.

    `next_slot` is None while it is disabled; `disabled_until` is when it comes back by itself.
    `revision` counts changes by operators. `history` holds the last 20 slots, newest first.
    `late_s` is how long the next slot has been due without being handled. `declared` says that code
    declares it; `drifted` is the declared expression where that declaration differs from what is
    stored, else None.
    """

    name: str
    expression: str
    task: str
    zone: str = "UTC"
    queue: str = "default"
    payload: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    misfire: Misfire = "latest"
    overlap: Overlap = "allow"
    jitter: float = 0.0
    catch_up: float = 3600.0
    enabled: bool = True
    disabled_until: datetime | None = None
    revision: int | None = None
    last_slot: datetime | None = None
    next_slot: datetime | None = None
    last_job: JobRef | None = None
    last_outcome: SlotWord | None = None
    history: tuple[SlotRow, ...] = ()
    late_s: float | None = None
    declared: bool = False
    drifted: str | None = None
    edited_by: str = ""
    edited_at: datetime | None = None
    fault: str = ""

    @property
    def spec(self) -> ScheduleSpec:
        """What an operator says about it, to be changed with `dataclasses.replace` and saved."""
        return ScheduleSpec(
            self.name,
            self.expression,
            self.task,
            self.zone,
            self.queue,
            self.payload,
            self.options,
            self.misfire,
            self.overlap,
            self.jitter,
            self.catch_up,
        )


@dataclass(frozen=True, slots=True)
class SlotRun:
    """The job of a slot: how long its last run took, None while that is not known, and of what it
    failed.
    """

    job: JobRef
    run_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleRuns:
    """The runs of a schedule's last slots, newest first, and their times where any has ended."""

    name: str
    runs: tuple[SlotRun, ...] = ()
    p50_s: float | None = None
    p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """What running a past range once more did, or would do: a job for each of its slots.

    `slots` are the first 1,000 of `total`; `existing` counts those whose job was there already.
    """

    name: str
    total: int
    created: int = 0
    existing: int = 0
    slots: tuple[datetime, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do, by names."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    dry_run: bool = False


class Conflict(Denied):
    """Somebody else changed the schedule since it was read; `row` is how it stands now, None when
    it was removed.
    """

    def __init__(self, message: str, row: ScheduleRow | None = None) -> None:
        super().__init__(message)
        self.row = row


class SchedulesDoor(Protocol):
    """What an operator can do with schedules. With `dry_run` a write changes nothing and says what
    it would do. Every method may raise `Denied`, or `OSError` when the server is away.
    """

    async def schedules(self) -> tuple[ScheduleRow, ...]:
        """Return all schedules by name, each with its history."""
        ...

    async def schedule(self, name: str) -> ScheduleRow | None:
        """Return one schedule; None when there is none of this name."""
        ...

    async def preview(
        self, text: str, zone: str = "UTC", name: str = "", count: int = 5
    ) -> Preview:
        """Return what an expression (or plain words) would do; `name` is the schedule being edited,
        which is left out where others are compared.
        """
        ...

    async def schedule_runs(self, name: str) -> ScheduleRuns | None:
        """Return what the jobs of its last slots took; None when there is none of this name."""
        ...

    async def schedules_ahead(self, start: datetime | None = None, hours: int = 24) -> Ahead:
        """Return what the enabled schedules start from now on, by the hours after `start` (aware;
        None: the full hour that runs now); up to 48 hours.
        """
        ...

    def schedule_actions(self, row: ScheduleRow) -> Mapping[ScheduleAction, Permission]:
        """Return what makes sense to do to a schedule, each allowed or denied with its reason."""
        ...

    async def add_schedule(self, spec: ScheduleSpec, *, dry_run: bool = False) -> Outcome:
        """Create a schedule, enabled; refused where the name is taken, or a part is not usable."""
        ...

    async def edit_schedule(
        self, spec: ScheduleSpec, revision: int, *, dry_run: bool = False
    ) -> Outcome:
        """Replace what is said about a schedule, if it still has this revision; raises `Conflict`.

        The queue stays: see `move_schedule`.
        """
        ...

    async def enable_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Let it fire again, from the next slot after now."""
        ...

    async def disable_schedule(
        self, name: str, until: datetime | None = None, *, dry_run: bool = False
    ) -> Outcome:
        """Stop it; with `until` (aware) it comes back by itself, from the first slot after that."""
        ...

    async def remove_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Remove it with its history; its jobs stay."""
        ...

    async def trigger_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Enqueue its job now, once; its slots stay as they are."""
        ...

    async def backfill_schedule(
        self, name: str, start: datetime, end: datetime, *, dry_run: bool = False
    ) -> Backfill:
        """Enqueue a job for each slot from `start` up to but not including `end`, both in the past.

        A slot whose job exists already gets no second one.
        """
        ...

    async def adopt_schedule(self, name: str, *, dry_run: bool = False) -> Outcome:
        """Replace what is stored by what the code declares."""
        ...

    async def move_schedule(self, name: str, queue: str, *, dry_run: bool = False) -> Outcome:
        """Move it to another queue; no slot fires twice."""
        ...

    async def export_schedules(self) -> str:
        """Return all schedules as TOML."""
        ...

    async def import_schedules(self, text: str, *, dry_run: bool = False) -> Imported:
        """Add and change schedules so that they are as the TOML says; others stay."""
        ...
