"""What a task is: a name, a handler, the struct of its arguments, and how its jobs are run.

Owns the frozen `TaskSpec`, the value `Call` that goes to a deck, what is asked of a deck
(`Sender`), and the registry of a deck. It never talks to a server.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

from qdeck.backoff import DEFAULT_BACKOFF, Backoff
from qdeck.errors import InvalidTask, UnknownTask
from qdeck.job import Job
from qdeck.payload import Payload
from qdeck.plan import Plans
from qdeck.terms import NO_OPTIONS, Kind, Options, check_seconds, fill_limit_key, make_options

if TYPE_CHECKING:
    from qdeck.flow import Flow, Step

__all__ = [
    "Call",
    "Kind",
    "Options",
    "Registry",
    "Sender",
    "TaskSpec",
    "make_options",
    "unique_digest",
]

R = TypeVar("R")

_log = logging.getLogger("qdeck.task")
_NO_ARGUMENTS: Final[tuple[Any, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """Everything a deck knows about one task. `queue`, `max_retries`, `timeout` and `backoff` are
    None where the deck's settings decide.

    `origin` is where the handler is written, in `module`. `fn` takes a Context first if
    `wants_ctx`, then what `decode` returned; it returns a coroutine if `is_async`. The hooks are
    the class form's, or None. `plans` takes the schedules that code declares for the task.
    """

    name: str
    kind: Kind
    fn: Callable[..., Any]
    payload: Payload
    origin: str = ""
    module: str = ""
    is_async: bool = False
    wants_ctx: bool = False
    queue: str | None = None
    max_retries: int | None = None
    timeout: float | None = None
    priority: int = 4
    backoff: Backoff | None = None
    unique: bool | str = False
    unique_for: float | None = None
    expires: float | datetime | None = None
    limit_key: str | None = None
    key_limit: int = 1
    retry_delay: Callable[..., float] | None = None
    should_retry: Callable[..., bool] | None = None
    failed: Callable[..., Any] | None = None
    plans: Plans = field(default_factory=Plans, compare=False, repr=False)

    @property
    def struct(self) -> type[msgspec.Struct]:
        """The type of the payload."""
        return self.payload.struct

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the payload of a call; raises InvalidPayload naming the argument."""
        return self.payload.encode(args, kwargs)

    def decode(self, raw: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (args, kwargs) for `fn`; raises InvalidPayload naming the argument."""
        return self.payload.decode(raw)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the payload."""
        return self.payload.schema()

    def describe(self) -> dict[str, Any]:
        """Return what a worker publishes about the task, as JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "queue": self.queue,
            "priority": self.priority,
            "max_retries": self.max_retries,
            "timeout": self.timeout,
            "unique": self.unique,
            "unique_for": self.unique_for,
            "expires": self.expires.isoformat()
            if isinstance(self.expires, datetime)
            else self.expires,
            "limit_key": self.limit_key,
            "key_limit": self.key_limit,
            "schema": self.schema(),
        }

    def delay_after(
        self,
        attempt: int,
        args: tuple[Any, ...] = _NO_ARGUMENTS,
        default: Backoff = DEFAULT_BACKOFF,
    ) -> float:
        """Return the seconds to wait after the failed run `attempt` (from 1); never raises.

        `args` is what `decode` returned, for the hook of the class form; `default` is the deck's
        backoff. A hook or function that answers nonsense is logged and `default` used.
        """
        backoff = self.backoff or default
        hook = self.retry_delay
        try:
            if hook is not None and args:
                return check_seconds("retry_delay's answer", hook(*args, attempt))
            return backoff(attempt)
        except BaseException:  # SystemExit too: what a task says never ends its worker
            _log.exception("task %r: its retry delay after run %d is unusable", self.name, attempt)
            return default(attempt)

    def retries(self, error: BaseException, args: tuple[Any, ...] = _NO_ARGUMENTS) -> bool:
        """Return whether the class form's `should_retry` wants another run; never raises.

        True without a hook, for errors that are no `Exception`, and when the hook itself fails.
        """
        hook = self.should_retry
        if hook is None or not args or not isinstance(error, Exception):
            return True
        try:
            return bool(hook(*args, error))
        except BaseException:
            _log.exception("task %r: should_retry failed; retrying", self.name)
            return True

    async def run_failed(self, error: BaseException, args: tuple[Any, ...] = _NO_ARGUMENTS) -> None:
        """Run the class form's `failed` hook, in a thread if it is not async; never raises."""
        hook = self.failed
        if hook is None or not args:
            return
        shown = error if isinstance(error, Exception) else RuntimeError(repr(error))
        try:
            if inspect.iscoroutinefunction(hook):
                await hook(*args, shown)
            else:
                await asyncio.to_thread(hook, *args, shown)
        except asyncio.CancelledError:
            raise
        except BaseException:
            _log.exception("task %r: its failed hook failed", self.name)


class Call(msgspec.Struct, Generic[R], frozen=True):
    """One enqueue, ready to send: the task, its arguments as JSON, and what is said differently.

    `sender` is the deck that made it, if it was one.
    """

    spec: TaskSpec
    payload: bytes
    options: Options = NO_OPTIONS
    sender: Sender | None = None

    def then(self, *steps: Step) -> Flow:
        """Return this job and those that start when it has completed; nothing is sent yet."""
        from qdeck.flow import Flow

        return Flow.of(self).then(*steps)

    def call(self) -> Call[R]:
        """Return this call."""
        return self

    def limit(self) -> tuple[str, int]:
        """Return the key that limits this job ("": none) and how many with it may run at once."""
        options, spec = self.options, self.spec
        template = spec.limit_key if options.limit_key is None else options.limit_key
        most = spec.key_limit if options.key_limit is None else options.key_limit
        if not template:
            return "", 0
        return fill_limit_key(spec.name, template, self.payload), most

    def unique_key(self) -> str | None:
        """Return the digest of the unique key that this enqueue takes; None when it takes none.

        A task's key is a template over its arguments (`"user-{user_id}"`), an option's is literal.
        """
        chosen = self.options.unique
        if chosen is None:
            chosen = self.spec.unique
            if isinstance(chosen, str):
                chosen = chosen.format_map(msgspec.json.decode(self.payload))
        return unique_digest(self.spec.name, chosen, self.payload)


def unique_digest(task: str, unique: bool | str | None, payload: bytes) -> str | None:
    """Return 32 hex digits for a unique key of a task; None when there is none.

    True stands for the arguments, whatever order they are written in. Equal keys of two tasks do
    not meet.
    """
    if unique is None or unique is False:
        return None
    if unique is True:
        values = msgspec.json.decode(payload)
        key = b"\0args\0" + msgspec.json.encode(values, order="deterministic")
    else:
        key = b"\0key\0" + unique.encode()
    return hashlib.blake2b(task.encode() + key, digest_size=16).hexdigest()


class Sender(Protocol):
    """Takes calls to a server: what a handle needs of its deck."""

    async def send(self, call: Call[R]) -> Job[R]:
        """Enqueue one call."""
        ...

    def send_sync(self, call: Call[R]) -> Job[R]:
        """Enqueue one call, without an event loop."""
        ...

    async def send_flow(self, flow: Flow) -> list[Job[Any]]:
        """Enqueue the jobs of a flow."""
        ...

    def send_flow_sync(self, flow: Flow) -> list[Job[Any]]:
        """Enqueue the jobs of a flow, without an event loop."""
        ...


class Registry:
    """The tasks of one deck, by name."""

    def __init__(self) -> None:
        self._specs: dict[str, TaskSpec] = {}

    def add(self, spec: TaskSpec) -> None:
        """Take a task; InvalidTask when its name is taken."""
        known = self._specs.get(spec.name)
        if known is not None:
            raise InvalidTask(
                f"task {spec.name!r} is registered already, by {known.origin}; give one of "
                "them another name with name="
            )
        self._specs[spec.name] = spec

    def get(self, name: str) -> TaskSpec:
        """Return a task; UnknownTask names those that exist."""
        try:
            return self._specs[name]
        except KeyError:
            known = ", ".join(sorted(self._specs)) or "none"
            raise UnknownTask(
                f"task {name!r} is not registered here; known tasks: {known}"
            ) from None

    def find(self, name: str) -> TaskSpec | None:
        """Return a task, or None."""
        return self._specs.get(name)

    def names(self) -> tuple[str, ...]:
        """Return the names, in the order of registration."""
        return tuple(self._specs)

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[TaskSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)
