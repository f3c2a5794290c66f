"""Functions and classes become tasks, or are refused with the reason."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pytest

import qdeck
from qdeck.classtask import TaskMeta
from qdeck.errors import InvalidPayload, InvalidTask, QdeckError, SettingsError, UnknownTask
from qdeck.handle import TaskDecorators
from qdeck.task import Call, Options, Registry, unique_digest

if TYPE_CHECKING:
    from pathlib import Path as OnlyForCheckers

R = TypeVar("R")


class Deck(TaskDecorators):
    """A deck that keeps what would be sent."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.sent: list[Call[Any]] = []

    async def send(self, call: Call[R]) -> qdeck.Job[R]:
        return self.send_sync(call)

    def send_sync(self, call: Call[R]) -> qdeck.Job[R]:
        self.sent.append(call)
        state = qdeck.State.PENDING
        return qdeck.Job(id=str(len(self.sent)), task=call.spec.name, queue="x", state=state)


@pytest.fixture
def deck() -> Deck:
    return Deck()


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


async def test_a_decorated_function_can_be_called_and_enqueued(deck: Deck) -> None:
    @deck.task
    async def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert await add(1) == 3
    assert (add.name, add.__doc__, add.__wrapped__.__name__) == ("add", "Add.", "add")
    assert (await add.enqueue(1)).task == "add"
    add.enqueue_sync(a=4, b=5)
    assert [call.payload for call in deck.sent] == [b'{"a":1,"b":2}', b'{"a":4,"b":5}']
    assert add.call(1).options == Options()


def test_kinds_follow_the_function_and_run(deck: Deck) -> None:
    @deck.task
    async def on_loop() -> None: ...

    @deck.task
    def in_thread(ctx: qdeck.Context) -> None: ...

    @deck.task(run="process")
    def in_child(n: int) -> int:
        return n

    @deck.task(run="process")
    async def loop_in_child(ctx: qdeck.Context, n: int) -> int:
        return n

    specs = [(s.name, s.kind, s.is_async, s.wants_ctx) for s in deck.registry]
    assert specs == [
        ("on_loop", "async", True, False),
        ("in_thread", "thread", False, True),
        ("in_child", "process", False, False),
        ("loop_in_child", "process", True, True),
    ]
    with pytest.raises(InvalidTask, match="plain def"):
        deck.task(run="async")(lambda_named("plain"))


def lambda_named(name: str) -> Callable[[int], int]:
    def function(n: int) -> int:
        return n

    function.__name__ = name
    return function


def test_a_task_keeps_every_term(deck: Deck) -> None:
    @deck.task(
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

    spec = deck.registry.get("mail:send")
    assert (spec.queue, spec.max_retries, spec.timeout, spec.priority) == ("emails", 5, 30.0, 6)
    assert (spec.unique, spec.unique_for, spec.expires) == (True, 60.0, 300.0)
    assert [spec.delay_after(n) for n in (1, 2, 3)] == [1, 9, 9]
    shown = msgspec.json.decode(msgspec.json.encode(spec.describe()))
    assert shown["schema"]["properties"] == {"to": {"type": "string"}}
    assert shown["kind"] == "async"


def test_options_lie_on_top_of_each_other_and_change_no_handle(deck: Deck) -> None:
    @deck.task
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
        {"unique_for": -1},
        {"metadata": {"a": object()}},
        {"metadata": {1: 2}},
        {"metadata": {"a": "x" * 100_000}},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"timeout": 0},
        {"timeout": math.inf},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_unusable_option_is_refused_by_name(deck: Deck, option: dict[str, Any]) -> None:
    @deck.task
    async def work() -> None: ...

    with pytest.raises(SettingsError, match=next(iter(option))):
        work.options(**option)


def test_unique_stands_for_the_arguments_a_template_or_a_key(deck: Deck) -> None:
    @deck.task(unique="user-{user}")
    def greet(user: int, text: str = "") -> None: ...

    @deck.task(unique=True)
    def count(a: int, b: int = 2) -> None: ...

    @deck.task
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
    deck: Deck, function: Any, words: str
) -> None:
    with pytest.raises(QdeckError, match=words):
        deck.task(function)
    assert len(deck.registry) == 0


def test_a_return_type_only_for_checkers_does_no_harm(deck: Deck) -> None:
    @deck.task
    def find(name: str) -> OnlyForCheckers: ...  # type: ignore[empty-body]

    assert find.call("x").payload == b'{"name":"x"}'


def test_arguments_after_an_unannotated_one_are_fine(deck: Deck) -> None:
    @deck.task
    def loose(a, b=2): ...  # type: ignore[no-untyped-def]

    assert loose.call({"x": 1}).payload == b'{"a":{"x":1},"b":2}'


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 101, "a/b"])
def test_a_task_name_of_other_letters_is_refused(deck: Deck, name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        deck.task(name=name)


def test_a_name_is_taken_once(deck: Deck) -> None:
    deck.task(lambda_named("one"))
    with pytest.raises(InvalidTask, match=r"'one'.*lambda_named"):
        deck.task(lambda_named("one"))
    with pytest.raises(UnknownTask, match=r"'two'.*one"):
        deck.registry.get("two")
    assert deck.registry.find("two") is None


def test_a_unique_template_names_arguments(deck: Deck) -> None:
    with pytest.raises(SettingsError, match="'user'"):
        deck.task(unique="{user}")(lambda_named("one"))
    with pytest.raises(SettingsError, match="template"):
        deck.task(unique="{n")(lambda_named("two"))
    deck.task(unique="{n!r:>5}-{{x}}")(lambda_named("three"))


async def test_a_class_is_a_task(deck: Deck) -> None:
    @deck.register
    class Pay(qdeck.Task, queue="payments", max_retries=3, timeout=60, priority="low"):
        order_id: int
        amount: float = 1.5

        async def handle(self, ctx: qdeck.Context) -> tuple[int, object]:
            return self.order_id, ctx

    job = await Pay(order_id=1, amount=9.99).delay(60).on_queue("later").dispatch()
    assert job.task == "Pay"
    call = deck.sent[-1]
    assert call.payload == b'{"order_id":1,"amount":9.99}'
    assert call.options == Options(delay=60.0, queue="later")
    spec = deck.registry.get("Pay")
    assert (spec.queue, spec.max_retries, spec.timeout, spec.priority) == ("payments", 3, 60.0, 2)
    assert (spec.kind, spec.wants_ctx) == ("async", True)
    args, kwargs = spec.decode(call.payload)
    assert await spec.fn("ctx", *args, **kwargs) == (1, "ctx")
    assert spec.decode(spec.encode((), {"order_id": 2})) == ((Pay(2),), {})
    Pay(3).dispatch_sync()
    assert Pay(4).options(priority=9).call().options == Options(priority=9)


def test_a_dispatch_leaves_its_instance_alone(deck: Deck) -> None:
    @deck.register
    class Pay(qdeck.Task):
        order_id: int

        def handle(self) -> None: ...

    pay = Pay(1)
    late = pay.delay(60)
    late.on_queue("other").dispatch_sync()
    late.dispatch_sync()
    pay.dispatch_sync()
    assert [(c.options.delay, c.options.queue) for c in deck.sent] == [
        (60.0, "other"),
        (60.0, None),
        (None, None),
    ]
    assert pay == Pay(1)


async def test_a_dispatch_validates_what_construction_did_not(deck: Deck) -> None:
    @deck.register
    class Pay(qdeck.Task):
        order_id: int

        def handle(self) -> None: ...

    wrong = Pay(order_id="x")  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match="'order_id'"):
        await wrong.dispatch()
    with pytest.raises(InvalidPayload, match="unknown field"):
        deck.registry.get("Pay").decode(b'{"order_id":1,"x":2}')
    assert not deck.sent


@pytest.mark.parametrize(
    "field",
    [
        "delay",
        "dispatch",
        "dispatch_sync",
        "on_queue",
        "options",
        "call",
        "handle",
        "failed",
        "should_retry",
    ],
)
def test_a_field_named_like_a_method_is_refused_when_the_class_is_made(field: str) -> None:
    with pytest.raises(InvalidTask, match=field):
        TaskMeta("Pay", (qdeck.Task,), {"__annotations__": {field: int}})


def test_a_class_has_one_deck(deck: Deck) -> None:
    class Pay(qdeck.Task, name="pay"):
        def handle(self) -> None: ...

    with pytest.raises(InvalidTask, match="register"):
        Pay().dispatch_sync()
    deck.register(Pay)
    with pytest.raises(InvalidTask, match="one deck"):
        Deck().register(Pay)

    class Other(Pay, queue="other"): ...

    with pytest.raises(InvalidTask, match="register"):
        Other().dispatch_sync()
    Deck().register(Other)


def test_a_subclass_has_its_bases_terms_but_not_its_name(deck: Deck) -> None:
    class Base(qdeck.Task, name="base", queue="slow", timeout=9):
        def handle(self) -> None: ...

    @deck.register
    class Child(Base, timeout=3):
        n: int = 0

    spec = deck.registry.get("Child")
    assert (spec.queue, spec.timeout) == ("slow", 3.0)


def test_a_handle_takes_a_context_or_nothing(deck: Deck) -> None:
    class Wrong(qdeck.Task):
        def handle(self, n: int) -> None: ...

    class Without(qdeck.Task):
        n: int

    class Loose(qdeck.Task):
        def handle(self, ctx): ...  # type: ignore[no-untyped-def]

    with pytest.raises(InvalidTask, match="fields of the class"):
        deck.register(Wrong)
    with pytest.raises(InvalidTask, match="no handle"):
        deck.register(Without)
    deck.register(Loose)
    assert deck.registry.get("Loose").wants_ctx
    with pytest.raises(InvalidTask, match="derive it"):
        deck.register(int)  # type: ignore[type-var]


def test_unusable_terms_of_a_class_are_refused_when_it_is_made() -> None:
    with pytest.raises(SettingsError, match="timeout"):

        class Pay(qdeck.Task, timeout=-1): ...

    with pytest.raises(TypeError):

        class Paint(qdeck.Task, colour="red"): ...


async def test_the_hooks_of_a_class_decide_and_cannot_harm(
    deck: Deck, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    @deck.register
    class Good(qdeck.Task):
        n: int

        def handle(self) -> None: ...
        def retry_delay(self, attempt: int) -> float:
            return self.n * attempt

        def should_retry(self, error: Exception) -> bool:
            return isinstance(error, ValueError)

        async def failed(self, error: Exception) -> None:
            await asyncio.sleep(0)
            seen.append(f"{self.n} {error}")

    @deck.register
    class Bad(qdeck.Task):
        def handle(self) -> None: ...
        def retry_delay(self, attempt: int) -> float:
            return math.nan

        def should_retry(self, error: Exception) -> bool:
            raise RuntimeError("no idea")

        def failed(self, error: Exception) -> None:
            seen.append(type(error).__name__)
            raise RuntimeError("no idea")

    good, bad = deck.registry.get("Good"), deck.registry.get("Bad")
    assert good.delay_after(3, (Good(2),)) == 6
    assert good.retries(ValueError(), (Good(2),))
    assert not good.retries(KeyError(), (Good(2),))
    assert good.retries(KeyboardInterrupt(), (Good(2),))
    assert good.delay_after(3) == 4
    assert good.retries(KeyError())
    await good.run_failed(ValueError("x"), (Good(2),))
    await good.run_failed(ValueError("x"))
    assert bad.delay_after(1, (Bad(),), qdeck.fixed(7)) == 7
    assert bad.retries(ValueError(), (Bad(),))
    await bad.run_failed(SystemExit(3), (Bad(),))
    assert seen == ["2 x", "RuntimeError"]
    assert len(caplog.records) == 3


def test_a_backoff_function_that_fails_gives_way_to_the_default(deck: Deck) -> None:
    @deck.task(backoff=lambda attempt: 1 / 0)
    def work() -> None: ...

    assert deck.registry.get("work").delay_after(2) == 2
