"""Between the clients and the cloud: every request is noted, and a test may lose it, its answer, or the process."""

import itertools
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from botocore.exceptions import ClientError

from rollcall.adapters.clients import Clients
from tests.functional.models_cloud import ModelClients
from tests.simulation.models import gate

#: Called before a request; may raise, or answer in the place of the cloud by returning the parsed answer.
Before: TypeAlias = "Callable[[Sent], dict[str, Any] | None]"
After: TypeAlias = "Callable[[Sent], None]"
#: Services that only an operator's commands ask; a story's `sent` and its faults leave them out.
OF_OPERATORS = frozenset({"lambda", "sts"})


class Killed(BaseException):
    """The process is gone: no handler of ours runs any more requests."""


@dataclass(frozen=True)
class Sent:
    """One request to AWS."""

    service: str
    operation: str
    #: The parameters as the API takes them; of services that do not speak JSON, those that stories look at.
    fields: Mapping[str, Any] = field(repr=False)

    @property
    def key(self) -> str:
        """The key of the ledger item that is written; empty for all other requests."""
        found = self.fields.get("Key")
        return str(found.get("pk", {}).get("S", "")) if isinstance(found, Mapping) else ""


class Wire(ABC):
    """Sees each request before it is made, and each answer."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.sent: list[Sent] = []
        self.before: Before | None = None
        self.after: After | None = None
        #: Sees the requests to all services before `before` does, and is never killed.
        self.observer: Before | None = None

    def _ask(self, sent: Sent) -> dict[str, Any] | None:
        """Note a request, and return the answer that a story gives in the place of the cloud."""
        answer = self.observer(sent) if self.observer is not None else None
        if sent.service in OF_OPERATORS:
            return answer
        self.sent.append(sent)
        return self.before(sent) if self.before is not None else None

    @abstractmethod
    def twice(self, service: str | None = None, most: int | None = None) -> AbstractContextManager[None]:
        """Have requests made twice, as by the SDK whose first answer was lost.

        `service`: only those to this one; `most`: only this many.
        """

    # --- what was sent ---

    def of(self, operation: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.operation == operation]

    def counts(self) -> Counter[str]:
        return Counter(sent.operation for sent in self.sent)

    # --- what goes wrong ---

    def kill_before(self, number: int) -> None:
        """The process dies as it makes its `number`-th request from now on: it is lost, as are all after it."""
        made = 0

        def before(sent: Sent) -> None:
            nonlocal made
            made += 1
            if made >= number:
                raise Killed(f"before {sent}")

        self.before = before

    def kill_after(self, number: int) -> None:
        """The process dies waiting for the answer to its `number`-th request, which takes effect."""
        made = 0

        def before(sent: Sent) -> None:
            nonlocal made
            made += 1
            if made > number:
                raise Killed(f"before {sent}")

        def after(sent: Sent) -> None:
            if made >= number:
                raise Killed(f"after {sent}")

        self.before, self.after = before, after

    def heal(self) -> None:
        self.before = self.after = None


class MotoWire(Wire):
    """Hooks into boto3 clients."""

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        made: list[Any] = [clients.dynamodb, clients.tables, clients.sqs, clients.s3, clients.events]
        made += [clients.secretsmanager, clients.lambda_, clients._client("sts")]
        for client in made:
            client.meta.events.register_first("before-call", self._on_request)
            client.meta.events.register_last("after-call", self._on_answer)

    def _on_request(
        self, model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any
    ) -> tuple[object, dict[str, Any]] | None:
        service = model.service_model.service_name
        answer = self._ask(Sent(service, model.name, _fields(service, params, context)))
        return (SimpleNamespace(status_code=200), answer) if answer is not None else None

    def _on_answer(self, model: Any, **_: Any) -> None:
        if self.after is not None:
            self.after(Sent(model.service_model.service_name, model.name, {}))

    @contextmanager
    def twice(self, service: str | None = None, most: int | None = None) -> Iterator[None]:
        from moto.core.botocore_stubber import BotocoreStubber

        original, left = BotocoreStubber.__call__, _times(most)

        def again(stubber: Any, event_name: str, request: Any, **more: Any) -> Any:
            if (service is None or f".{service}." in event_name) and next(left, None) is not None:
                original(stubber, event_name, request, **more)
            return original(stubber, event_name, request, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BotocoreStubber, "__call__", again)
            yield


class ModelWire(Wire):
    """The gate before the simulation's models."""

    def __init__(self, clients: ModelClients) -> None:
        super().__init__()
        self._lock = Lock()
        self._again: Callable[[gate.Sent], bool] = lambda _: False
        clients.services.gate.interceptor = self._intercept

    def _intercept(self, request: gate.Sent, serve: gate.Serve) -> gate.Answer:
        sent = Sent(request.service, request.operation, request.parameters)
        answer = self._ask(sent)
        if answer is None:
            # Threads of a story ask at once; a model serves one request after the other.
            with self._lock:
                if self._again(request):
                    with suppress(ClientError):
                        serve()
                answer = serve()
        if self.after is not None and sent.service not in OF_OPERATORS:
            self.after(sent)
        return answer

    @contextmanager
    def twice(self, service: str | None = None, most: int | None = None) -> Iterator[None]:
        left = _times(most)
        self._again = lambda request: service in {None, request.service} and next(left, None) is not None
        try:
            yield
        finally:
            self._again = lambda _: False


def _times(most: int | None) -> Iterator[int]:
    return iter(range(most)) if most is not None else itertools.count()


def _fields(service: str, params: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request that boto3 has serialized."""
    if service == "s3":
        return dict(context.get("s3_redirect", {}).get("params", {}))
    try:
        body = params.get("body")
        fields = json.loads(body) if isinstance(body, str | bytes) else {}
    except ValueError:
        return {}
    if service == "lambda":
        kind = params["headers"].get("X-Amz-Invocation-Type")
        return {"FunctionName": params["url_path"].split("/")[3], "InvocationType": kind, "Payload": body}
    return fields if isinstance(fields, dict) else {}
