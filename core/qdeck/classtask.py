"""The class form of a task: the fields are the arguments, `handle` does the work.

Owns the metaclass that takes a task's terms as class keywords, and the chain from an instance to
its dispatch. An instance is never changed by it, and knows its deck only through its class.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Unpack, cast, dataclass_transform

import msgspec

from qdeck.context import Context
from qdeck.declare import CronMark, declare_cron
from qdeck.errors import InvalidTask
from qdeck.flow import Flow, Step
from qdeck.job import Job
from qdeck.payload import Payload
from qdeck.plan import CATCH_UP, Misfire, Overlap
from qdeck.signature import caller_names, resolve
from qdeck.task import Call, Registry, Sender, TaskSpec
from qdeck.terms import (
    NO_OPTIONS,
    Kind,
    Options,
    TaskTerms,
    Wishes,
    check_template,
    check_terms,
    make_options,
)

__all__ = ["Dispatch", "Task", "TaskMeta", "bind_class"]

#: Names of hooks that a task class may define.
_HOOKS: Final = ("handle", "retry_delay", "should_retry", "failed")
_TERMS: Final = tuple(TaskTerms.__annotations__)
_MISSING: Final = "decorate it with @deck.register before its first dispatch"


def _refuse_fields(
    class_name: str, annotations: Mapping[str, Any], bases: tuple[type, ...]
) -> None:
    reserved = set(_HOOKS)
    for base in bases:
        if isinstance(base, TaskMeta):
            reserved |= {name for name in dir(base) if callable(getattr(base, name, None))}
    for field, kind in annotations.items():
        if "ClassVar" in str(kind):
            continue
        if field in reserved or field in {"_terms", "_bound"}:
            raise InvalidTask(
                f"task class {class_name}: a field cannot be called {field!r}, which is a method "
                "of tasks; give it another name"
            )


def _resolved(annotations: Mapping[str, Any], module: str) -> dict[str, Any]:
    """Return annotations with text replaced by types where these are known already."""
    if not any(isinstance(kind, str) for kind in annotations.values()):
        return dict(annotations)
    globals_ = vars(sys.modules[module]) if module in sys.modules else {}
    names = caller_names()
    resolved = dict(annotations)
    for field, kind in annotations.items():
        if isinstance(kind, str):
            holder = types.SimpleNamespace(__annotations__={field: kind})
            try:
                hints = typing.get_type_hints(holder, globals_, names, include_extras=True)
            except (NameError, TypeError, SyntaxError, AttributeError):
                continue
            resolved[field] = hints[field]
    return resolved


@dataclass_transform(field_specifiers=(msgspec.field,))
class TaskMeta(msgspec.StructMeta):
    """Makes a struct of a task class and keeps the terms given as class keywords."""

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        **keywords: Any,
    ) -> TaskMeta:
        """Make the class of terms and options of structs; terms that it does not give come from its
        base, except the name.
        """
        given = {term: keywords.pop(term) for term in _TERMS if term in keywords}
        terms = check_terms(cast("TaskTerms", given))
        annotations = namespace.get("__annotations__", {})
        _refuse_fields(class_name, annotations, bases)
        namespace["__annotations__"] = _resolved(annotations, namespace.get("__module__", ""))
        keywords.setdefault("forbid_unknown_fields", True)
        made = super().__new__(mcls, class_name, bases, namespace, **keywords)
        inherited = {
            term: value
            for base in reversed(bases)
            for term, value in getattr(base, "_terms", {}).items()
            if term != "name"
        }
        setattr(made, "_terms", inherited | terms)  # noqa: B010 (a struct class checks fields only)
        setattr(made, "_bound", None)  # noqa: B010
        return made


@dataclass(frozen=True, slots=True)
class Dispatch:
    """An instance on its way: what is said differently, and then `dispatch`. Frozen; each step is a
    new one.
    """

    task: Task
    terms: Options = NO_OPTIONS

    def delay(self, seconds: float) -> Dispatch:
        """Return it due that many seconds from its enqueue."""
        return Dispatch(self.task, make_options(self.terms, delay=seconds))

    def on_queue(self, queue: str) -> Dispatch:
        """Return it for another queue."""
        return Dispatch(self.task, make_options(self.terms, queue=queue))

    def options(self, **wishes: Unpack[Wishes]) -> Dispatch:
        """Return it with these options."""
        return Dispatch(self.task, make_options(self.terms, **wishes))

    def call(self) -> Call[Any]:
        """Return the enqueue as a value, for `deck.enqueue_many`; raises InvalidPayload."""
        spec, sender = _bound(type(self.task))
        return Call(spec, spec.payload.encode_struct(self.task), self.terms, sender)

    def then(self, *steps: Step) -> Flow:
        """Return this job and those that start when it has completed; nothing is sent yet."""
        return self.call().then(*steps)

    async def dispatch(self) -> Job[Any]:
        """Enqueue it; raises InvalidPayload before anything is sent."""
        return await _bound(type(self.task))[1].send(self.call())

    def dispatch_sync(self) -> Job[Any]:
        """Enqueue it without an event loop; errors as in `dispatch`."""
        return _bound(type(self.task))[1].send_sync(self.call())


class Task(msgspec.Struct, metaclass=TaskMeta):
    """The base of task classes.

    A subclass defines `handle(self)` or `handle(self, ctx: Context)`, async or not, and may define
    `retry_delay(self, attempt) -> seconds`, `should_retry(self, error) -> bool` and
    `failed(self, error)`, which runs after the settle that made the job dead, at most once.
    """

    _terms: ClassVar[dict[str, Any]] = {}
    _bound: ClassVar[tuple[TaskSpec, Sender] | None] = None

    def delay(self, seconds: float) -> Dispatch:
        """Return this task due that many seconds from its enqueue; the instance stays as it is."""
        return Dispatch(self).delay(seconds)

    def on_queue(self, queue: str) -> Dispatch:
        """Return this task for another queue; the instance stays as it is."""
        return Dispatch(self).on_queue(queue)

    def options(self, **wishes: Unpack[Wishes]) -> Dispatch:
        """Return this task with these options; the instance stays as it is."""
        return Dispatch(self).options(**wishes)

    def cron(
        self,
        expression: str,
        *,
        tz: str = "UTC",
        name: str | None = None,
        misfire: Misfire = "latest",
        overlap: Overlap = "allow",
        jitter: float = 0.0,
        catch_up: float = CATCH_UP,
        **wishes: Unpack[Wishes],
    ) -> CronMark:
        """Declare a schedule that enqueues this very task; see `TaskHandle.cron`."""
        spec, _ = _bound(type(self))
        return declare_cron(
            spec,
            make_options(NO_OPTIONS, **wishes),
            expression,
            payload=msgspec.json.decode(spec.payload.encode_struct(self)),
            tz=tz,
            name=name,
            misfire=misfire,
            overlap=overlap,
            jitter=jitter,
            catch_up=catch_up,
        )

    def call(self) -> Call[Any]:
        """Return the enqueue as a value, for `deck.enqueue_many`; raises InvalidPayload."""
        return Dispatch(self).call()

    def then(self, *steps: Step) -> Flow:
        """Return this job and those that start when it has completed; nothing is sent yet."""
        return Dispatch(self).then(*steps)

    async def dispatch(self) -> Job[Any]:
        """Enqueue this task; raises InvalidPayload before anything is sent."""
        return await Dispatch(self).dispatch()

    def dispatch_sync(self) -> Job[Any]:
        """Enqueue this task without an event loop; errors as in `dispatch`."""
        return Dispatch(self).dispatch_sync()


def bind_class(cls: type[Task], registry: Registry, sender: Sender) -> TaskSpec:
    """Register a task class with one deck and return its spec.

    Raises InvalidTask for a class without a usable `handle`, and for one that has a deck already.
    """
    terms = dict(cls._terms)
    name = terms.pop("name", None) or cls.__name__
    check_terms({"name": name})
    if cls._bound is not None:
        raise InvalidTask(
            f"task class {cls.__name__} belongs to a deck already; a class has one deck, so "
            "make a subclass for another"
        )
    handle = getattr(cls, "handle", None)
    if not callable(handle):
        raise InvalidTask(f"task class {cls.__name__} has no handle(self, ctx); define it")
    is_async = inspect.iscoroutinefunction(handle)
    payload = Payload(name, cls, whole=True)
    check_template(name, terms.get("unique", False), cls.__struct_fields__)
    check_template(name, terms.get("limit_key", False), cls.__struct_fields__, "limit_key")
    spec = TaskSpec(
        name=name,
        kind=kind_of(name, is_async, terms.pop("run", None)),
        fn=handle_adapter(wants := _wants_context(name, handle)),
        payload=payload,
        module=cls.__module__,
        origin=f"{cls.__module__}.{cls.__qualname__}",
        is_async=is_async,
        wants_ctx=wants,
        retry_delay=getattr(cls, "retry_delay", None),
        should_retry=getattr(cls, "should_retry", None),
        failed=getattr(cls, "failed", None),
        **terms,
    )
    registry.add(spec)
    cls._bound = (spec, sender)
    return spec


def kind_of(name: str, is_async: bool, run: str | None) -> Kind:
    """Return where a handler runs; raises InvalidTask for a kind that it cannot have."""
    natural: Kind = "async" if is_async else "thread"
    if run is None or run == natural:
        return natural
    if run == "process":
        return "process"
    raise InvalidTask(
        f"task {name!r}: run={run!r} does not fit {'an async def' if is_async else 'a plain def'}; "
        f"leave it out, or give run='process'"
    )


def handle_adapter(wants_ctx: bool) -> Callable[..., Any]:
    """Return a function of (Context if wanted, instance) that calls the instance's handle."""
    if wants_ctx:
        return lambda ctx, task: task.handle(ctx)
    return lambda task: task.handle()


def _bound(cls: type[Task]) -> tuple[TaskSpec, Sender]:
    if cls._bound is None:
        raise InvalidTask(f"task class {cls.__name__} belongs to no deck; {_MISSING}")
    return cls._bound


def _wants_context(name: str, handle: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(handle).parameters.values())[1:]
    if not parameters:
        return False
    required = [p for p in parameters if p.default is inspect.Parameter.empty]
    if len(parameters) == 1 and len(required) == 1:
        kind = resolve(name, handle, parameters, caller_names()).get(parameters[0].name, Context)
        if kind is Context:
            return True
    raise InvalidTask(
        f"task {name!r}: handle takes {', '.join(str(p) for p in parameters)}; it may take a "
        "Context and nothing else, arguments are fields of the class"
    )
