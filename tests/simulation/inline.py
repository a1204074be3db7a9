"""Threads that are none: what the engine hands to a pool runs at once, so that a simulation is repeatable."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

#: Where the engine makes its pools.
POOLS = ("rollcall.engine.dispatch.ThreadPoolExecutor", "rollcall.engine.enumeration.ThreadPoolExecutor")


class InlineExecutor(Executor):
    """Runs everything when it is submitted, in the thread that submits it."""

    def __init__(self, max_workers: int = 1) -> None:
        del max_workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@contextmanager
def inline_pools() -> Iterator[None]:
    """While it lasts, the engine's pools run inline."""
    with ExitStack() as stack:
        for name in POOLS:
            stack.enter_context(patch(name, InlineExecutor))
        yield
