"""What of the engine would make a simulation unrepeatable, replaced: threads, and the system's randomness."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from tests.simulation.models.fibers import FiberExecutor, FiberSemaphore

#: Where the engine makes its pools, and a lock that one task holds while it waits for another.
REPLACED = {
    "rollcall.engine.fan_out.dispatch.ThreadPoolExecutor": FiberExecutor,
    "rollcall.engine.fan_out.enumeration.ThreadPoolExecutor": FiberExecutor,
    "rollcall.engine.fan_out.enumeration.BoundedSemaphore": FiberSemaphore,
}


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """While it lasts, the engine has no threads, and its tokens come from the seed."""
    tokens = random.Random(seed)  # noqa: S311
    with ExitStack() as stack:
        for name, replacement in REPLACED.items():
            stack.enter_context(patch(name, replacement))
        stack.enter_context(
            patch("rollcall.engine.worker.attempts.token_hex", lambda size: tokens.randbytes(size).hex())
        )
        yield
