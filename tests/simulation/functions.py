"""Functions in virtual time: execution environments that are reused, time out and die."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from tests.simulation.gate import Crash
from tests.simulation.services import Services, SimulatedClients
from tests.simulation.virtual_time import VirtualClock

Event: TypeAlias = Mapping[str, Any]
#: Handles an event by a deadline.
Handler: TypeAlias = Callable[[Event, datetime], Awaitable[object]]


class InvocationFailed(Exception):
    """The handler raised, ran out of time, or its environment died."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An invocation that failed."""

    function: str
    at: datetime
    #: Why, in Lambda's words, and the error itself where there was one.
    reason: str
    error: BaseException


@dataclass(eq=False)
class Environment:
    """One execution environment."""

    #: Unique; the origin of its requests.
    name: str
    #: A number that is its own, for what must differ between environments and be the same in every simulation.
    seed: int
    clients: SimulatedClients
    alive: bool = True

    def check(self) -> None:
        """Raise Crash for whoever still runs in it after its end."""
        if not self.alive:
            raise Crash(f"{self.name} is gone")


class SimulatedFunction:
    """A function: as many environments as there are invocations at once."""

    def __init__(
        self,
        name: str,
        timeout: timedelta,
        make: Callable[[Environment], Handler],
        services: Services,
        clock: VirtualClock,
        first_seed: int = 0,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self._make = make
        self._services = services
        self._clock = clock
        self._first_seed = first_seed
        self._made = 0
        self._idle: list[tuple[Environment, Handler]] = []
        self.failures: list[Failure] = []
        self.invocations = 0

    async def invoke(self, event: Event) -> object:
        """The handler's result. Raises InvocationFailed."""
        self.invocations += 1
        environment, handler = self._idle.pop() if self._idle else self._new()
        seconds = self.timeout.total_seconds()
        deadline = self._clock.now() + self.timeout
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                result = await handler(event, deadline)
            # A handler that blocks cannot be interrupted; it is out of time all the same.
            if self._clock.now() > deadline:
                raise TimeoutError
        except asyncio.CancelledError:
            self._end(environment)
            raise
        except Crash as error:
            self._end(environment)
            raise self._failed(str(error), error) from error
        except Exception as error:
            if isinstance(error, TimeoutError) and (limit.expired() or self._clock.now() > deadline):
                self._end(environment)
                raise self._failed(f"Task timed out after {seconds:.2f} seconds", error) from error
            self._idle.append((environment, handler))
            raise self._failed(f"{type(error).__name__}: {error}", error) from error
        self._idle.append((environment, handler))
        return result

    def _new(self) -> tuple[Environment, Handler]:
        self._made += 1
        name = f"{self.name}/{self._made}"
        environment = Environment(name, self._first_seed + self._made, SimulatedClients(self._services, name))
        return environment, self._make(environment)

    def _end(self, environment: Environment) -> None:
        environment.alive = False
        self._services.gate.dead.add(environment.name)

    def _failed(self, reason: str, error: BaseException) -> InvocationFailed:
        self.failures.append(Failure(self.name, self._clock.now(), reason, error))
        return InvocationFailed(f"{self.name}: {reason}")


async def invoke_async(function: SimulatedFunction, event: Event, waits: tuple[float, ...] = (60.0, 120.0)) -> None:
    """An asynchronous invocation: tried again after function errors, as Lambda does
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
    """
    for wait in (*waits, None):
        try:
            await function.invoke(event)
        except InvocationFailed:
            if wait is not None:
                await asyncio.sleep(wait)
        else:
            return
