"""The one place through which every request to the simulated services goes: counted, slow, and open to faults."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.simulation.models import fibers

Answer: TypeAlias = dict[str, Any]
Serve: TypeAlias = Callable[[], Answer]


class Crash(BaseException):
    """The execution environment that makes a request is gone; raised by faults, caught by the driver only."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request to a service."""

    #: As botocore calls them: "dynamodb", "UpdateItem".
    service: str
    operation: str
    parameters: Mapping[str, Any] = field(repr=False)
    #: The execution environment that makes it.
    origin: str = ""


#: Called in the place of every request, with a function that has it served. It may raise before (the request is lost)
#: or after (the answer is lost), serve it twice (the SDK's retry), or change the answer.
Interceptor: TypeAlias = Callable[[Sent, Serve], Answer]
#: Seconds that a request is under way, and seconds that its answer is.
Latency: TypeAlias = Callable[[Sent], tuple[float, float]]


class Gate:
    """Counts requests and lets an interceptor at them."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.interceptor: Interceptor | None = None
        #: None: a request is over before anything else happens.
        self.latency: Latency | None = None
        #: Execution environments that are gone: nothing that still runs in them reaches a service.
        self.dead: set[str] = set()

    def let_through(self, sent: Sent, serve: Serve) -> Answer:
        self._check(sent)
        self.requests[sent.service, sent.operation] += 1
        there, back = (0.0, 0.0) if self.latency is None or not fibers.may_block() else self.latency(sent)
        if there:
            fibers.pause(there)
        try:
            answer = serve() if self.interceptor is None else self.interceptor(sent, serve)
        except Crash:
            self.dead.add(sent.origin)
            raise
        finally:
            if back:
                fibers.pause(back)
        self._check(sent)
        return answer

    def _check(self, sent: Sent) -> None:
        if sent.origin in self.dead:
            raise Crash(f"{sent.origin} is gone")


class Client:
    """What an execution environment holds in the place of a boto3 client: a model's operations behind the gate."""

    def __init__(self, service: str, model: object, gate: Gate, origin: str) -> None:
        self._service = service
        self._model = model
        self._gate = gate
        self._origin = origin
        #: Error classes by name, where the model has some.
        self.exceptions = getattr(model, "exceptions", None)

    def get_paginator(self, operation: str) -> "Paginator":
        return Paginator(getattr(self, operation))

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        serve: Callable[..., Answer] = getattr(self._model, name)
        operation = "".join(word.title() for word in name.split("_"))

        def request(**parameters: Any) -> Answer:
            sent = Sent(self._service, operation, parameters, self._origin)
            return self._gate.let_through(sent, lambda: serve(**parameters))

        self.__dict__[name] = request
        return request


@dataclass(frozen=True, slots=True)
class Paginator:
    """Asks for page after page, each in a request of its own."""

    request: Callable[..., Answer]

    def paginate(self, **parameters: Any) -> Iterator[Answer]:
        page = self.request(**parameters)
        yield page
        while page.get("IsTruncated"):
            page = self.request(**parameters, ContinuationToken=page["NextContinuationToken"])
            yield page
