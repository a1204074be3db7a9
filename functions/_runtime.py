"""The runtime of every entry point: settings, clients and logs, made on first use."""

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
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int: ...


class Runtime:
    """The runtime of one function."""

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
        """Return the text of a secret; raise DeclarationError if the job does not declare it."""
        self._check_need(Secret(name), f"the secret {name!r}")
        return self.secrets.text(names.secret_name(self.settings.environment, name))

    def table(self, table: Table) -> TableItems:
        """Return the items of a table; raise DeclarationError if the job does not declare it."""
        self._check_need(table, f"the table {table.name!r}")
        return TableItems(self.clients.tables, names.table_name(self.settings.environment, table.name))

    def bucket(self, bucket: Bucket) -> BucketObjects:
        """Return the objects of a bucket; raise DeclarationError if the job does not declare it."""
        self._check_need(bucket, f"the bucket {bucket.name!r}")
        return BucketObjects(self.clients.s3, self.settings.buckets[bucket.name])

    def _check_need(self, need: Need, what: str) -> None:
        if need not in self.job.needs:
            raise DeclarationError(f"job {self.job.name} uses {what}, which is not among its needs; add it there")

    @cached_property
    def job(self) -> Job:
        """The job, with its target as bound in this environment."""
        job = catalog.load(required(self.settings.job_module, "job_module"))
        return job if self.settings.target is None else job.bound_to(self.settings.target)

    def deadline(self, context: Context) -> datetime:
        """Return the time at which Lambda kills this invocation."""
        return self.clock.now() + timedelta(milliseconds=context.get_remaining_time_in_millis())

    def new_token(self) -> str:
        """Return a random text, unique to this call."""
        return secrets.token_hex(8)


class InvocationFailed(RollcallError):
    """A handler raised an error whose own text may quote payloads, answers or secrets."""


def guarded(handle: Callable[[Event, Context], Answer]) -> Callable[[Event, Context], Answer]:
    """Decorate a handler so that its errors contain no payload and no secret.

    Lambda logs the error, returns it to a synchronous caller or a state machine, and puts it on the queue of failed
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
