"""What a job carries: arguments as a JSON object, checked against the struct of a task.

Owns the way from arguments to bytes and back, the size limit, and the wording of what does not fit.
Never pickles; knows nothing of handlers.
"""

from __future__ import annotations

import logging
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from qdeck.errors import InvalidPayload, InvalidTask

__all__ = [
    "HINT_BYTES",
    "LIMIT_BYTES",
    "Payload",
    "check_default",
    "check_size",
    "encode_mapping",
    "no_number",
    "refuse_no_numbers",
    "short",
]

#: A larger payload is refused.
LIMIT_BYTES: Final = 1024 * 1024
#: A larger payload logs a hint.
HINT_BYTES: Final = 64 * 1024

_log = logging.getLogger("qdeck.task")
_SHOWN = 80


def _enc_hook(value: Any) -> Any:
    if isinstance(value, pathlib.PurePath):
        return str(value)
    raise TypeError(f"type {type(value).__name__} has no JSON form")


def _dec_hook(kind: type, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    if issubclass(kind, pathlib.PurePath) and isinstance(value, str):
        return kind(value)
    raise ValueError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


class _Custom(Exception):
    """A type that JSON cannot hold."""


def _schema_hook(kind: type) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        return {"type": "string", "format": "path"}
    raise _Custom(getattr(kind, "__name__", str(kind)))


class Payload:
    """The arguments of one task: `struct` is the type of their JSON object.

    `positional` fields come first and may be given by position; the rest by name only.
    """

    __slots__ = (
        "_decode",
        "_encode",
        "_hinted",
        "_hooked",
        "_keyword",
        "_positional",
        "struct",
        "task",
        "whole",
    )

    def __init__(
        self, task: str, struct: type[msgspec.Struct], keyword: int = 0, whole: bool = False
    ) -> None:
        """Take a struct with `keyword` trailing by-name-only fields; `whole` hands it over as one
        argument.
        """
        self.task = task
        self.struct = struct
        self.whole = whole
        fields = struct.__struct_fields__
        self._keyword = fields[len(fields) - keyword :] if keyword else ()
        self._positional = len(fields) - keyword
        self._hinted = False
        schema = self.schema()
        # A hook costs half a microsecond a call, so only types that need one get it.
        self._hooked = '"path"' in msgspec.json.encode(schema).decode()
        self._encode = msgspec.json.Encoder(enc_hook=_enc_hook).encode
        self._decode: Callable[[bytes], msgspec.Struct] = (
            msgspec.json.Decoder(struct, dec_hook=_dec_hook).decode
            if self._hooked
            else msgspec.json.Decoder(struct).decode
        )

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the JSON object of a call's arguments, defaults filled in.

        Raises InvalidPayload naming the argument; also for more than 1 MiB.
        """
        try:
            instance = self.struct(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise self._misfit(error, kwargs) from None
        return self.encode_struct(instance)

    def encode_struct(self, instance: msgspec.Struct) -> bytes:
        """Return the JSON object of a struct that construction has not validated."""
        try:
            # convert refuses what JSON would quietly turn into something else (bytes, times);
            # reading it back refuses what convert lets pass (nested structs, NaN).
            if self._hooked:
                msgspec.convert(msgspec.structs.asdict(instance), self.struct, dec_hook=_dec_hook)
            else:
                msgspec.convert(msgspec.structs.asdict(instance), self.struct)
            raw = self._encode(instance)
            self._decode(raw)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._misfit(error, msgspec.structs.asdict(instance)) from None
        if len(raw) > HINT_BYTES:
            check_size(self.task, raw, hint=not self._hinted)
            self._hinted = True
        return raw

    def decode(self, raw: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and keyword arguments, ready for the handler.

        Raises InvalidPayload naming the argument, for bytes that are no JSON as well.
        """
        try:
            instance = self._decode(raw)
        except (ValueError, RecursionError) as error:
            raise self._misfit(error, _loosely(raw)) from None
        if self.whole:
            return (instance,), {}
        values = msgspec.structs.astuple(instance)
        if not self._keyword:
            return values, {}
        at = self._positional
        return values[:at], dict(zip(self._keyword, values[at:], strict=True))

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the object, its own definition on top.

        Raises InvalidTask for a type that JSON cannot hold.
        """
        try:
            schema = msgspec.json.schema(self.struct, schema_hook=_schema_hook)
        except _Custom as error:
            raise InvalidTask(
                f"task {self.task!r}: an argument has type {error}, which JSON cannot hold; pass "
                "what identifies it (an id, a path, a number) and look it up in the handler"
            ) from None
        except (TypeError, ValueError, NameError) as error:
            raise InvalidTask(
                f"task {self.task!r}: its arguments have no JSON schema: {error}; use types that "
                "JSON can hold"
            ) from None
        definitions = schema.get("$defs", {})
        own: dict[str, Any] = definitions.pop(schema.pop("$ref", "").rsplit("/", 1)[-1], {})
        own.pop("description", None)
        own["title"] = self.task
        if definitions:
            own["$defs"] = definitions
        return own

    def _misfit(self, error: Exception, values: object) -> InvalidPayload:
        """Word an error: the task, the field, its value, and what to give instead."""
        text = str(error)
        if isinstance(error, RecursionError):
            text = "nested too deeply, or it contains itself"
        text, _, path = text.partition(" - at ")
        field = path.strip("`").removeprefix("$").removeprefix(".")
        name = field.replace("[", ".").split(".", 1)[0]
        if not name and isinstance(values, Mapping):
            name = field = self._unfit_field(values)
        where = f" argument {field!r}:" if field else ""
        shown = ""
        if name and isinstance(values, Mapping) and name in values:
            shown = f" ({short(values[name])})"
        if not text[:2].isupper():
            text = text[:1].lower() + text[1:]
        return InvalidPayload(f"task {self.task!r}:{where} {text}{shown}; give {self._signature()}")

    def _unfit_field(self, values: Mapping[Any, Any]) -> str:
        """Return the name of the one value that cannot be encoded at all, or an empty string."""
        for name, value in values.items():
            try:
                self._encode(value)
            except (TypeError, ValueError, OverflowError, RecursionError):
                return str(name)
        return ""

    def _signature(self) -> str:
        shown = []
        for info in msgspec.structs.fields(self.struct):
            kind = info.type
            word = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
            generic = str(kind) if hasattr(kind, "__origin__") else word
            text = f"{info.name}: {generic}"
            if info.default is not msgspec.NODEFAULT:
                text += f" = {short(info.default)}"
            elif info.default_factory is not msgspec.NODEFAULT:
                text += " = …"
            shown.append(text)
        return f"{self.task}({', '.join(shown)})"


def encode_mapping(task: str, values: Mapping[str, Any]) -> bytes:
    """Return the JSON object of arguments for a task whose code is not here.

    Raises InvalidPayload for what JSON cannot hold and for more than 1 MiB.
    """
    try:
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            raise TypeError(f"Expected an object of named arguments, got {short(values)}")
        raw = msgspec.json.encode(dict(values), enc_hook=_enc_hook)
        if b"null" in raw:
            # What is no number is written like nothing.
            refuse_no_numbers(task, values)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidPayload(
            f"task {task!r}: {error}; give a mapping of argument names to JSON values"
        ) from None
    check_size(task, raw)
    return raw


def refuse_no_numbers(task: str, values: Mapping[str, Any]) -> None:
    """Raise InvalidPayload naming the argument that is, or holds, NaN or an infinite number."""
    problem = no_number(values)
    if problem:
        raise InvalidPayload(f"task {task!r}: argument {problem}")


def no_number(values: object) -> str:
    """Return where a value is, or holds, NaN or an infinite number, and what to give; else ""."""
    found = _no_number(values)
    if found is None:
        return ""
    path, value = found
    word = "NaN" if value != value else "-Infinity" if value < 0 else "Infinity"
    return (
        f"{path.removeprefix('.')!r}: {word} is no JSON value; give a number, null, or the text "
        f'"{word}" in quotes'
    )


def _no_number(value: Any) -> tuple[str, float] | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else ("", value)
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = [(f".{name}", each) for name, each in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = [(f"[{place}]", each) for place, each in enumerate(value)]
    for name, each in parts:
        found = _no_number(each)
        if found is not None:
            return name + found[0], found[1]
    return None


def check_size(task: str, raw: bytes, hint: bool = True) -> None:
    """Refuse a payload of more than 1 MiB (InvalidPayload) and log a hint for a large one."""
    if len(raw) > LIMIT_BYTES:
        raise InvalidPayload(
            f"task {task!r}: the payload has {len(raw)} bytes, more than the limit of "
            f"{LIMIT_BYTES}; store the data elsewhere and pass a reference"
        )
    if hint and len(raw) > HINT_BYTES:
        _log.warning(_HINT, task, len(raw), HINT_BYTES)


_HINT = "task %r: a payload of %d bytes (more than %d); better store the data and pass a reference"


def check_default(value: object, kind: Any) -> None:
    """Raise ValueError or TypeError when a default does not fit its type or JSON cannot hold it."""
    fitting = msgspec.convert(value, kind, dec_hook=_dec_hook)
    raw = msgspec.json.encode(fitting, enc_hook=_enc_hook)
    msgspec.json.decode(raw, type=kind, dec_hook=_dec_hook)


def short(value: object) -> str:
    """Return a value as a reader of an error message wants to see it: at most 80 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _loosely(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return raw[:_SHOWN]
