"""The values of the operator's door that explain: why a job waits, what failures share, what was
when, what happened, and how the server is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

from qdeck.admin.frozen import dataclass
from qdeck.admin.jobs import ErrorGroup, JobRef
from qdeck.admin.values import Failure

__all__ = [
    "Cause",
    "CauseWord",
    "Event",
    "EventKind",
    "Explanation",
    "Fact",
    "FactKind",
    "History",
    "InsightDoor",
    "Minute",
    "Node",
    "ServerFacts",
    "Shared",
    "SlowCommand",
    "Times",
]

CauseWord = Literal[
    "paused",
    "held",
    "limit",
    "key limit",
    "rate",
    "not due",
    "waiting",
    "no worker",
    "unknown task",
    "busy",
    "failing",
    "slow",
    "server",
    "ahead",
    "moving",
    "running",
    "finished",
    "empty",
    "?",
]


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause: a word for programs, a sentence for people, and the next step (empty: none).

    `since` is when it began, where that is known.
    """

    word: CauseWord
    text: str
    next_step: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job, or the next job of a queue, is not running; the most important cause first.

    There is always one: that nothing holds it up is said too (`moving`, `running`, `finished`,
    `empty`). `target` is a queue's name or a job's id.
    """

    target: str
    causes: tuple[Cause, ...]

    @property
    def word(self) -> CauseWord:
        """The most important cause in a word."""
        return self.causes[0].word if self.causes else "?"

    @property
    def text(self) -> str:
        """The most important cause in a sentence."""
        return self.causes[0].text if self.causes else "nothing is known about it"

    @property
    def next_step(self) -> str:
        """What to do about the most important cause."""
        return self.causes[0].next_step if self.causes else ""


FactKind = Literal["task", "queue", "worker", "argument", "value", "missing", "attempts"]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that members of a group have in common: of `kind`, about `name`.

    `share` is the part of the sample (0 to 1) that it holds for. `value` is an argument's equal
    value as JSON text. `source` says how a missing argument is known: `schema` or `completed`.
    """

    kind: FactKind
    name: str
    share: float
    text: str
    value: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the members of a group have in common, told from `sample` of `total` of them.

    `missing` facts come first, since they are what to look at. `arrivals` are the members that died
    in each of the last 60 minutes, the current one last.
    """

    sample: int
    total: int | None = None
    facts: tuple[Fact, ...] = ()
    first_at: datetime | None = None
    last_at: datetime | None = None
    arrivals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Minute:
    """The counters of one step of a history, which begins at `at`."""

    at: datetime
    enqueued: int = 0
    started: int = 0
    ok: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    crashed: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """A histogram of times of one task: `counts[i]` lie below `bounds_s[i]` and not below the bound
    before; `kind` is `wait` (due to first start) or `run`.
    """

    kind: Literal["wait", "run"]
    task: str
    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    p50_s: float | None = None
    p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The counters of a queue, or of all, step by step, oldest first, and its times over all of it.

    A step is a minute, and an hour where more was asked for than minutes are kept (3 h).
    """

    queue: str | None
    step_s: int
    steps: tuple[Minute, ...]
    times: tuple[Times, ...] = ()


EventKind = Literal["worker", "lost", "dead", "pause", "write", "schedule", "operation"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in a sentence. `actor` is who did it, where somebody did."""

    at: datetime
    kind: EventKind
    text: str
    queue: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class SlowCommand:
    """One entry of the server's slow log; `command` is cut and holds no payload."""

    at: datetime
    ms: float
    command: str


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a cluster, or one replica; `state` is the server's word for its link."""

    address: str
    role: str
    version: str = ""
    memory_bytes: int | None = None
    keys: int | None = None
    lag_s: float | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """All that is known of the server; `warnings` are sentences that say what to do.

    `persistence` is `append-only file`, `snapshots` or `none`; `role` is `primary` or `replica`.
    """

    product: str = ""
    version: str = ""
    address: str = ""
    mode: str = ""
    role: str = ""
    uptime_s: float | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_limit_bytes: int | None = None
    fragmentation: float | None = None
    eviction: str = ""
    persistence: str = ""
    saved_at: datetime | None = None
    clients: int | None = None
    blocked_clients: int | None = None
    ops_per_s: float | None = None
    keys: int | None = None
    nodes: tuple[Node, ...] = ()
    slow: tuple[SlowCommand, ...] | Failure = ()
    warnings: tuple[str, ...] = ()


class InsightDoor(Protocol):
    """What an operator can ask to understand; every method only reads."""

    async def explain(self, target: str | JobRef) -> Explanation:
        """Return why a job, or the next job of a queue (given by name), is not running."""
        ...

    async def shared(self, group: ErrorGroup) -> Shared:
        """Return what the dead jobs of a group have in common, from a sample of the newest."""
        ...

    async def history(self, queue: str | None = None, minutes: int = 60) -> History:
        """Return the counters and times of a queue, or of all, over the last minutes."""
        ...

    async def events(self, limit: int = 100) -> tuple[Event, ...]:
        """Return what happened, newest first."""
        ...

    async def server(self) -> ServerFacts:
        """Return all that is known of the server."""
        ...
