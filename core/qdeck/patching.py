"""Changes to the payload of a job that exists: what a change makes of it, and whether its task
takes that, as far as workers have published what it takes.

Pure: knows no server. Arguments that a change does not touch keep their bytes.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from qdeck.errors import InvalidPayload
from qdeck.payload import check_size, refuse_no_numbers, short

__all__ = ["Edit", "decode_changes", "encode_changes", "fit", "misfit", "patched", "plain"]

Schema = Mapping[str, Any]
#: One change: `set`, `unset` or `rename`, a path of names joined by dots, and JSON text (set) or
#: the new name of its last part (rename).
Edit = tuple[str, str, str]
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_WORDS: Final = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "integer",
    float: "number", type(None): "null",
}  # fmt: skip
_BOUNDS: Final[dict[str, Any]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "multipleOf": lambda value, bound: value % bound == 0,
}
_SIZES: Final[dict[str, tuple[type, Any]]] = {
    "minLength": (str, lambda size, bound: size >= bound),
    "maxLength": (str, lambda size, bound: size <= bound),
    "minItems": (list, lambda size, bound: size >= bound),
    "maxItems": (list, lambda size, bound: size <= bound),
    "minProperties": (dict, lambda size, bound: size >= bound),
    "maxProperties": (dict, lambda size, bound: size <= bound),
}
#: What strings of these formats are read as; others are taken as they are.
_FORMATS: Final[dict[str, Any]] = {
    "date-time": msgspec.json.Decoder(datetime.datetime).decode,
    "date": msgspec.json.Decoder(datetime.date).decode,
    "duration": msgspec.json.Decoder(datetime.timedelta).decode,
    "uuid": msgspec.json.Decoder(uuid.UUID).decode,
}
_raw: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = functools.partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


class _Unfit(Exception):
    """A change that cannot be made to this payload; the text says why."""


def fit(task: str, payload: str, published: Mapping[str, Any]) -> str:
    """Return a payload (JSON text) that its task takes, byte for byte as given.

    `published` is what workers say of the task, empty where none has; then only the form is
    checked. Raises InvalidPayload naming the argument.
    """
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidPayload(
            f"task {task!r}: the payload is no JSON: {error}; give an object of named arguments"
        ) from None
    if not isinstance(value, dict):
        raise InvalidPayload(
            f"task {task!r}: expected an object of named arguments, got {short(value)}; write "
            '{"name": value}'
        )
    refuse_no_numbers(task, value)
    raw = payload.encode()
    check_size(task, raw, hint=False)
    problem = misfit(published.get("schema") or {}, value)
    if problem:
        raise InvalidPayload(f"task {task!r}: {problem}; nothing was changed")
    return payload


def misfit(schema: Schema, value: Any) -> str:
    """Return why a value does not fit a JSON schema, naming the first argument; empty where it
    does.
    """
    found = _check(schema, value, "", schema.get("$defs") or {})
    if found is None:
        return ""
    path, said = found
    return f"argument {path.removeprefix('.')!r}: {said}" if path else said


def patched(payload: str, changes: Sequence[Edit]) -> str:
    """Return a payload with changes made to it, the very same text where they change nothing.

    Raises InvalidPayload where one cannot be made.
    """
    try:
        values = dict(_raw(payload.encode()))
    except msgspec.MsgspecError as error:
        raise InvalidPayload(f"the payload is not readable: {error}") from None
    names = list(values)
    try:
        for change in changes:
            _apply(values, change)
    except _Unfit as error:
        raise InvalidPayload(str(error)) from None
    before = _raw(payload.encode())
    if names == list(values) and all(bytes(values[name]) == bytes(before[name]) for name in names):
        return payload
    parts = (f"{json.dumps(name, ensure_ascii=False)}:{bytes(raw).decode()}"
             for name, raw in values.items())  # fmt: skip
    return "{" + ",".join(parts) + "}"


def plain(changes: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return changes with paths below the arguments, and values that are JSON: what does not parse
    is text.
    """
    found = []
    for kind, name, value in changes:
        path = name.removeprefix("args.")
        if not path or not all(path.split(".")):
            raise InvalidPayload(f"{name!r} names no argument; write args.name")
        if kind == "set":
            try:
                json.loads(value)
            except ValueError:
                value = _encode(value)
        elif kind == "rename" and not re.fullmatch(r"[^\s.]+", value):
            raise InvalidPayload(f"{value!r} is no name; give the new name of {path} alone")
        found.append((kind, path, value))
    return tuple(found)


def encode_changes(changes: Sequence[Edit]) -> str:
    """Return changes as the record of an operation keeps them."""
    return _encode(changes)


def decode_changes(raw: str) -> tuple[Edit, ...]:
    """Return the changes of a record; none where there are none or they are not readable."""
    try:
        return tuple((str(kind), str(path), str(value)) for kind, path, value in json.loads(raw))
    except (ValueError, TypeError):
        return ()


def _apply(values: dict[str, Any], edit: Edit) -> None:
    """Make one change to arguments, of which each is the bytes of its JSON."""
    kind, path, text = edit
    name, *rest = path.split(".")
    if not rest and kind == "unset":
        values.pop(name, None)
    elif not rest and kind == "rename":
        if name in values:
            if text in values:
                raise _Unfit(f"argument {text!r} is there already; unset it first")
            pairs = [(text if key == name else key, raw) for key, raw in values.items()]
            values.clear()
            values.update(pairs)
    else:
        before = json.loads(bytes(values[name])) if name in values else None
        after = _changed(before, rest, edit) if rest else json.loads(text)
        absent = name not in values
        if absent and kind != "set":
            return
        if absent or after != before or type(after) is not type(before):
            values[name] = _encode(after).encode()


def _changed(value: Any, path: Sequence[str], edit: Edit) -> Any:
    """Return a value with a change made below it."""
    kind, whole, text = edit
    name, *rest = path
    if value is None and kind == "set":
        value = {}
    if isinstance(value, list) and name.isdigit() and int(name) < len(value):
        at = int(name)
        if not rest and kind != "set":
            raise _Unfit(f"argument {whole!r} is an item of a list: it can only be set")
        new = _changed(value[at], rest, edit) if rest else json.loads(text)
        return [*value[:at], new, *value[at + 1 :]]
    if not isinstance(value, dict):
        if kind != "set":
            return value
        raise _Unfit(f"argument {whole!r}: {short(value)} holds no {name!r}")
    if kind == "set":
        new = _changed(value.get(name), rest, edit) if rest else json.loads(text)
        return {**value, name: new}
    if name not in value:
        return value
    if rest:
        return {**value, name: _changed(value[name], rest, edit)}
    if kind == "unset":
        return {key: each for key, each in value.items() if key != name}
    return {text if key == name else key: each for key, each in value.items()}


def _check(schema: Any, value: Any, path: str, named: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return where and why a value does not fit a schema of msgspec; None where it does."""
    if not isinstance(schema, Mapping):
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _check(named.get(reference.rsplit("/", 1)[-1]), value, path, named)
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list):
        return _any_of(options, value, path, named)
    if "const" in schema and value != schema["const"]:
        return path, f"expected {short(schema['const'])}, got {short(value)}"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        return path, f"expected one of {short(schema['enum'])}, got {short(value)}"
    kind = schema.get("type")
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    if kinds and not any(_is(value, each) for each in kinds):
        return path, f"expected {' or '.join(kinds)}, got {_word(value)} {short(value)}"
    return _bounds(schema, value, path) or _members(schema, value, path, named)


def _any_of(
    options: Sequence[Any], value: Any, path: str, named: Mapping[str, Any]
) -> tuple[str, str] | None:
    problems = [_check(each, value, path, named) for each in options]
    if any(problem is None for problem in problems):
        return None
    # What lies deepest is the option that was meant.
    return max((each for each in problems if each), key=lambda each: len(each[0]))


def _bounds(schema: Schema, value: Any, path: str) -> tuple[str, str] | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for name, holds in _BOUNDS.items():
            if name in schema and not holds(value, schema[name]):
                return path, f"{value!r} breaks {name} {schema[name]}"
    if isinstance(value, (str, list, dict)):
        for name, (kind, holds) in _SIZES.items():
            if name in schema and isinstance(value, kind) and not holds(len(value), schema[name]):
                return path, f"{short(value)} breaks {name} {schema[name]}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return path, f"{short(value)} does not match {schema['pattern']}"
        read = _FORMATS.get(schema.get("format", ""))
        if read is not None:
            try:
                read(_encode(value))
            except msgspec.MsgspecError:
                return path, f"{short(value)} is no {schema['format']}"
    return None


def _members(
    schema: Schema, value: Any, path: str, named: Mapping[str, Any]
) -> tuple[str, str] | None:
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name in schema.get("required") or ():
            if name not in value:
                return f"{path}.{name}", "it is missing"
        others = schema.get("additionalProperties", True)
        for name, each in value.items():
            if name not in properties and others is False:
                return (
                    f"{path}.{name}",
                    f"there is no such argument; known: {', '.join(properties)}",
                )
            found = _check(properties.get(name, others), each, f"{path}.{name}", named)
            if found is not None:
                return found
    elif isinstance(value, list):
        first = schema.get("prefixItems") or ()
        for i, each in enumerate(value):
            known = first[i] if i < len(first) else schema.get("items")
            if known is False:
                return path, f"{short(value)} has more than {len(first)} items"
            found = _check(known, each, f"{path}.{i}", named)
            if found is not None:
                return found
    return None


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and kind == "integer":
        return value.is_integer()
    return isinstance(value, _KINDS.get(kind, (object,)))


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _word(value: Any) -> str:
    return _WORDS.get(type(value), type(value).__name__)
