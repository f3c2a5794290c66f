"""Which arguments a handler takes: its signature as a struct that JSON can be checked against.

Owns the reading of annotations and the refusal of what cannot be called from a JSON object. Runs
once a task, when it is registered.
"""

from __future__ import annotations

import copy
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from qdeck.context import Context
from qdeck.errors import InvalidTask
from qdeck.payload import check_default, short

__all__ = ["caller_names", "resolve", "signature_struct"]


def signature_struct(
    task: str, function: Callable[..., Any], names: Mapping[str, Any]
) -> tuple[type[msgspec.Struct], int, bool]:
    """Return (struct of the arguments, how many are by name only, whether a Context comes first).

    `names` holds what annotations may refer to besides the handler's module: the locals of the
    function that registers it. Raises InvalidTask for a signature that cannot be called from JSON.
    """
    parameters = list(inspect.signature(function).parameters.values())
    hints = resolve(task, function, parameters, names)
    wants_context = False
    plain: list[Any] = []
    by_name: list[Any] = []
    for index, parameter in enumerate(parameters):
        name, kind = parameter.name, hints.get(parameter.name, Any)
        _refuse_kind(task, parameter)
        if kind is Context:
            if index:
                raise InvalidTask(
                    f"task {task!r}: the Context is parameter {name!r}, number {index + 1}; make "
                    "it the first"
                )
            wants_context = True
            continue
        if not index:
            _refuse_first(task, parameter, kind)
        entry = _field(task, parameter, kind)
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            by_name.append(entry)
        else:
            plain.append(entry)
    try:
        struct = msgspec.defstruct(
            task.replace(":", "_"), plain, forbid_unknown_fields=True, gc=False
        )
        if by_name:
            struct = msgspec.defstruct(
                task.replace(":", "_"),
                by_name,
                bases=(struct,),
                kw_only=True,
                forbid_unknown_fields=True,
                gc=False,
            )
    except (TypeError, ValueError) as error:
        raise InvalidTask(f"task {task!r}: {error}; use types that JSON can hold") from None
    return struct, len(by_name), wants_context


def resolve(
    task: str,
    function: Callable[..., Any],
    parameters: Iterable[inspect.Parameter],
    names: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the types of a function's parameters; text is evaluated in its module and `names`."""
    written = {
        parameter.name: parameter.annotation
        for parameter in parameters
        if parameter.annotation is not inspect.Parameter.empty
    }
    module = getattr(inspect.unwrap(function), "__globals__", {})
    local = dict(names)
    code = getattr(function, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False
    ):
        try:
            local[name] = cell.cell_contents
        except ValueError:
            continue
    holder = types.SimpleNamespace(__annotations__=written)
    try:
        return typing.get_type_hints(holder, module, local, include_extras=True)
    except NameError as error:
        raise InvalidTask(
            f"task {task!r}: an annotation names {error.name!r}, which is not known at run time; "
            "import it outside of TYPE_CHECKING"
        ) from None
    except (TypeError, SyntaxError, AttributeError) as error:
        raise InvalidTask(
            f"task {task!r}: an annotation cannot be read: {error}; use types that JSON can hold"
        ) from None


def caller_names() -> dict[str, Any]:
    """Return the local names of the innermost caller outside of this package.

    Types that a function defines for its own tasks are found there, and nowhere else.
    """
    package = __name__.partition(".")[0]
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        if frame.f_back is None:
            return {}
        frame = frame.f_back
    return {} if frame.f_code.co_name == "<module>" else dict(frame.f_locals)


def _field(task: str, parameter: inspect.Parameter, kind: Any) -> Any:
    default = parameter.default
    if default is inspect.Parameter.empty:
        return (parameter.name, kind)
    try:
        check_default(default, kind)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InvalidTask(
            f"task {task!r}: the default {short(default)} of {parameter.name!r} does not fit its "
            f"annotation: {error}; change one of them (`int | None = None` for an optional one)"
        ) from None
    if type(default).__hash__ is None:
        return (
            parameter.name,
            kind,
            msgspec.field(default_factory=lambda: copy.deepcopy(default)),
        )
    return (parameter.name, kind, msgspec.field(default=default))


def _refuse_kind(task: str, parameter: inspect.Parameter) -> None:
    words = {
        inspect.Parameter.POSITIONAL_ONLY: "is positional-only; arguments are stored by name, so "
        "remove the `/`",
        inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments; take a list instead",
        inspect.Parameter.VAR_KEYWORD: "takes any names; take a dict instead",
    }
    if parameter.kind in words:
        raise InvalidTask(f"task {task!r}: parameter {parameter} {words[parameter.kind]}")


def _refuse_first(task: str, parameter: inspect.Parameter, kind: Any) -> None:
    if kind is object or (kind is Any and parameter.annotation is not inspect.Parameter.empty):
        raise InvalidTask(
            f"task {task!r}: the first parameter {parameter.name!r} is typed {parameter.annotation}"
            ", which a Context would fit as well; give it its own type or put it second"
        )
    if parameter.annotation is inspect.Parameter.empty and parameter.name in {"ctx", "context"}:
        raise InvalidTask(
            f"task {task!r}: the first parameter {parameter.name!r} has no type; write "
            f"`{parameter.name}: qdeck.Context`"
        )
