"""Calling a handler: its middleware around it, its context before its arguments.

Knows nothing of servers and settles; a thread is left to `asyncio` unless an executor is given.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from qdeck.context import Context
from qdeck.task import TaskSpec

__all__ = ["CallNext", "Middleware", "invoke"]

CallNext = Callable[[], Awaitable[Any]]
Middleware = Callable[[Context, CallNext], Awaitable[Any]]


async def invoke(
    spec: TaskSpec,
    ctx: Context,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    middleware: Sequence[Middleware] = (),
    executor: Executor | None = None,
) -> Any:
    """Run one handler to its end and return its value; what it raises is raised.

    The first middleware is the outermost. A plain function runs in a thread of `executor`.
    """
    if not middleware:
        return await _call(spec, ctx, args, kwargs, executor)

    async def innermost() -> Any:
        return await _call(spec, ctx, args, kwargs, executor)

    step: CallNext = innermost
    for layer in reversed(middleware):
        step = functools.partial(layer, ctx, step)
    return await step()


async def _call(
    spec: TaskSpec,
    ctx: Context,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    executor: Executor | None,
) -> Any:
    if spec.is_async:
        if spec.wants_ctx:
            return await spec.fn(ctx, *args, **kwargs)
        return await spec.fn(*args, **kwargs)
    call = functools.partial(spec.fn, *((ctx, *args) if spec.wants_ctx else args), **kwargs)
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    value = await loop.run_in_executor(executor, functools.partial(context.run, call))
    if inspect.isawaitable(value):
        value = await value
    return value
