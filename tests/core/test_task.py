"""Functions and classes become tasks, or are refused with the reason."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.core.sentbox import SentBox

import qdeck
from qdeck.errors import InvalidTask, QdeckError, SettingsError, UnknownTask
from qdeck.task import Options, unique_digest

if TYPE_CHECKING:
    from pathlib import Path as OnlyForCheckers


@pytest.fixture
def box() -> SentBox:
    return SentBox()


def test_importing_the_package_loads_neither_engine_nor_redis() -> None:
    code = (
        "import sys, qdeck.admin; "
        "print([n for n in ('redis', 'msgspec', 'textual', 'click') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_fetched() -> None:
    for name in qdeck.__all__:
        assert getattr(qdeck, name).__name__
    assert set(qdeck.__all__) <= set(dir(qdeck))
    with pytest.raises(AttributeError, match="colour"):
        _ = qdeck.colour


async def test_a_decorated_function_can_be_called_and_enqueued(box: SentBox) -> None:
    @box.task
    async def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert await add(1) == 3
    assert (add.name, add.__doc__, add.__wrapped__.__name__) == ("add", "Add.", "add")
    assert (await add.enqueue(1)).task == "add"
    add.enqueue_sync(a=4, b=5)
    assert [call.payload for call in box.sent] == [b'{"a":1,"b":2}', b'{"a":4,"b":5}']
    assert add.call(1).options == Options()


def test_kinds_follow_the_function_and_run(box: SentBox) -> None:
    @box.task
    async def on_loop() -> None: ...

    @box.task
    def in_thread(ctx: qdeck.Context) -> None: ...

    @box.task(run="process")
    def in_child(n: int) -> int:
        return n

    @box.task(run="process")
    async def loop_in_child(ctx: qdeck.Context, n: int) -> int:
        return n

    specs = [(s.name, s.kind, s.is_async, s.wants_ctx) for s in box.registry]
    assert specs == [
        ("on_loop", "async", True, False),
        ("in_thread", "thread", False, True),
        ("in_child", "process", False, False),
        ("loop_in_child", "process", True, True),
    ]
    with pytest.raises(InvalidTask, match="plain def"):
        box.task(run="async")(lambda_named("plain"))


def lambda_named(name: str) -> Callable[[int], int]:
    def function(n: int) -> int:
        return n

    function.__name__ = name
    return function


def test_a_task_keeps_every_term(box: SentBox) -> None:
    @box.task(
        name="mail:send",
        queue="emails",
        max_retries=5,
        timeout=30,
        priority="high",
        backoff=[1, 9],
        unique=True,
        unique_for=60,
        expires=300,
    )
    async def send(to: str) -> None: ...

    spec = box.registry.get("mail:send")
    assert (spec.queue, spec.max_retries, spec.timeout, spec.priority) == ("emails", 5, 30.0, 6)
    assert (spec.unique, spec.unique_for, spec.expires) == (True, 60.0, 300.0)
    assert [spec.delay_after(n) for n in (1, 2, 3)] == [1, 9, 9]
    shown = msgspec.json.decode(msgspec.json.encode(spec.describe()))
    assert shown["schema"]["properties"] == {"to": {"type": "string"}}
    assert shown["kind"] == "async"


def test_options_lie_on_top_of_each_other_and_change_no_handle(box: SentBox) -> None:
    @box.task
    async def work(n: int) -> None: ...

    at = datetime(2030, 1, 1, tzinfo=UTC)
    first = work.options(delay=60, queue="bulk", priority="critical", metadata={"a": 1})
    second = first.options(at=at, unique="k", unique_for=5, expires=9, max_retries=0, timeout=2)
    assert first.call(1).options == Options(delay=60.0, queue="bulk", priority=8, metadata={"a": 1})
    assert second.call(1).options == Options(
        at=at,
        queue="bulk",
        priority=8,
        metadata={"a": 1},
        unique="k",
        unique_for=5.0,
        expires=9.0,
        max_retries=0,
        timeout=2.0,
    )
    assert work.call(1).options == Options()


@pytest.mark.parametrize(
    "option",
    [
        {"delay": -1},
        {"delay": math.nan},
        {"delay": math.inf},
        {"delay": "5"},
        {"at": datetime(2030, 1, 1)},
        {"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)},
        {"queue": "a b"},
        {"queue": ""},
        {"priority": 10},
        {"priority": "urgent"},
        {"expires": datetime(2030, 1, 1)},
        {"expires": -1},
        {"unique": ""},
        {"unique": "k" * 5000},
        {"unique_for": -1},
        {"metadata": {"a": object()}},
        {"metadata": {1: 2}},
        {"metadata": {"a": [float("nan")]}},
        {"metadata": {"a": "x" * 100_000}},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"timeout": 0},
        {"timeout": math.inf},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_unusable_option_is_refused_by_name(box: SentBox, option: dict[str, Any]) -> None:
    @box.task
    async def work() -> None: ...

    with pytest.raises(SettingsError, match=next(iter(option))) as caught:
        work.options(**option)
    assert len(str(caught.value)) < 400, "one line to read"


def test_unique_stands_for_the_arguments_a_template_or_a_key(box: SentBox) -> None:
    @box.task(unique="user-{user}")
    def greet(user: int, text: str = "") -> None: ...

    @box.task(unique=True)
    def count(a: int, b: int = 2) -> None: ...

    @box.task
    def free(a: int) -> None: ...

    assert greet.call(1, "x").unique_key() == greet.call(1, "y").unique_key()
    assert greet.call(1).unique_key() != greet.call(2).unique_key()
    assert greet.options(unique=False).call(1).unique_key() is None
    assert count.call(1).unique_key() == count.call(b=2, a=1).unique_key()
    assert count.call(1).unique_key() != count.call(2).unique_key()
    assert count.call(1).unique_key() == unique_digest("count", True, b'{"b":2,"a":1}')
    assert free.call(1).unique_key() is None
    keyed = free.options(unique="{a}").call(1).unique_key()
    assert keyed == unique_digest("free", "{a}", b"")
    assert keyed != unique_digest("other", "{a}", b"")


def only_any(first: Any) -> None: ...
def only_object(first: object) -> None: ...
def positional_only(first: int, /) -> None: ...
def any_number(*args: int) -> None: ...
def any_names(**kwargs: int) -> None: ...
def untyped_context(ctx, n: int) -> None: ...  # type: ignore[no-untyped-def]
def late_context(n: int, ctx: qdeck.Context) -> None: ...
def yields() -> Any:
    yield 1


async def yields_async() -> Any:
    yield 1


def only_for_checkers(path: OnlyForCheckers) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (only_any, "'first' is typed"),
        (only_object, "'first' is typed"),
        (positional_only, "positional-only"),
        (any_number, "take a list"),
        (any_names, "take a dict"),
        (untyped_context, "ctx: qdeck.Context"),
        (late_context, "make it the first"),
        (yields, "yields"),
        (yields_async, "yields"),
        (only_for_checkers, "TYPE_CHECKING"),
        (int, "decorate a function"),
        (lambda n: n, "<lambda>"),
        (3, "decorate a function"),
    ],
)
def test_a_function_that_cannot_be_called_from_json_is_refused(
    box: SentBox, function: Any, words: str
) -> None:
    with pytest.raises(QdeckError, match=words):
        box.task(function)
    assert len(box.registry) == 0


def test_a_return_type_only_for_checkers_does_no_harm(box: SentBox) -> None:
    @box.task
    def find(name: str) -> OnlyForCheckers: ...  # type: ignore[empty-body]

    assert find.call("x").payload == b'{"name":"x"}'


def test_arguments_after_an_unannotated_one_are_fine(box: SentBox) -> None:
    @box.task
    def loose(a, b=2): ...  # type: ignore[no-untyped-def]

    assert loose.call({"x": 1}).payload == b'{"a":{"x":1},"b":2}'


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 101, "a/b"])
def test_a_task_name_of_other_letters_is_refused(box: SentBox, name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        box.task(name=name)


def test_a_name_is_taken_once(box: SentBox) -> None:
    box.task(lambda_named("one"))
    with pytest.raises(InvalidTask, match=r"'one'.*lambda_named"):
        box.task(lambda_named("one"))
    with pytest.raises(UnknownTask, match=r"'two'.*one"):
        box.registry.get("two")
    assert box.registry.find("two") is None


def test_a_unique_template_names_arguments(box: SentBox) -> None:
    with pytest.raises(SettingsError, match="'user'"):
        box.task(unique="{user}")(lambda_named("one"))
    with pytest.raises(SettingsError, match="template"):
        box.task(unique="{n")(lambda_named("two"))
    box.task(unique="{n!r:>5}-{{x}}")(lambda_named("three"))


def test_a_backoff_function_that_fails_gives_way_to_the_default(box: SentBox) -> None:
    @box.task(backoff=lambda attempt: 1 / 0)
    def work() -> None: ...

    assert box.registry.get("work").delay_after(2) == 2
