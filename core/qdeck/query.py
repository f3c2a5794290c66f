"""The query language for jobs, used for filtering and for bulk operations alike.

A query is words, all of which must match; `-` before a word turns it around:

    task:send_*         a field equals a value (case does not matter, `*` stands for anything)
    error~timeout       a field contains a text
    age:>10m            a number or a span of time (s, m, h, d) is greater or less
    args.to:a@b.org     a value within the payload, by path; `meta.x` within the metadata
    invoice             a bare word stands in id, task, payload, error or message

Values with spaces or colons stand in quotes. Pure: knows no server.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

import msgspec

from qdeck.errors import InvalidQuery

__all__ = ["FIELDS", "Candidate", "Query", "parse"]

_WORD: Final = re.compile(
    r"""(?P<minus>-?)
        (?:(?P<field>[A-Za-z_]+(?:\.[^\s:~"']+)?)(?P<sign>[:~]))?+
        (?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"']\S*)?
        (?=\s|$)""",
    re.VERBOSE,
)
_COMPARED: Final = re.compile(r"(>=|<=|>|<)(.*)", re.DOTALL)
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXTS: Final = ("id", "task", "queue", "worker", "error", "message")
_NUMBERS: Final = ("priority", "attempt", "age")
FIELDS: Final = (*_TEXTS, *_NUMBERS, "args", "meta")
#: Which stored parts a field is read from.
_PARTS: Final = {
    "id": frozenset[str](),
    "queue": frozenset[str](),
    "task": frozenset({"record"}),
    "priority": frozenset({"record", "payload"}),
    "age": frozenset({"record"}),
    "args": frozenset({"record", "payload"}),
    "meta": frozenset({"record", "payload"}),
    "worker": frozenset({"run"}),
    "attempt": frozenset({"run"}),
    "message": frozenset({"run"}),
    "error": frozenset({"error"}),
    "": frozenset({"record", "payload", "run", "error"}),
}


@dataclass
class Candidate:
    """A job as a query sees it; `age` in seconds since it was created. Unread parts are empty."""

    id: str
    queue: str
    task: str = ""
    priority: float | None = None
    attempt: float | None = None
    age: float | None = None
    worker: str = ""
    error: str = ""
    message: str = ""
    payload: str = ""
    metadata: str = ""

    @cached_property
    def args(self) -> Any:
        """The payload as a value."""
        return _json(self.payload)

    @cached_property
    def meta(self) -> Any:
        """The metadata as a value."""
        return _json(self.metadata)

    @cached_property
    def all_text(self) -> str:
        """What bare words are looked for in, in lower case."""
        parts = (self.id, self.task, self.payload, self.error, self.message)
        return "\n".join(parts).lower()


Test = Callable[[Candidate], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. `parts` are what must be read of each job: `record` (its head), `payload`,
    `run`, `error`.
    """

    text: str
    tests: tuple[Test, ...]
    parts: frozenset[str]

    def matches(self, job: Candidate) -> bool:
        """Whether all words match."""
        return all(test(job) for test in self.tests)


def parse(text: str) -> Query:
    """Return a query from its text; an empty one matches everything. Raises InvalidQuery."""
    tests: list[Test] = []
    parts: frozenset[str] = frozenset()
    at, end = 0, len(text)
    while at < end:
        if text[at].isspace():
            at += 1
            continue
        found = _WORD.match(text, at)
        word = text[at:].split(None, 1)[0]
        if found is None or found.end() == at:
            raise InvalidQuery(f"{word!r} does not parse: a quote is open, or stands within a word")
        test, needed = _test(found, word)
        tests.append(_not(test) if found["minus"] else test)
        parts |= needed
        at = found.end()
    return Query(text.strip(), tuple(tests), parts)


def _test(found: re.Match[str], word: str) -> tuple[Test, frozenset[str]]:
    value = _unquote(found["value"] or "")
    if found["field"] is None:
        if not value:
            raise InvalidQuery(f"{word!r} says nothing; put a word behind the minus")
        wanted = value.lower()
        return lambda job: wanted in job.all_text, _PARTS[""]
    field, _, path = found["field"].partition(".")
    field = field.lower()
    if field not in FIELDS or bool(path) != (field in ("args", "meta")):
        known = ", ".join((*_TEXTS, *_NUMBERS, "args.NAME", "meta.NAME"))
        raise InvalidQuery(
            f"{word!r}: {found['field']!r} is no field; use one of {known}, or put the word in "
            "quotes to look for it as it is"
        )
    if not value:
        raise InvalidQuery(f"{word!r} has no value; write it right behind {found['sign']!r}")
    return _field_test(field, path, found["sign"], value, word), _PARTS[field]


def _field_test(field: str, path: str, sign: str, value: str, word: str) -> Test:
    read = _reader(field, path)
    if sign == "~":
        wanted = value.lower()
        return lambda job: wanted in _shown(read(job)).lower()
    compared = _COMPARED.fullmatch(value)
    if compared is not None:
        holds, limit = _SIGNS[compared[1]], _span(compared[2], word)
        return lambda job: _holds(read(job), holds, limit)
    if field in _NUMBERS:
        number = _span(value, word)
        return lambda job: _holds(read(job), operator.eq, number)
    pattern = value.lower()
    if "*" in pattern:
        # Only `*` is special: what fnmatch knows besides is taken as it is.
        pattern = pattern.replace("[", "[[]").replace("?", "[?]")
        return lambda job: fnmatchcase(_shown(read(job)).lower(), pattern)
    if field == "error":
        return lambda job: pattern in (job.error.lower(), job.error.partition(":")[0].lower())
    return lambda job: _shown(read(job)).lower() == pattern


def _reader(field: str, path: str) -> Callable[[Candidate], Any]:
    if field not in ("args", "meta"):
        return operator.attrgetter(field)
    steps = path.split(".")

    def read(job: Candidate) -> Any:
        value = job.args if field == "args" else job.meta
        for step in steps:
            if isinstance(value, dict):
                value = value.get(step, _MISSING)
            elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            else:
                return _MISSING
        return value

    return read


_MISSING: Final = object()


def _shown(value: Any) -> str:
    """Return a value as it is compared: a text as it is, a missing one as nothing, else JSON."""
    if isinstance(value, str):
        return value
    if value is _MISSING:
        return ""
    return msgspec.json.encode(value).decode()


def _holds(value: Any, holds: Callable[[float, float], bool], limit: float) -> bool:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return False
    return isinstance(value, (int, float)) and not isinstance(value, bool) and holds(value, limit)


def _span(value: str, word: str) -> float:
    found = _SPAN.fullmatch(value.strip())
    if found is None:
        raise InvalidQuery(f"{word!r}: {value!r} is no number and no span like 90s, 10m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] in "\"'" and value[-1] == value[0]:
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _not(test: Test) -> Test:
    return lambda job: not test(job)


def _json(raw: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return None
