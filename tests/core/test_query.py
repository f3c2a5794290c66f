"""The query language: one parser for filters and bulk operations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeck.errors import InvalidQuery
from qdeck.query import FIELDS, Candidate, parse

JOB = Candidate(
    "01J8F3K2ABCDEF",
    "emails",
    "send_invoice",
    priority=6,
    attempt=3,
    age=700.0,
    worker="host-b:3120",
    error="KeyError: 'currency' is missing",
    message="half way",
    payload='{"invoice":88121,"to":"a@example.org","tags":["x","y"],"deep":{"a.b":1,"ok":true},'
    '"none":null}',
    metadata='{"schedule":"nightly"}',
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "task:send_invoice",
        "TASK:SEND_INVOICE",
        "task:send_*",
        "task:*voice queue:emails",
        "id:01j8f3k2abcdef",
        "id~f3k2",
        "worker:host-b:3120",
        "error~timeout|currency -error~timeout".replace("timeout|", ""),
        "error:KeyError",
        "error:\"KeyError: 'currency' is missing\"",
        "message~half",
        "age:>10m",
        "age:<12m",
        "age:>=700",
        "age:<=700s",
        "-age:>1h",
        "priority:6",
        "attempt:>2",
        "attempt:3",
        "args.invoice:88121",
        "args.invoice:>88120",
        "args.to:a@example.org",
        "args.to~EXAMPLE",
        "args.tags.1:y",
        "args.deep.ok:true",
        "args.none:null",
        "-args.missing:1",
        "meta.schedule:night*",
        "invoice",
        "INVOICE currency",
        '"half way"',
        "'half way'",
        "-nothing",
        '-"half way there"',
        "a@example.org",
    ],
)
def test_what_matches(text: str) -> None:
    assert parse(text).matches(JOB)


@pytest.mark.parametrize(
    "text",
    [
        "task:send",
        "task:send_?nvoice",
        "task:send_[i]nvoice",
        "-task:send_invoice",
        "queue:emails task:other",
        "age:>1h",
        "priority:4",
        "attempt:<3",
        "args.invoice:8812",
        "args.tags.7:y",
        "args.tags.x:y",
        "args.to.x:a",
        "args.missing:",
        "args.missing:1",
        "args.to:>5",
        "args.deep.ok:>0",
        "meta.other:1",
        "error:currency",
        "nothing",
        "-invoice",
    ],
)
def test_what_does_not_match(text: str) -> None:
    if text.endswith(":"):
        with pytest.raises(InvalidQuery):
            parse(text)
    else:
        assert not parse(text).matches(JOB)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour:red", "'colour' is no field"),
        ("task:a colour~red", "'colour~red'"),
        ("args:1", "'args' is no field"),
        ("task.x:1", "'task.x' is no field"),
        ("age:>10x", "no number and no span"),
        ("age:soon", "no number and no span"),
        ("priority:high", "no number"),
        ("task:", "has no value"),
        ("-", "says nothing"),
        ('""', "says nothing"),
        ('"open', "quote"),
        ("task:'open", "quote"),
        ('task:"a"b', "quote"),
    ],
)
def test_what_does_not_parse_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidQuery, match=said) as raised:
        parse(text)
    assert "\n" not in str(raised.value)


def test_a_query_tells_what_it_needs_to_read() -> None:
    assert parse("id:x queue:y").parts == frozenset()
    assert parse("task:x age:>1m").parts == {"record"}
    assert parse("args.x:1").parts == {"record", "payload"}
    assert parse("attempt:1 worker:w").parts == {"run"}
    assert parse("error~x").parts == {"error"}
    assert parse("word").parts == {"record", "payload", "run", "error"}


def test_what_is_unknown_of_a_job_matches_no_comparison() -> None:
    bare = Candidate("x", "q", payload="not json", metadata="[")
    for text in ("age:>0", "age:<5", "priority:4", "attempt:0", "args.a:1", "meta.a:1", "task:a"):
        assert not parse(text).matches(bare), text


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused_in_words(text: str) -> None:
    try:
        found = parse(text)
    except InvalidQuery:
        return
    assert isinstance(found.matches(JOB), bool)


@given(st.sampled_from(FIELDS[:6]), st.text(min_size=1, max_size=30))
def test_any_quoted_value_is_compared_as_it_is(field: str, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    job = Candidate("x", "q")
    setattr(job, field, value)
    assert parse(f'{field}~"{quoted}"').matches(job)
    assert parse(f'-{field}~"{quoted}"').matches(job) is False
