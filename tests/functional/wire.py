"""Between the clients and moto: every request is noted, and a test may lose it, its answer, or the whole process."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from rollcall.adapters.clients import Clients


class Killed(BaseException):
    """The process is gone: no handler of ours runs any more requests."""


@dataclass(frozen=True)
class Sent:
    """One request to AWS."""

    service: str
    operation: str
    #: The body's fields, for the services that speak JSON.
    fields: dict[str, Any] = field(repr=False)

    @property
    def key(self) -> str:
        """The key of the ledger item that is written."""
        return str(self.fields.get("Key", {}).get("pk", {}).get("S", ""))


#: Called before a request; may raise, or answer in the place of moto by returning the parsed answer.
Before = Callable[[Sent], dict[str, Any] | None]
After = Callable[[Sent], None]


class Wire:
    """Hooks into boto3 clients, before each request and after each answer."""

    def __init__(self, clients: Clients) -> None:
        self.reset()
        ours = (clients.dynamodb, clients.tables, clients.sqs, clients.s3, clients.events, clients.secretsmanager)
        for client in ours:
            client.meta.events.register_first("before-call", self._on_request)  # type: ignore[arg-type]
            client.meta.events.register_last("after-call", self._on_answer)

    def reset(self) -> None:
        self.sent: list[Sent] = []
        self.before: Before | None = None
        self.after: After | None = None

    def _on_request(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[object, dict[str, Any]] | None:
        sent = Sent(model.service_model.service_name, model.name, _fields(params.get("body")))
        self.sent.append(sent)
        answer = self.before(sent) if self.before is not None else None
        return (SimpleNamespace(status_code=200), answer) if answer is not None else None

    def _on_answer(self, model: Any, **_: Any) -> None:
        if self.after is not None:
            self.after(Sent(model.service_model.service_name, model.name, {}))

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


def _fields(body: object) -> dict[str, Any]:
    try:
        fields = json.loads(body) if isinstance(body, str | bytes) else {}
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
