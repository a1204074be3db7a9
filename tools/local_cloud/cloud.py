"""The local cloud: everything that a deployment has, on this machine, ended with one call."""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rollcall.adapters.buckets import BucketObjects
from rollcall.adapters.clients import CONFIG
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.job import Job
from rollcall.core.run import Redrive, RunRecord, iso, run_id
from rollcall.core.settings import Settings
from rollcall.core.sizing import (
    COMPLETION_TIMEOUT,
    DEAD_LETTER_TIMEOUT,
    FAN_OUT_TIMEOUT,
    LEAST_MAXIMUM_CONCURRENCY,
    WATCHDOG_TIMEOUT,
    worker_sizing,
)
from rollcall.core.target import Bucket, Location, Table
from tools.local_cloud import resources
from tools.local_cloud.address import Address, session
from tools.local_cloud.counting import Requests
from tools.local_cloud.event_source import LONG_POLL_SECONDS, EventSource
from tools.local_cloud.fork_server import ForkServer
from tools.local_cloud.functions import Function, FunctionError, Trouble, Usage
from tools.local_cloud.isolation import REGION
from tools.local_cloud.kept_data import KeptData
from tools.local_cloud.lambda_api import LambdaApi
from tools.local_cloud.ministack import CHECKOUT, MiniStack, MiniStackError
from tools.local_cloud.pollers import QueuePoller, Repeater, follow_stream
from tools.local_cloud.stream import StreamSource
from tools.loopback import Keys

#: Between two rounds of the watchdog; the stacks' schedule is a cron of every minute.
WATCHDOG_SECONDS = 60.0
#: A job's workers that start before the run does, which is all that a small run needs; of a target without keys there
#: may be fifty. The others start with the first batch that is for them.
WARM_WORKERS = 2
#: How long invocations may take to end once a run has ended.
FINISH_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """A job in the local cloud."""

    declared: Declared
    fan_out: Function
    worker: Function


def _buckets(job: Job) -> dict[str, str]:
    return {bucket.name: resources.bucket_name(bucket) for bucket in job.buckets}


class LocalCloud:
    """A context manager: services, functions and pollers run inside it, and nothing of it runs after it."""

    def __init__(
        self, *, folder: Path | None = None, port: int | None = None, import_path: list[str] | None = None
    ) -> None:
        """Start it on temporary data, or on `folder`, where its data is kept for a later one.

        `port` is MiniStack's, a free one by default. `import_path` stands before the checkout on the functions' path:
        for jobs that are not part of it.
        """
        self._ending = ExitStack()
        #: Whether data and logs are there afterwards.
        self.persistent = folder is not None
        self._kept: KeptData | None = None
        if folder is None:
            folder = Path(self._ending.enter_context(tempfile.TemporaryDirectory(prefix="rollcall-")))
        else:
            self._kept = KeptData(folder)
            self._ending.callback(self._kept.release)
        self.folder = folder
        keys = Keys.fresh()
        self.requests = Requests()
        self.functions: dict[str, Function] = {}
        self.used: dict[str, Usage] = {}
        import_path = [*(import_path or []), str(CHECKOUT), str(CHECKOUT / "layers/rollcall/python")]
        self._forks = ForkServer(folder / "functions.log", import_path, keys)
        self._ending.callback(self._forks.stop)
        self._pollers: list[QueuePoller | Repeater] = []
        self._deployed: dict[str, Deployed] = {}
        self._announced: list[Mapping[str, Any]] = []
        try:
            self._api = LambdaApi(self.functions, keys)
            self._ending.callback(self._api.stop)
            functions = self._api.endpoint
            self.ministack = MiniStack(folder, keys=keys, persistent=self.persistent, port=port, functions=functions)
            self._ending.callback(self.ministack.stop)
            #: Where it answers, and what opens it.
            self.address = Address(self.ministack.endpoint, functions, keys)
            self._set_up()
            if self._kept is not None:
                self._ending.callback(self._kept.end_attachments)
                self._kept.publish(self.address)
        except (ClientError, BotoCoreError) as error:
            self.stop()
            raise MiniStackError(f"MiniStack cannot be used: {error}; its data is in {folder}") from error
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Within it, what the services and functions fail with is a MiniStackError that says what to do."""
        try:
            yield
        except (ClientError, BotoCoreError, FunctionError) as error:
            ended = self.ministack.last_words()
            what = f"the local cloud failed: {error}" if ended is None else f"MiniStack ended in the middle: {ended}"
            raise MiniStackError(f"{what}; see that memory and disk suffice and start the run again") from error

    # --- services ---

    @cached_property
    def _session(self) -> boto3.Session:
        """For what the cloud itself does; counted as part of the product."""
        return session(self.address.keys, self.requests)

    def client(self, service: str, *, counted: bool = False, config: Config = CONFIG) -> Any:
        """A boto3 client of a service of this cloud."""
        if not counted:
            return self.address.client(service, config)
        return self._session.client(service, endpoint_url=self.address.services, config=config)  # type: ignore[call-overload]

    @property
    def failures(self) -> list[str]:
        """What asynchronous invocations failed with so far, by function."""
        return self._api.failures

    def troubles(self) -> list[Trouble]:
        """Of all functions whose last invocations failed."""
        found = [function.trouble for function in list(self.functions.values())]
        return [trouble for trouble in found if trouble is not None]

    @cached_property
    def manifests(self) -> Manifests:
        """The manifests, for looking at them."""
        return Manifests(self.client("s3"), resources.MANIFESTS)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, for looking at progress."""
        return Ledger(self.client("dynamodb"), resources.LEDGER)

    @cached_property
    def _hearing(self) -> Any:
        return self.client("sqs", config=CONFIG.merge(Config(read_timeout=LONG_POLL_SECONDS + 10)))

    def _set_up(self) -> None:
        stream = resources.make_ledger(self.client("dynamodb"))
        resources.make_manifests(self.client("s3"), REGION)
        self._heard = resources.make_bus(self.client("events"), self.client("sqs"))
        self._completion = self._function("completion", COMPLETION_TIMEOUT)
        self._watchdog = self._function("watchdog", WATCHDOG_TIMEOUT)
        source = StreamSource(self.client("dynamodbstreams", counted=True), stream)
        self._pollers.append(follow_stream(source, self._completion.invoke))
        self._pollers.append(Repeater(self.tick, WATCHDOG_SECONDS, at_once=False))

    def _settings(self, declared: Declared | None = None, **more: Any) -> Settings:
        return Settings(
            environment=resources.ENVIRONMENT,
            ledger=resources.LEDGER,
            manifests=resources.MANIFESTS,
            bus=resources.BUS,
            job_module=declared.module if declared is not None else None,
            buckets=_buckets(declared.job) if declared is not None else {},
            **more,
        )

    def _function(
        self, kind: str, timeout: timedelta, settings: Settings | None = None, job: str | None = None
    ) -> Function:
        name = names.function_name(resources.ENVIRONMENT, kind, job)
        variables = (settings or self._settings()).to_environ() | {
            "AWS_ENDPOINT_URL": self.ministack.endpoint,
            "AWS_ENDPOINT_URL_LAMBDA": self._api.endpoint,
            "AWS_LAMBDA_FUNCTION_NAME": name,
        }
        self.functions[name] = Function(
            name,
            kind,
            variables,
            timeout=timeout,
            log=self.folder / f"{name}.log",
            requests=self.requests,
            forks=self._forks,
        )
        return self.functions[name]

    def put_secret(self, name: str, fields: Mapping[str, str]) -> None:
        """Store credentials as the deployed environments do; kept data may hold earlier ones."""
        client, text = self.client("secretsmanager"), json.dumps(fields)
        try:
            client.create_secret(Name=name, SecretString=text)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=name, SecretString=text)

    # --- jobs ---

    def deploy(self, declared: Declared, target: Location | None, reports: Mapping[str, Location]) -> Deployed:
        """Make the job's tables, buckets, queues (or state machine) and functions and start its pollers."""
        job = declared.job if target is None else declared.job.bound_to(target)
        for table in job.tables:
            resources.make_table(self.client("dynamodb"), table)
        for bucket in job.buckets:
            resources.make_bucket(self.client("s3"), bucket)
        if not self._deployed:
            self._completion.warm(1)
        deploy = self._deploy_queue if job.delivery is None else self._deploy_batches
        self._deployed[job.name] = deploy(declared, job, target, reports)
        return self._deployed[job.name]

    def _deploy_batches(
        self, declared: Declared, job: Job, target: Location | None, reports: Mapping[str, Location]
    ) -> Deployed:
        """The state machine that the stacks make, run by MiniStack over functions of ours."""
        sizing = worker_sizing(job)
        batch = self._function("batch", sizing.timeout, self._settings(declared, target=target), job.name)
        machine = resources.make_state_machine(self.client("stepfunctions"), job, batch.name)
        fan_out = self._function(
            "fan_out",
            FAN_OUT_TIMEOUT,
            self._settings(declared, state_machine=machine, target=target, reports=dict(reports)),
            job.name,
        )
        fan_out.warm(1)
        batch.warm(min(WARM_WORKERS, sizing.maximum_concurrency))
        return Deployed(declared, fan_out, batch)

    def _deploy_queue(
        self, declared: Declared, job: Job, target: Location | None, reports: Mapping[str, Location]
    ) -> Deployed:
        sizing = worker_sizing(job)
        queue, dead = resources.make_queues(self.client("sqs"), job)
        fan_out = self._function(
            "fan_out",
            FAN_OUT_TIMEOUT,
            self._settings(declared, queue_url=queue.url, target=target, reports=dict(reports)),
            job.name,
        )
        worker = self._function(
            "worker", sizing.timeout, self._settings(declared, queue_url=queue.url, target=target), job.name
        )
        dead_letter = self._function(
            "dead_letter", DEAD_LETTER_TIMEOUT, self._settings(declared, queue_url=dead.url), job.name
        )
        fan_out.warm(1)
        worker.warm(min(WARM_WORKERS, sizing.maximum_concurrency))
        polling = self.client("sqs", counted=True, config=CONFIG.merge(Config(read_timeout=LONG_POLL_SECONDS + 10)))
        source = EventSource(polling, queue.url, queue.arn, sizing.batch_size)
        self._pollers.append(QueuePoller(source, worker.invoke, sizing.maximum_concurrency))
        letters = EventSource(polling, dead.url, dead.arn, sizing.batch_size)
        self._pollers.append(QueuePoller(letters, dead_letter.invoke, LEAST_MAXIMUM_CONCURRENCY))
        return Deployed(declared, fan_out, worker)

    def fill(self, table: Table, items: Iterable[Mapping[str, object]]) -> None:
        """Write items into a table of a deployed job, unless a kept one has items already."""
        resources.fill_table(self.address.tables, table, items)

    def objects(self, bucket: Bucket) -> BucketObjects:
        """The objects of a bucket of a deployed job, for filling and looking at them."""
        return BucketObjects(self.client("s3"), resources.bucket_name(bucket))

    def start(
        self,
        job: str,
        scheduled_for: datetime,
        nonce: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> str:
        """Invoke the job's fan-out asynchronously, as the scheduler does; returns the run's id."""
        event = {"job": job, "scheduled_time": iso(scheduled_for), "params": dict(params or {})}
        self._api.invoke_later(self._deployed[job].fan_out, event if nonce is None else event | {"nonce": nonce})
        return run_id(job, scheduled_for, nonce)

    def redrive(self, job: str, run: RunRecord, redrive: Redrive) -> None:
        """Settle chosen entries of a terminal run again. Raises FunctionError with the reason where that cannot be."""
        event = {"redrive": run.id, "generation": run.generation, **redrive.fields()}
        self._deployed[job].fan_out.invoke(event)

    def tick(self) -> None:
        """One round of the watchdog."""
        try:
            self._watchdog.invoke({})
        except FunctionError:
            return

    def announcements(self, wait_seconds: int = 0) -> list[Mapping[str, Any]]:
        """The details of all RunCompleted events on the bus so far, in the order heard."""
        sqs = self._hearing
        while True:
            answer = sqs.receive_message(QueueUrl=self._heard.url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds)
            for message in answer.get("Messages", []):
                self._announced.append(json.loads(message["Body"])["detail"])
                sqs.delete_message(QueueUrl=self._heard.url, ReceiptHandle=message["ReceiptHandle"])
            if not answer.get("Messages"):
                return list(self._announced)
            wait_seconds = 0

    def finish(self) -> None:
        """Wait for the invocations under way, for a moment: whoever announced a run has yet to note that it did."""
        deadline = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < deadline and any(function.busy for function in self.functions.values()):
            time.sleep(0.01)

    def stop(self) -> None:
        """End everything that was started; callable twice. `used` then tells what each function used."""
        for poller in self._pollers:
            poller.stop()
        for function in self.functions.values():
            used = function.stop()
            self.used[function.kind] = self.used.get(function.kind, Usage()) | used
        self.functions.clear()
        self._ending.close()
        for poller in self._pollers:
            poller.join()
        self._pollers.clear()
