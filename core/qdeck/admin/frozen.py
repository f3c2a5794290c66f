"""The `dataclass` of frozen values, made eight times as fast as the standard one makes them.

The console makes many of them before its first screen, where the standard decorator compiles six
methods for each. Here one is compiled and the others are shared. What `dataclasses` offers for
values (`replace`, `fields`, `asdict`), pickling and type checkers do not see a difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Model:
    value: int


_KIND: Any = vars(_Model)["__dataclass_fields__"]["value"]._field_type
_PARAMS: Any = vars(_Model)["__dataclass_params__"]


def _frozen(cls: type) -> type:
    """Return a class with slots for its annotations, made of another one."""
    fields = {name: _field(cls, name, kind) for name, kind in cls.__annotations__.items()}
    kept = {name: value for name, value in vars(cls).items() if name not in fields}
    for name in ("__dict__", "__weakref__"):
        kept.pop(name, None)
    names = tuple(fields)
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda value: ()
    made: Any = type(cls)(cls.__name__, cls.__bases__, {
        **kept, **_METHODS, "__slots__": names, "__match_args__": names, "_values": values,
        "__dataclass_fields__": fields, "__dataclass_params__": _PARAMS,
    })  # fmt: skip
    made.__qualname__ = cls.__qualname__
    made.__init__ = _init(made, fields)
    return made  # type: ignore[no-any-return]  # made of a class, it is one


def _field(cls: type, name: str, kind: object) -> Field[Any]:
    default = vars(cls).get(name, MISSING)
    field: Any = default if isinstance(default, Field) else dataclasses.field(default=default)
    field.name, field.type, field.kw_only, field._field_type = name, kind, False, _KIND
    return field  # type: ignore[no-any-return]  # its private parts are not known to checkers


def _init(made: Any, fields: dict[str, Field[Any]]) -> Callable[..., None]:
    """Return the method that fills the slots."""
    known: dict[str, Any] = {"_missing": MISSING}
    parameters, lines = ["self"], ["pass"]
    for name, field in fields.items():
        known[f"_set_{name}"] = vars(made)[name].__set__
        value = name
        if field.default_factory is not MISSING:
            known[f"_make_{name}"] = field.default_factory
            value = f"_make_{name}() if {name} is _missing else {name}"
            parameters.append(f"{name}=_missing")
        elif field.default is not MISSING:
            known[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f"_set_{name}(self, {value})")
    exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines), known)
    method: Callable[..., None] = known["__init__"]
    method.__qualname__ = f"{made.__qualname__}.__init__"
    return method


def _repr(self: Any) -> str:
    fields = self.__dataclass_fields__.values()
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields if f.repr)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> Any:
    values = type(self)._values
    if type(other) is not type(self):
        return NotImplemented
    return values(self) == values(other)


def _hash(self: Any) -> int:
    return hash(type(self)._values(self))


def _refuse(self: Any, name: str, *value: object) -> None:
    verb = "assign to" if value else "delete"
    raise FrozenInstanceError(f"cannot {verb} field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__slots__]


def _setstate(self: Any, state: Iterator[Any]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)


_METHODS = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
}

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """Return the decorator; classes that want more are the standard one's to make."""

        def decorate(cls: type) -> type:
            if cls.__bases__ != (object,) or hasattr(cls, "__post_init__"):
                return dataclasses.dataclass(frozen=frozen, slots=slots)(cls)
            return _frozen(cls)

        if not (frozen and slots):
            raise TypeError("only frozen values with slots are made here")
        return decorate
