"""How functions and classes become tasks of a deck: the decorators, and the handle they return.

Owns the overloads that let type checkers check the arguments of `enqueue`, and the checks made at
registration. A deck inherits `TaskDecorators`.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

from qdeck.classtask import Task, bind_class, kind_of
from qdeck.context import Context
from qdeck.declare import CronMark, declare_cron
from qdeck.errors import InvalidTask
from qdeck.flow import Flow, Step
from qdeck.job import Job
from qdeck.payload import Payload
from qdeck.plan import CATCH_UP, Misfire, Overlap
from qdeck.signature import caller_names, signature_struct
from qdeck.task import Call, Registry, Sender, TaskSpec
from qdeck.terms import (
    NO_OPTIONS,
    Options,
    TaskTerms,
    Wishes,
    check_template,
    check_terms,
    make_options,
)

__all__ = ["TaskDecorator", "TaskDecorators", "TaskHandle"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Task)


class TaskHandle(Generic[P, R]):
    """What a decorated function becomes: still callable, and it can be enqueued.

    `name` is the task's, `spec` what the deck knows about it.
    """

    __wrapped__: Callable[..., Any]

    def __init__(self, spec: TaskSpec, sender: Sender, options: Options = NO_OPTIONS) -> None:
        self.spec = spec
        self._sender = sender
        self._options = options

    @property
    def name(self) -> str:
        """The name that jobs of this task are stored under."""
        return self.spec.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the plain function here and now; a Context, if it takes one, comes first."""
        return self.spec.fn(*args, **kwargs)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue one job.

        Raises InvalidPayload before anything is sent, ConnectionFailed, ServerFull or QueueFull
        after that.
        """
        return await self._sender.send(
            Call(self.spec, self.spec.payload.encode(args, kwargs), self._options)
        )

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue one job without an event loop; errors as in `enqueue`."""
        return self._sender.send_sync(
            Call(self.spec, self.spec.payload.encode(args, kwargs), self._options)
        )

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return the enqueue as a value, for `deck.enqueue_many` and `then`."""
        raw = self.spec.payload.encode(args, kwargs)
        return Call(self.spec, raw, self._options, self._sender)

    def then(self: TaskHandle[[], R], *steps: Step) -> Flow:
        """Return a job of this task, which takes no arguments, and those that start after it."""
        return self.call().then(*steps)

    def options(self, **wishes: Unpack[Wishes]) -> TaskHandle[P, R]:
        """Return a handle whose enqueues differ in these options; this one stays as it is."""
        return TaskHandle(self.spec, self._sender, make_options(self._options, **wishes))

    def cron(
        self,
        expression: str,
        *,
        tz: str = "UTC",
        name: str | None = None,
        args: Sequence[Any] = (),
        payload: Mapping[str, Any] | None = None,
        misfire: Misfire = "latest",
        overlap: Overlap = "allow",
        jitter: float = 0.0,
        catch_up: float = CATCH_UP,
        **wishes: Unpack[Wishes],
    ) -> CronMark:
        """Declare a schedule of this task, named like it unless `name` says otherwise.

        Workers create it when it is absent; afterwards what is stored counts. `args` and `payload`
        are its arguments, `wishes` options of its jobs; `jitter` and `catch_up` are seconds. Raises
        InvalidCron, InvalidPayload or SettingsError.
        """
        return declare_cron(
            self.spec,
            make_options(self._options, **wishes),
            expression,
            payload=payload,
            args=args,
            tz=tz,
            name=name,
            misfire=misfire,
            overlap=overlap,
            jitter=jitter,
            catch_up=catch_up,
        )

    def __repr__(self) -> str:
        return f"<task {self.spec.name} ({self.spec.kind})>"


class TaskDecorator(Protocol):
    """What `deck.task(...)` with options returns: it makes a task of a function."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> TaskHandle[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskHandle[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> TaskHandle[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskHandle[P, R]: ...


class TaskDecorators(ABC):
    """The part of a deck that makes tasks; the deck itself sends their calls."""

    registry: Registry

    @abstractmethod
    async def send(self, call: Call[R]) -> Job[R]:
        """Enqueue one call."""

    @abstractmethod
    def send_sync(self, call: Call[R]) -> Job[R]:
        """Enqueue one call, without an event loop."""

    @abstractmethod
    async def send_flow(self, flow: Flow) -> list[Job[Any]]:
        """Enqueue the jobs of a flow."""

    @abstractmethod
    def send_flow_sync(self, flow: Flow) -> list[Job[Any]]:
        """Enqueue the jobs of a flow, without an event loop."""

    def group(self, steps: Iterable[Step]) -> Flow:
        """Return jobs that run side by side; `then` adds what starts when all have completed."""
        return Flow.beside(list(steps))

    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> TaskHandle[P, R]: ...
    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskHandle[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> TaskHandle[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> TaskHandle[P, R]: ...
    @overload
    def task(self, **terms: Unpack[TaskTerms]) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, **terms: Unpack[TaskTerms]) -> Any:
        """Make a task of a function; the terms hold for all of its jobs.

        `async def` runs on the worker's loop, `def` in a thread, either in a child process with
        `run="process"`. `unique` is True (one unfinished job for the same arguments) or a template
        over the arguments (`"user-{user_id}"`). So is `limit_key`: at most `key_limit` (1) jobs
        with the same one run at once in a queue. `timeout`, `unique_for` and `expires` are seconds.
        Raises InvalidTask or SettingsError.
        """
        checked = check_terms(terms)
        if function is not None:
            return self._make_task(function, checked)
        return functools.partial(self._make_task, terms=checked)

    def register(self, cls: type[T]) -> type[T]:
        """Make a task of a class; its name is the class's unless `name=` says otherwise."""
        if not (isinstance(cls, type) and issubclass(cls, Task)):
            raise InvalidTask(
                f"{cls!r} is no task class; derive it from qdeck.Task, or use @deck.task for a "
                "function"
            )
        bind_class(cls, self.registry, self)
        return cls

    def _make_task(
        self, function: Callable[..., Any], terms: dict[str, Any]
    ) -> TaskHandle[Any, Any]:
        spec = function_spec(function, terms)
        self.registry.add(spec)
        handle: TaskHandle[Any, Any] = TaskHandle(spec, self)
        functools.update_wrapper(handle, function)
        return handle


def function_spec(function: Callable[..., Any], terms: Mapping[str, Any]) -> TaskSpec:
    """Return the spec of a function with checked terms; raises InvalidTask."""
    if not callable(function) or isinstance(function, (type, TaskHandle)):
        raise InvalidTask(f"{function!r} cannot be a task; decorate a function")
    rest = dict(terms)
    name = rest.pop("name", None) or getattr(function, "__name__", "")
    check_terms({"name": name})
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidTask(f"task {name!r} yields; a handler returns one value")
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 (whether calling it makes a coroutine)
    )
    struct, keyword, wants_ctx = signature_struct(name, function, caller_names())
    check_template(name, rest.get("unique", False), struct.__struct_fields__)
    check_template(name, rest.get("limit_key", False), struct.__struct_fields__, "limit_key")
    return TaskSpec(
        name=name,
        kind=kind_of(name, is_async, rest.pop("run", None)),
        fn=function,
        payload=Payload(name, struct, keyword),
        module=function.__module__,
        origin=f"{function.__module__}.{getattr(function, '__qualname__', name)}",
        is_async=is_async,
        wants_ctx=wants_ctx,
        **rest,
    )
