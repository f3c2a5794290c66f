"""Classes become tasks, dispatch their instances, and decide by their hooks."""

from __future__ import annotations

import asyncio
import math

import pytest
from tests.core.sentbox import SentBox

import qdeck
from qdeck.classtask import TaskMeta
from qdeck.errors import InvalidPayload, InvalidTask, SettingsError
from qdeck.task import Options


@pytest.fixture
def box() -> SentBox:
    return SentBox()


async def test_a_class_is_a_task(box: SentBox) -> None:
    @box.register
    class Pay(qdeck.Task, queue="payments", max_retries=3, timeout=60, priority="low"):
        order_id: int
        amount: float = 1.5

        async def handle(self, ctx: qdeck.Context) -> tuple[int, object]:
            return self.order_id, ctx

    job = await Pay(order_id=1, amount=9.99).delay(60).on_queue("later").dispatch()
    assert job.task == "Pay"
    call = box.sent[-1]
    assert call.payload == b'{"order_id":1,"amount":9.99}'
    assert call.options == Options(delay=60.0, queue="later")
    spec = box.registry.get("Pay")
    assert (spec.queue, spec.max_retries, spec.timeout, spec.priority) == ("payments", 3, 60.0, 2)
    assert (spec.kind, spec.wants_ctx) == ("async", True)
    args, kwargs = spec.decode(call.payload)
    assert await spec.fn("ctx", *args, **kwargs) == (1, "ctx")
    assert spec.decode(spec.encode((), {"order_id": 2})) == ((Pay(2),), {})
    Pay(3).dispatch_sync()
    assert Pay(4).options(priority=9).call().options == Options(priority=9)


def test_a_dispatch_leaves_its_instance_alone(box: SentBox) -> None:
    @box.register
    class Pay(qdeck.Task):
        order_id: int

        def handle(self) -> None: ...

    pay = Pay(1)
    late = pay.delay(60)
    late.on_queue("other").dispatch_sync()
    late.dispatch_sync()
    pay.dispatch_sync()
    assert [(c.options.delay, c.options.queue) for c in box.sent] == [
        (60.0, "other"),
        (60.0, None),
        (None, None),
    ]
    assert pay == Pay(1)


async def test_a_dispatch_validates_what_construction_did_not(box: SentBox) -> None:
    @box.register
    class Pay(qdeck.Task):
        order_id: int

        def handle(self) -> None: ...

    wrong = Pay(order_id="x")  # type: ignore[arg-type]
    with pytest.raises(InvalidPayload, match="'order_id'"):
        await wrong.dispatch()
    with pytest.raises(InvalidPayload, match="unknown field"):
        box.registry.get("Pay").decode(b'{"order_id":1,"x":2}')
    assert not box.sent


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


def test_a_class_has_one_deck(box: SentBox) -> None:
    class Pay(qdeck.Task, name="pay"):
        def handle(self) -> None: ...

    with pytest.raises(InvalidTask, match="register"):
        Pay().dispatch_sync()
    box.register(Pay)
    with pytest.raises(InvalidTask, match="one deck"):
        SentBox().register(Pay)

    class Other(Pay, queue="other"): ...

    with pytest.raises(InvalidTask, match="register"):
        Other().dispatch_sync()
    SentBox().register(Other)


def test_a_subclass_has_its_bases_terms_but_not_its_name(box: SentBox) -> None:
    class Base(qdeck.Task, name="base", queue="slow", timeout=9):
        def handle(self) -> None: ...

    @box.register
    class Child(Base, timeout=3):
        n: int = 0

    spec = box.registry.get("Child")
    assert (spec.queue, spec.timeout) == ("slow", 3.0)


def test_a_handle_takes_a_context_or_nothing(box: SentBox) -> None:
    class Wrong(qdeck.Task):
        def handle(self, n: int) -> None: ...

    class Without(qdeck.Task):
        n: int

    class Loose(qdeck.Task):
        def handle(self, ctx): ...  # type: ignore[no-untyped-def]

    with pytest.raises(InvalidTask, match="fields of the class"):
        box.register(Wrong)
    with pytest.raises(InvalidTask, match="no handle"):
        box.register(Without)
    box.register(Loose)
    assert box.registry.get("Loose").wants_ctx
    with pytest.raises(InvalidTask, match="derive it"):
        box.register(int)  # type: ignore[type-var]


def test_unusable_terms_of_a_class_are_refused_when_it_is_made() -> None:
    with pytest.raises(SettingsError, match="timeout"):

        class Pay(qdeck.Task, timeout=-1): ...

    with pytest.raises(TypeError):

        class Paint(qdeck.Task, colour="red"): ...


async def test_the_hooks_of_a_class_decide_and_cannot_harm(
    box: SentBox, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    @box.register
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

    @box.register
    class Bad(qdeck.Task):
        def handle(self) -> None: ...
        def retry_delay(self, attempt: int) -> float:
            return math.nan

        def should_retry(self, error: Exception) -> bool:
            raise RuntimeError("no idea")

        def failed(self, error: Exception) -> None:
            seen.append(type(error).__name__)
            raise RuntimeError("no idea")

    good, bad = box.registry.get("Good"), box.registry.get("Bad")
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
