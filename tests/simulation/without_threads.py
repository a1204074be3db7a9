"""The engine's pools and locks as tasks of the simulation: nothing of it runs in a thread, so that it is repeatable."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from tests.simulation.fibers import FiberExecutor, FiberSemaphore

#: Where the engine makes its pools, and a lock that one task holds while it waits for another.
REPLACED = {
    "rollcall.engine.dispatch.ThreadPoolExecutor": FiberExecutor,
    "rollcall.engine.enumeration.ThreadPoolExecutor": FiberExecutor,
    "rollcall.engine.enumeration.BoundedSemaphore": FiberSemaphore,
}


@contextmanager
def without_threads() -> Iterator[None]:
    """While it lasts, the engine has no threads."""
    with ExitStack() as stack:
        for name, replacement in REPLACED.items():
            stack.enter_context(patch(name, replacement))
        yield
