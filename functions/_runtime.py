"""What every entry point needs of its environment: settings, clients, logs. Made on first use, kept while it lives."""

import random
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cached_property, wraps
from typing import Any, Protocol, TypeVar

from functions._logs import IN_USE, write_logs
from rollcall.adapters.buckets import BucketObjects
from rollcall.adapters.clients import Clients, words_of
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queue
from rollcall.adapters.secrets import Secrets
from rollcall.adapters.tables import TableItems
from rollcall.core import catalog, names
from rollcall.core.clock import SystemClock
from rollcall.core.errors import DeclarationError, RollcallError, is_own_text
from rollcall.core.job import Job
from rollcall.core.settings import Settings, required
from rollcall.core.target import Bucket, Need, Secret, Table

Event = Mapping[str, Any]
Answer = TypeVar("Answer")


class Context(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int: ...


class Runtime:
    """An environment of one function."""

    @cached_property
    def settings(self) -> Settings:
        settings = Settings.from_environ()
        write_logs(settings.environment)
        return settings

    @cached_property
    def clients(self) -> Clients:
        return Clients()

    @cached_property
    def clock(self) -> SystemClock:
        return SystemClock()

    @cached_property
    def random(self) -> random.Random:
        return random.Random()  # noqa: S311 - spreads waits, keeps no secret

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.clients.dynamodb, self.settings.ledger)

    @cached_property
    def manifests(self) -> Manifests:
        return Manifests(self.clients.s3, self.settings.manifests)

    @cached_property
    def queue(self) -> Queue:
        return Queue(self.clients.sqs, required(self.settings.queue_url, "queue_url"), self.clock)

    @cached_property
    def secrets(self) -> Secrets:
        return Secrets(self.clients.secretsmanager, IN_USE)

    def secret(self, name: str) -> str:
        """The text of a secret, as this environment names it. Raises DeclarationError where the job needs none such."""
        self._check_need(Secret(name), f"the secret {name!r}")
        return self.secrets.text(names.secret_name(self.settings.environment, name))

    def table(self, table: Table) -> TableItems:
        """The items of a table, as this environment names it. Raises DeclarationError where the job needs none such."""
        self._check_need(table, f"the table {table.name!r}")
        return TableItems(self.clients.tables, names.table_name(self.settings.environment, table.name))

    def bucket(self, bucket: Bucket) -> BucketObjects:
        """The objects of a bucket, where this environment has it. Raises DeclarationError where the job needs none."""
        self._check_need(bucket, f"the bucket {bucket.name!r}")
        return BucketObjects(self.clients.s3, self.settings.buckets[bucket.name])

    def _check_need(self, need: Need, what: str) -> None:
        if need not in self.job.needs:
            raise DeclarationError(f"job {self.job.name} uses {what}, which is not among its needs; add it there")

    @cached_property
    def job(self) -> Job:
        """The job, with its target as this environment binds it."""
        job = catalog.load(required(self.settings.job_module, "job_module"))
        return job if self.settings.target is None else job.bound_to(self.settings.target)

    def deadline(self, context: Context) -> datetime:
        """When this invocation is killed."""
        return self.clock.now() + timedelta(milliseconds=context.get_remaining_time_in_millis())

    def new_token(self) -> str:
        """A text that nobody else has."""
        return secrets.token_hex(8)


class InvocationFailed(RollcallError):
    """A handler raised an error whose own text may quote payloads, answers or secrets."""


def guarded(handle: Callable[[Event, Context], Answer]) -> Callable[[Event, Context], Answer]:
    """Decorate a handler: what it raises repeats no payload and no secret.

    Lambda logs it, hands it to a synchronous caller and to a state machine, and puts it on the queue of failed
    asynchronous invocations.
    """

    @wraps(handle)
    def handler(event: Event, context: Context) -> Answer:
        try:
            return handle(event, context)
        except (Exception, SystemExit) as error:
            text = IN_USE.redacted(words_of(error))
            if is_own_text(error) and text == str(error):
                raise error from None
            raise InvocationFailed(text).with_traceback(error.__traceback__) from None

    return handler
