"""Entry point for a dead-letter queue: a message batch."""

from functools import cached_property
from typing import Any

from functions._runtime import Context, Event, Runtime, guarded
from rollcall.engine.worker.dead_letter import DeadLetters


class DeadLetterRuntime(Runtime):
    """The runtime of the dead-letter function."""

    @cached_property
    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self.ledger, self.manifests, self.clock, self.settings.environment)


runtime = DeadLetterRuntime()


@guarded
def handler(event: Event, context: Context) -> dict[str, Any]:
    """Settle a message batch; return the messages to retry."""
    del context
    returned = runtime.dead_letters.handle(event["Records"])
    return {"batchItemFailures": [{"itemIdentifier": name} for name in returned]}
