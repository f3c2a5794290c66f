"""Arguments on their way into a job and out of it."""

from __future__ import annotations

import enum
import json
import logging
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeck.errors import InvalidPayload, InvalidTask
from qdeck.handle import function_spec
from qdeck.payload import HINT_BYTES, LIMIT_BYTES, encode_mapping
from qdeck.task import TaskSpec


class Colour(enum.Enum):
    RED = "red"


class Address(msgspec.Struct):
    street: str
    number: int = 1


@dataclass
class Point:
    x: float
    y: float


class Options(TypedDict):
    deep: bool


def everything(
    text: str,
    number: int,
    share: float,
    when: datetime,
    day: date,
    wait: timedelta,
    price: Decimal,
    uid: UUID,
    raw: bytes,
    path: Path,
    colour: Colour,
    address: Address,
    point: Point,
    options: Options,
    words: list[str],
    pair: tuple[int, str],
    unique: set[int],
    table: dict[str, float],
    mode: Literal["a", "b"],
    maybe: int | None,
    small: Annotated[int, msgspec.Meta(le=10)],
    *,
    named: str = "x",
) -> None: ...


EVERYTHING: dict[str, Any] = {
    "text": "é",
    "number": -3,
    "share": 2.5,
    "when": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "day": date(2026, 1, 2),
    "wait": timedelta(seconds=90),
    "price": Decimal("9.99"),
    "uid": UUID(int=7),
    "raw": b"\x00\xff",
    "path": Path("a/b"),
    "colour": Colour.RED,
    "address": Address("Main"),
    "point": Point(1.0, 2.0),
    "options": {"deep": True},
    "words": ["a"],
    "pair": (1, "b"),
    "unique": {1, 2},
    "table": {"a": 1.5},
    "mode": "a",
    "maybe": None,
    "small": 10,
}


def mail(to: str, subject: str, body: str = "", *, copies: int = 1) -> None: ...


def spec_of(function: Any) -> TaskSpec:
    return function_spec(function, {})


def test_arguments_come_back_as_they_went_in() -> None:
    spec = spec_of(everything)
    args, kwargs = spec.decode(spec.encode((), EVERYTHING))
    assert args == tuple(EVERYTHING.values())
    assert kwargs == {"named": "x"}


def test_a_payload_is_a_json_object_with_the_defaults_filled_in() -> None:
    raw = spec_of(mail).encode(("a@example.org",), {"subject": "hi"})
    assert json.loads(raw) == {"to": "a@example.org", "subject": "hi", "body": "", "copies": 1}


def test_a_payload_without_the_optional_arguments_gets_the_defaults_when_it_is_read() -> None:
    assert spec_of(mail).decode(b'{"to":"a","subject":"b"}') == (("a", "b", ""), {"copies": 1})


def test_a_mutable_default_is_not_shared_between_jobs() -> None:
    def collect(first: int, seen: list[int] = [1]) -> None: ...  # noqa: B006

    spec = spec_of(collect)
    (_, one), _ = spec.decode(b'{"first":1}')
    one.append(2)
    (_, two), _ = spec.decode(b'{"first":1}')
    assert two == [1]


@given(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_comes_back(text: str, number: int, share: float) -> None:
    def take(text: str, number: int, share: float) -> None: ...

    spec = spec_of(take)
    try:
        raw = spec.encode((text, number, share), {})
    except InvalidPayload:
        assert any("\ud800" <= letter <= "\udfff" for letter in text)
        return
    assert spec.decode(raw) == ((text, number, share), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, ["missing", "'to'"]),
        (("a",), {}, ["missing", "'subject'"]),
        (("a", "b", "c", 2), {}, ["positional"]),
        (("a", "b"), {"subjct": 1}, ["unexpected", "'subjct'"]),
        (("a", "b"), {"to": "c"}, ["'to'"]),
        (("a", 1), {}, ["'subject'", "`str`", "`int`", "(1)"]),
        (("a", b"x"), {}, ["'subject'", "`bytes`"]),
        (("a", datetime(2026, 1, 1, tzinfo=UTC)), {}, ["'subject'", "datetime"]),
        (("a", None), {}, ["'subject'", "null"]),
        (("a", "b"), {"copies": "2"}, ["'copies'", "`int`"]),
        (("a", "b"), {"copies": True}, ["'copies'", "`bool`"]),
        (("a", "\ud800"), {}, ["'subject'", "surrogates"]),
        (("a", object()), {}, ["'subject'"]),
    ],
)
def test_a_wrong_argument_is_refused_by_name(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InvalidPayload) as caught:
        spec_of(mail).encode(args, kwargs)
    text = str(caught.value)
    assert all(word in text for word in [*words, "task 'mail'", "give mail(to: str"])
    assert "\n" not in text


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"to":1,"subject":"b"}', ["'to'", "`int`", "(1)"]),
        (b'{"to":"a"}', ["missing", "`subject`"]),
        (b'{"to":"a","subject":"b","x":1}', ["unknown", "`x`"]),
        (b"[]", ["`object`", "`array`"]),
        (b"{", ["truncated"]),
        (b"\xff\x00", ["malformed"]),
        (b"", ["truncated"]),
    ],
)
def test_a_stored_payload_that_does_not_fit_is_refused_by_name(
    raw: bytes, words: list[str]
) -> None:
    with pytest.raises(InvalidPayload) as caught:
        spec_of(mail).decode(raw)
    assert all(word in str(caught.value) for word in words)


def test_what_json_would_change_quietly_is_refused() -> None:
    def measure(share: float, where: Address, extra: dict[str, Any]) -> None: ...

    spec = spec_of(measure)
    with pytest.raises(InvalidPayload, match="'share'"):
        spec.encode((math.nan, Address("a"), {}), {})
    broken: Any = Address(street=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match=r"'where\.street'"):
        spec.encode((1.0, broken, {}), {})
    with pytest.raises(InvalidPayload, match="'extra'"):
        spec.encode((1.0, Address("a"), {"a": object()}), {})
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(InvalidPayload, match=r"'extra'.*contains itself"):
        spec.encode((1.0, Address("a"), loop), {})


def test_a_payload_over_the_limit_is_refused_with_its_size_and_the_limit() -> None:
    with pytest.raises(InvalidPayload, match=rf"{2 * LIMIT_BYTES + 45} bytes.*{LIMIT_BYTES}"):
        spec_of(mail).encode(("a", "b"), {"body": "x" * (2 * LIMIT_BYTES)})
    with pytest.raises(InvalidPayload, match=str(LIMIT_BYTES)):
        encode_mapping("far", {"x": "y" * LIMIT_BYTES})


def test_by_name_what_is_no_number_is_refused_with_the_argument_named() -> None:
    for values, where in (
        ({"x": math.nan}, "argument 'x': NaN"),
        ({"n": None, "x": {"y": [1, {"z": -math.inf}]}}, r"argument 'x\.y\[1\]\.z': -Infinity"),
        ({"x": (math.inf,)}, r"argument 'x\[0\]': Infinity"),
    ):
        with pytest.raises(InvalidPayload, match=where):
            encode_mapping("far", values)
    assert encode_mapping("far", {"x": None, "y": 1e300}) == b'{"x":null,"y":1e300}'


def test_a_large_payload_logs_a_hint_once_a_task(caplog: pytest.LogCaptureFixture) -> None:
    spec = spec_of(mail)
    with caplog.at_level(logging.INFO, "qdeck"):
        spec.encode(("a", "b"), {"body": "x" * 1000})
        assert not caplog.records
        spec.encode(("a", "b"), {"body": "x" * HINT_BYTES})
        spec.encode(("a", "b"), {"body": "x" * HINT_BYTES})
    assert ["reference" in record.getMessage() for record in caplog.records] == [True]


def test_a_payload_for_unknown_code_is_any_json_object() -> None:
    assert encode_mapping("far", {"a": 1, "b": [None]}) == b'{"a":1,"b":[null]}'
    for wrong in ([1], {1: 2}, {"a": object()}, "text"):
        with pytest.raises(InvalidPayload, match="far"):
            encode_mapping("far", wrong)  # type: ignore[arg-type]


def test_the_schema_has_the_arguments_on_top() -> None:
    schema = spec_of(mail).schema()
    assert schema["title"] == "mail"
    assert list(schema["properties"]) == ["to", "subject", "body", "copies"]
    assert schema["required"] == ["to", "subject"]
    assert schema["additionalProperties"] is False
    assert "Address" in spec_of(everything).schema()["$defs"]


def test_types_that_a_function_defines_for_itself_are_found() -> None:
    class Local(msgspec.Struct):
        size: int

    def take(what: Local, more: list[Local] | None = None) -> Local:
        return what

    spec = function_spec(take, {})
    assert spec.decode(b'{"what":{"size":3}}') == ((Local(3), None), {})


def test_a_type_that_json_cannot_hold_is_refused_at_registration() -> None:
    def take(lock: logging.Logger) -> None: ...

    with pytest.raises(InvalidTask, match="Logger"):
        spec_of(take)


def test_a_default_that_does_not_fit_its_type_is_refused_at_registration() -> None:
    def take(n: int = "one") -> None: ...  # type: ignore[assignment]

    with pytest.raises(InvalidTask, match="'n'"):
        spec_of(take)
