"""Functions in virtual time: execution environments that are reused, time out, freeze and die."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from rollcall.core.clock import Clock
from tests.simulation.models.fibers import Process
from tests.simulation.models.gate import Crash, Gate
from tests.simulation.models.services import Services, SimulatedClients
from tests.simulation.models.virtual_time import SkewedClock, VirtualClock

Event: TypeAlias = Mapping[str, Any]
#: Handles an event by a deadline.
Handler: TypeAlias = Callable[[Event, datetime], Coroutine[Any, Any, object]]
NO_SKEW = timedelta(0)


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
    """One execution environment: a process with a clock of its own."""

    #: Unique; the origin of its requests.
    name: str
    #: A number that is its own, for what must differ between environments and be the same in every simulation.
    seed: int
    clients: SimulatedClients
    clock: Clock
    gate: Gate
    alive: bool = True
    #: Lambda has given it up, and it goes on all the same: what it still does comes from a time long past.
    zombie: bool = False
    process: Process = field(default_factory=Process)

    def end(self) -> None:
        """It is gone: nothing that still runs in it reaches anybody."""
        self.alive = False
        self.gate.dead.add(self.name)

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
        #: Those with an invocation under way, by name.
        self.busy: dict[str, Environment] = {}
        #: Environments with an invocation under way that began before the latest deployment.
        self._outdated: set[str] = set()
        self._zombies: dict[asyncio.Task[object], str] = {}
        self.failures: list[Failure] = []
        self.invocations = 0
        #: How wrong the clock of a new environment is, by its number.
        self.skew: Callable[[int], timedelta] = lambda _: NO_SKEW
        #: Whether Lambda refuses an invocation just now.
        self.refused: Callable[[], bool] = lambda: False

    def deploy(self, make: Callable[[Environment], Handler]) -> None:
        """Replace what runs in it; invocations under way end as they began."""
        self._make = make
        self._idle.clear()
        self._outdated = {*self.busy, *self.zombies}

    @property
    def outdated(self) -> bool:
        """Whether an invocation that began before the latest deployment still goes on."""
        return bool(self._outdated.intersection([*self.busy, *self.zombies]))

    async def invoke(self, event: Event) -> object:
        """The handler's result. Raises InvocationFailed."""
        if self.refused():
            raise InvocationFailed(f"{self.name}: Rate Exceeded.")
        self.invocations += 1
        environment, handler = self._idle.pop() if self._idle else self._new()
        deadline = environment.clock.now() + self.timeout
        self.busy[environment.name] = environment
        loop = asyncio.get_running_loop()
        task = loop.create_task(environment.process.run(handler, event, deadline))
        try:
            await asyncio.wait({task}, timeout=self.timeout.total_seconds())
        except asyncio.CancelledError:
            environment.end()
            task.cancel()
            raise
        finally:
            self.busy.pop(environment.name, None)
        if not task.done():
            raise self._out_of_time(environment, task)
        if (error := task.exception()) is None:
            self._keep(environment, handler)
            return task.result()
        if isinstance(error, Crash):
            environment.end()
            raise self._failed(str(error), error) from error
        if not isinstance(error, Exception):
            raise error
        self._keep(environment, handler)
        raise self._failed(f"{type(error).__name__}: {error}", error) from error

    def _out_of_time(self, environment: Environment, task: "asyncio.Task[object]") -> InvocationFailed:
        if environment.zombie:
            self._zombies[task] = environment.name
            task.add_done_callback(lambda task: self._bury(environment, task))
        else:
            environment.end()
            task.cancel()
        reason = f"Task timed out after {self.timeout.total_seconds():.2f} seconds"
        return self._failed(reason, TimeoutError(reason))

    def _bury(self, environment: Environment, task: "asyncio.Task[object]") -> None:
        environment.end()
        self._zombies.pop(task, None)
        if not task.cancelled():
            task.exception()

    def _keep(self, environment: Environment, handler: Handler) -> None:
        """Keep it for the next invocation, unless another declaration was deployed meanwhile."""
        if environment.alive and not environment.zombie and environment.name not in self._outdated:
            self._idle.append((environment, handler))

    def _new(self) -> tuple[Environment, Handler]:
        self._made += 1
        name = f"{self.name}/{self._made}"
        environment = Environment(
            name,
            self._first_seed + self._made,
            SimulatedClients(self._services, name),
            SkewedClock(self._clock, self.skew(self._made)),
            self._services.gate,
        )
        return environment, self._make(environment)

    @property
    def zombies(self) -> list[str]:
        """The environments that Lambda has given up and that still go on."""
        return list(self._zombies.values())

    def end(self) -> None:
        """End all that runs in it."""
        for environment in [*self.busy.values()]:
            environment.end()
        for task in self._zombies:
            task.cancel()

    def _failed(self, reason: str, error: BaseException) -> InvocationFailed:
        self.failures.append(Failure(self.name, self._clock.now(), reason, error))
        return InvocationFailed(f"{self.name}: {reason}")


async def invoke_async(
    invoke: Callable[[Event], Awaitable[object]], event: Event, waits: tuple[float, ...] = (60.0, 120.0)
) -> None:
    """An asynchronous invocation: tried again after function errors, as Lambda does
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
    """
    for wait in (*waits, None):
        try:
            await invoke(event)
        except InvocationFailed:
            if wait is not None:
                await asyncio.sleep(wait)
        else:
            return
