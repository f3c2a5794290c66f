"""What type checkers accept and refuse; test_typing.py holds mypy to every line of it.

A line that has to be refused carries the code of its error. Nothing here is ever run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, assert_type

import qdeck
from qdeck.flow import Flow
from qdeck.handle import TaskDecorators, TaskHandle
from qdeck.task import Call, Registry

R = TypeVar("R")


class Deck(TaskDecorators):
    """A deck without a server."""

    registry = Registry()

    async def send(self, call: Call[R]) -> qdeck.Job[R]:
        return self.send_sync(call)

    def send_sync(self, call: Call[R]) -> qdeck.Job[R]:
        return qdeck.Job(id="1", task=call.spec.name, queue="x", state=qdeck.State.PENDING)

    async def send_flow(self, flow: Flow) -> list[qdeck.Job[Any]]:
        return self.send_flow_sync(flow)

    def send_flow_sync(self, flow: Flow) -> list[qdeck.Job[Any]]:
        return [self.send_sync(call) for call in flow.calls]


deck = Deck()


@deck.task(queue="emails", max_retries=5, timeout=30, priority="high", backoff=[1, 2.5])
async def send_email(to: str, subject: str, body: str = "") -> str:
    return to + subject + body


@deck.task
async def plain_async(n: int) -> int:
    return n


@deck.task
async def async_with_context(ctx: qdeck.Context, n: int) -> int:
    ctx.progress(25, "reading")
    return n


@deck.task
def resize(ctx: qdeck.Context, path: str) -> None:
    ctx.log.info("opened %s", path)


@deck.task
def plain(n: int, *, deep: bool = False) -> bytes:
    return bytes(n) if deep else b""


@deck.task(run="process", backoff=qdeck.exponential(base=1, factor=2, cap=3600, jitter=0.2))
def crunch(n: int) -> int:
    return n * n


@deck.task(name="mail.send", unique="user-{n}", unique_for=60, expires=300)
def with_options_and_context(ctx: qdeck.Context, n: int) -> float:
    return n / 2


@deck.task(limit_key="user-{n}", key_limit=2)
def tick(n: int = 1) -> None:
    return None


@deck.register
class ProcessPayment(qdeck.Task, queue="payments", max_retries=3, timeout=60):
    order_id: int
    amount: float
    note: str = ""

    async def handle(self, ctx: qdeck.Context) -> None:
        ctx.progress(self.amount)

    def retry_delay(self, attempt: int) -> float:
        return 2.0**attempt

    def should_retry(self, error: Exception) -> bool:
        return not isinstance(error, ValueError)

    async def failed(self, error: Exception) -> None:
        return None


@deck.register
class Refund(qdeck.Task):
    order_id: int

    def handle(self) -> None:
        return None


async def good() -> None:
    assert_type(await send_email.enqueue("a@example.org", subject="hi"), qdeck.Job[str])
    assert_type(send_email.enqueue_sync("a@example.org", "hi", body="x"), qdeck.Job[str])
    assert_type(await plain_async.enqueue(1), qdeck.Job[int])
    assert_type(await async_with_context.enqueue(n=1), qdeck.Job[int])
    assert_type(await resize.enqueue("/tmp"), qdeck.Job[None])
    assert_type(await plain.enqueue(3, deep=True), qdeck.Job[bytes])
    assert_type(crunch.call(3), Call[int])
    assert_type(with_options_and_context.enqueue_sync(4), qdeck.Job[float])
    assert_type((await crunch.enqueue(3)).result, int | None)
    later = send_email.options(delay=60, queue="bulk", priority="critical", unique="k", metadata={})
    assert_type(await later.enqueue("a@example.org", subject="hi"), qdeck.Job[str])
    payment = ProcessPayment(order_id=1, amount=9.99)
    assert_type(await payment.delay(60).on_queue("payments").dispatch(), qdeck.Job[Any])
    assert_type(payment.dispatch_sync(), qdeck.Job[Any])
    assert_type(payment.order_id, int)
    await Refund(1).dispatch()
    assert_type(plain.call(1).then(payment, Refund(1).delay(2), crunch.call(2)), Flow)
    assert_type(payment.then(deck.group([plain.call(n) for n in range(3)])), Flow)
    assert_type(
        await deck.group([payment, crunch.call(1)]).then(Refund(1)).enqueue(), list[qdeck.Job[Any]]
    )
    limited = crunch.options(limit_key="k", key_limit=2)
    assert_type(limited.call(1).then(limited.call(2)).enqueue_sync(), list[qdeck.Job[Any]])
    handle: TaskHandle[[int], int] = crunch
    state: qdeck.State = (await handle.enqueue(1)).state
    assert state is qdeck.State.PENDING


async def bad() -> None:
    await send_email.enqueue(1, subject="hi")  # type: ignore[arg-type]
    await send_email.enqueue("a@example.org")  # type: ignore[call-arg]
    await send_email.enqueue("a@example.org", subjct="hi")  # type: ignore[call-arg]
    await send_email.enqueue("a", "b", "c", "d")  # type: ignore[call-arg]
    send_email.enqueue_sync("a@example.org", subject=2)  # type: ignore[arg-type]
    send_email.call("a@example.org", subject=None)  # type: ignore[arg-type]
    send_email.options(delay=1).enqueue_sync(b"a", "hi")  # type: ignore[arg-type]
    send_email.options(delay="soon")  # type: ignore[arg-type]
    send_email.options(key_limit="2")  # type: ignore[arg-type]
    plain.call(1).then(2)  # type: ignore[arg-type]
    deck.group([1])  # type: ignore[list-item]
    crunch.then(plain.call(1))  # type: ignore[misc]
    send_email.options(colour="red")  # type: ignore[call-arg]
    Refund(1).options(colour="red")  # type: ignore[call-arg]
    Refund(1).delay(1).options(delay="soon")  # type: ignore[arg-type]
    TaskDecorators()  # type: ignore[abstract]
    await plain_async.enqueue("1")  # type: ignore[arg-type]
    await async_with_context.enqueue("1")  # type: ignore[arg-type]
    await resize.enqueue()  # type: ignore[call-arg]
    await resize.enqueue(ctx=None, path="x")  # type: ignore[call-arg]
    await plain.enqueue(3, True)  # type: ignore[call-arg]
    await crunch.enqueue(1.5)  # type: ignore[arg-type]
    await with_options_and_context.enqueue([])  # type: ignore[arg-type]
    ProcessPayment(order_id="1", amount=1.0)  # type: ignore[arg-type]
    ProcessPayment(order_id=1)  # type: ignore[call-arg]
    ProcessPayment(order_id=1, amount=1.0, colour="red")  # type: ignore[call-arg]
    ProcessPayment(order_id=1, amount=1.0).delay("soon")  # type: ignore[arg-type]
    ProcessPayment(order_id=1, amount=1.0).on_queue(3)  # type: ignore[arg-type]
    wrong: Callable[[], Awaitable[qdeck.Job[int]]] = later_mail  # type: ignore[assignment]
    deck.task(run="fiber")  # type: ignore[call-overload]
    deck.task(colour="red")  # type: ignore[call-overload]
    deck.register(int)  # type: ignore[type-var]
    await wrong()


async def later_mail() -> qdeck.Job[str]:
    return await send_email.enqueue("a", "b")
