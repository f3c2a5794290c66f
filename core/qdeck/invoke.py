"""Calling a handler: its middleware around it, its context before its arguments.

Knows nothing of servers and settles; a thread is left to `asyncio` unless the caller has its own.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from qdeck.context import Context
from qdeck.task import TaskSpec

__all__ = ["CallNext", "InThread", "Middleware", "invoke", "wrap"]

#: Goes on with the run; may be given the context, as other frameworks want it.
CallNext = Callable[..., Awaitable[Any]]
Middleware = Callable[[Context, CallNext], Awaitable[Any]]
InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


async def invoke(
    spec: TaskSpec,
    ctx: Context,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    middleware: Sequence[Middleware] = (),
    in_thread: InThread | None = None,
) -> Any:
    """Run one handler to its end and return its value; what it raises is raised.

    The first middleware is the outermost. A plain function runs in a thread, by `in_thread`.
    """
    if not middleware:
        return await _call(spec, ctx, args, kwargs, in_thread)

    async def innermost(_: Context = ctx) -> Any:
        return await _call(spec, ctx, args, kwargs, in_thread)

    step: CallNext = innermost
    for layer in reversed(middleware):
        step = wrap(layer, ctx, step)
    return await step()


def wrap(layer: Middleware, ctx: Context, step: CallNext) -> CallNext:
    """Return the step that runs a middleware around the next one."""

    async def call_next(_: Context = ctx) -> Any:
        return await layer(ctx, step)

    return call_next


async def _call(
    spec: TaskSpec,
    ctx: Context,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    in_thread: InThread | None,
) -> Any:
    if spec.is_async:
        if spec.wants_ctx:
            return await spec.fn(ctx, *args, **kwargs)
        return await spec.fn(*args, **kwargs)
    call = functools.partial(spec.fn, *((ctx, *args) if spec.wants_ctx else args), **kwargs)
    if in_thread is not None:
        value = await in_thread(call)
    else:
        value = await asyncio.to_thread(call)
    if inspect.isawaitable(value):
        value = await value
    return value
