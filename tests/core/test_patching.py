"""Changes to payloads: what they make of one, what they keep, and what a task refuses."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeck.admin import Change, Denied
from qdeck.deck import Deck
from qdeck.errors import InvalidPayload
from qdeck.patching import Edit, decode_changes, encode_changes, fit, misfit, patched, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


class Line(msgspec.Struct):
    """One line of an order."""

    sku: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


def make() -> Deck:
    deck = Deck("sync://")

    @deck.task
    def bill(
        invoice: int,
        to: str,
        currency: Literal["EUR", "USD"] | None = None,
        lines: list[Line] | None = None,
        at: UUID | None = None,
        weights: dict[str, float] | None = None,
        pair: tuple[int, str] = (1, "a"),
    ) -> None: ...

    return deck


PUBLISHED: dict[str, Any] = json.loads(msgspec.json.encode(next(iter(make().registry)).describe()))


def parsed(*lines: str) -> tuple[Edit, ...]:
    found = [Change.parse(line) for line in lines]
    return plain([(each.kind, each.path, each.value) for each in found])


@pytest.mark.parametrize(
    ("lines", "before", "after"),
    [
        (['args.currency = "EUR"'], '{"amount": 990}', '{"amount":990,"currency":"EUR"}'),
        (["currency = EUR"], '{"amount": 990}', '{"amount":990,"currency":"EUR"}'),
        (["args.amount = 2"], '{"amount":1,"x":1.10}', '{"amount":2,"x":1.10}'),
        (["-args.x"], '{"amount":1,"x":1.10}', '{"amount":1}'),
        (["args.x -> y"], '{"x":1.10,"z":2}', '{"y":1.10,"z":2}'),
        (["args.to.name = 1"], '{"to":{"a":1}}', '{"to":{"a":1,"name":1}}'),
        (["args.to.name = 1"], "{}", '{"to":{"name":1}}'),
        (["args.to.a -> b"], '{"to":{"a":1,"c":2}}', '{"to":{"b":1,"c":2}}'),
        (["-args.to.a"], '{"to":{"a":1,"c":2}}', '{"to":{"c":2}}'),
        (["args.list.1 = 9"], '{"list":[1,2,3]}', '{"list":[1,9,3]}'),
        (["args.a = 1", "args.b = 2", "-args.c"], '{"c":3}', '{"a":1,"b":2}'),
        (['args.note = "a = b -> c"'], "{}", '{"note":"a = b -> c"}'),
    ],
)
def test_a_change_makes_of_a_payload_what_it_says(
    lines: list[str], before: str, after: str
) -> None:
    assert patched(before, parsed(*lines)) == after


@pytest.mark.parametrize(
    "line", ["args.a = 1", "-args.x", "args.x -> y", "-args.b.x", "args.b.x -> y", "args.b = {}"]
)
def test_a_change_that_changes_nothing_keeps_every_byte(line: str) -> None:
    before = '{ "a": 1,  "b": {}, "big": 12345678901234567890, "float": 1.10 }'
    assert patched(before, parsed(line)) == before


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), VALUES)
def test_other_arguments_keep_their_bytes_and_values(kept: dict[str, Any], value: Any) -> None:
    kept.pop("new", None)
    raw = json.dumps(kept)
    result = patched(raw, [("set", "new", json.dumps(value))])
    assert json.loads(result) == {**kept, "new": value}
    assert patched(result, [("unset", "new", "")]) in (raw, _compact(kept, raw))


def _compact(kept: dict[str, Any], raw: str) -> str:
    parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return "{" + ",".join(
        f"{json.dumps(name, ensure_ascii=False)}:{bytes(each).decode()}"
        for name, each in parts.items()
    ) + "}"  # fmt: skip


@pytest.mark.parametrize(
    ("line", "payload", "said"),
    [
        ("args.x -> y", '{"x":1,"y":2}', "'y' is there already"),
        ("args.x.y = 1", '{"x":5}', "5 holds no 'y'"),
        ("-args.list.0", '{"list":[1]}', "item of a list"),
        ("args.x = 1", "[1]", "not readable"),
        ("args.x = 1", "{", "not readable"),
    ],
)
def test_a_change_that_cannot_be_made_says_why(line: str, payload: str, said: str) -> None:
    with pytest.raises(InvalidPayload, match=said):
        patched(payload, parsed(line))


@pytest.mark.parametrize("line", ["", "args.x", "= 3", "args.x =", "a b = 3", "-"])
def test_a_line_that_is_no_change_is_refused(line: str) -> None:
    with pytest.raises(Denied, match="is no change"):
        Change.parse(line)


@pytest.mark.parametrize("line", ["args.x = 1", "-args.x", "args.x -> y", 'args.x = "a b"'])
def test_a_change_is_written_as_it_is_read(line: str) -> None:
    change = Change.parse(line)
    assert change.line == line
    edit = (change.kind, change.path, change.value)
    assert decode_changes(encode_changes([edit])) == (edit,)


@pytest.mark.parametrize("line", ["args. = 1", "a..b = 1"])
def test_a_path_that_names_nothing_is_refused(line: str) -> None:
    with pytest.raises(InvalidPayload, match="names no argument"):
        parsed(line)


def test_stored_changes_that_are_not_readable_are_none() -> None:
    assert decode_changes("{") == decode_changes("") == decode_changes("[[1]]") == ()


@pytest.mark.parametrize(
    "payload",
    [
        '{"invoice":1,"to":"a"}',
        '{"invoice":1.0,"to":"a","currency":"EUR"}',
        '{"invoice":1,"to":"a","currency":null,"lines":[{"sku":"x","count":2}]}',
        '{"invoice":1,"to":"a","at":"3a8fae9c-7a2c-4c39-a7b7-4f7f0f0f0f0f","weights":{"a":1,"b":0.5}}',
        '{"invoice":1,"to":"a","pair":[2,"b"]}',
    ],
)
def test_what_a_task_takes_is_kept_byte_for_byte(payload: str) -> None:
    assert fit("bill", payload, PUBLISHED) == payload


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"to":"a"}', "argument 'invoice': it is missing"),
        ('{"invoice":"1","to":"a"}', "argument 'invoice': expected integer, got string '1'"),
        ('{"invoice":true,"to":"a"}', "argument 'invoice'"),
        ('{"invoice":1,"to":"a","currency":"GBP"}', "argument 'currency'"),
        ('{"invoice":1,"to":"a","lines":[{"sku":"x"},{"count":2}]}', "argument 'lines.1.sku'"),
        ('{"invoice":1,"to":"a","lines":[{"sku":"x","count":0}]}', "minimum 1"),
        ('{"invoice":1,"to":"a","at":"soon"}', "'soon' is no uuid"),
        ('{"invoice":1,"to":"a","weights":{"a":"x"}}', "argument 'weights.a'"),
        ('{"invoice":1,"to":"a","pair":[1,"a",2]}', "argument 'pair'"),
        ("[1]", "an object of named arguments"),
        ("{", "no JSON"),
    ],
)
def test_what_a_task_refuses_is_refused_with_the_argument_named(payload: str, said: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        fit("bill", payload, PUBLISHED)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_payload_that_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="limit"):
        fit("bill", json.dumps({"x": "y" * 1_100_000}), {})


def test_a_task_that_nobody_published_takes_any_object() -> None:
    assert fit("other", '{"x": 1}', {}) == '{"x": 1}'
    assert misfit({}, {"x": 1}) == ""


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {"invoice": VALUES, "to": VALUES},
        optional={"currency": st.sampled_from(["EUR", "GBP", None, 1]), "pair": VALUES},
    )
)
def test_the_published_schema_and_the_task_itself_refuse_the_same(values: dict[str, Any]) -> None:
    raw = json.dumps(values)
    payload = next(iter(make().registry)).payload
    try:
        payload.decode(raw.encode())
        taken = True
    except InvalidPayload:
        taken = False
    assert (misfit(PUBLISHED["schema"], values) == "") == taken
