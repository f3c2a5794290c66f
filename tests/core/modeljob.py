"""One job and one bulk operation as a plain Python model keeps them, and the moves allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from qdeck.record import Body

__all__ = ["ALLOWED", "FINISHED", "STEP", "Draft", "Job"]

STEP: Final = 2**42
FINISHED: Final = frozenset({"completed", "cancelled", "dead"})
_WAITING: Final = frozenset({"pending", "scheduled", "retrying"})
ALLOWED: Final = {
    "cancel": _WAITING | {"running"},
    "run_now": frozenset({"scheduled", "retrying"}),
    "retry": frozenset({"dead", "cancelled"}),
    "delete": _WAITING | FINISHED,
}


@dataclass
class Job:
    """One job; `score` is its place in the set of its state, `rank` its place when claimed."""

    id: str
    body: Body
    created: int
    available: int
    state: str
    score: float
    held: bool = False
    attempt: int = 0
    base: int | None = None
    fence: int = 0
    settled: int = -1
    crashes: int = 0
    owner: str = ""
    lease: int = 0
    rank: float = 0
    cancel: bool = False
    unknown: tuple[int, int] | None = None
    group: str | None = None
    ran: bool = False
    done: set[str] = field(default_factory=set)

    def retries(self, default: int) -> int:
        """Return how many runs may follow the first one."""
        return self.body.max_retries if self.body.max_retries >= 0 else default

    @property
    def key(self) -> str:
        """The counter of this job among the tasks."""
        return f"{self.state}:{self.body.task}"

    @property
    def expires(self) -> int:
        """When it is too late to start, in ms; 0 for never."""
        body = self.body
        return self.created + body.expires_in if body.expires_in else body.expires_at


@dataclass
class Draft:
    """A bulk operation."""

    verb: str
    actor: str
    ids: list[str]
    total: int
    state: str = "draft"
    starter: str = ""
    done: int = 0
    ok: int = 0

    @property
    def answer(self) -> tuple[str, int, int, int, int]:
        """State, total, done, ok and skipped."""
        return self.state, self.total, self.done, self.ok, self.done - self.ok

    def add(self, ids: Sequence[str]) -> int | None:
        """Return how many ids it holds then; None where it is no draft any more."""
        if self.state != "draft":
            return None
        self.ids += [job_id for job_id in dict.fromkeys(ids) if job_id not in self.ids]
        self.total = len(self.ids)
        return self.total

    def begin(self, actor: str) -> tuple[str, int, int, int, int] | None:
        """Return how far it is; None where another started it."""
        if self.state != "draft" and self.starter != actor:
            return None
        if self.state == "draft":
            self.state, self.starter = ("running" if self.ids else "done"), actor
        return self.answer
