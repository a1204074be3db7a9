"""The events that commands and schedules send, recorded by giving the commands and by synthesizing the schedules."""

import io
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from aws_cdk import App

from rollcall.adapters.functions import Functions
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queues
from rollcall.core.catalog import Declared
from rollcall.core.run import RunState, run_id
from stacks.deployment import deploy
from stacks.runtime import Build
from tests.releases.clouds import RecordedCloud
from tests.releases.declared import PAY, TROUBLES, a_job, listed
from tests.releases.words import start, state_of, until
from tests.simulation.models.virtual_time import START
from tests.simulation.plays.target import scripted
from tests.stacks import sample
from tests.stacks.cloud import Cloud
from tools.cli.deployment import Deployment
from tools.cli.main import main
from tools.local_cloud.resources import ENVIRONMENT, MANIFESTS

#: What EventBridge Scheduler puts in the place of its placeholder.
SCHEDULED_TIME, DUE = "<aws.scheduler.scheduled-time>", f"{START:%Y-%m-%dT%H:%M:%SZ}"


def schedules() -> list[dict[str, Any]]:
    """The events of the sample environment's schedules, at `START`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "layer" / "python").mkdir(parents=True)
        app = App(outdir=str(folder / "cdk.out"), analytics_reporting=False)
        build = Build(
            root=sample.write_checkout(folder / "checkout"), dependencies=folder / "layer", staging=folder / "packages"
        )
        deploy(app, environment=sample.ENVIRONMENT, jobs=sample.JOBS, build=build)
        cloud = Cloud(app.synth(), sample.ENVIRONMENT, sample.JOBS)
        return [
            {
                "sender": f"schedule {each['Name']}",
                "function": str(each["Target"]["Arn"]).rpartition(":")[2],
                "event": json.loads(each["Target"]["Input"].replace(SCHEDULED_TIME, DUE)),
            }
            for each in sorted(cloud.of_type("AWS::Scheduler::Schedule"), key=lambda each: str(each["Name"]))
        ]


def commands() -> list[dict[str, Any]]:
    """The events of commands."""
    found: list[dict[str, Any]] = []
    job = a_job(listed(8))
    with RecordedCloud([job], seed=77) as cloud, _reached(cloud):
        cloud.shops["shop"].script = scripted(TROUBLES)

        def rollcall(*arguments: str) -> None:
            seen = len(cloud.invocations.found)
            output = redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO())
            with patch("sys.argv", ["rollcall", *arguments, "--env", ENVIRONMENT]), output[0], output[1]:
                main()
            sent = (each for each in cloud.invocations.found[seen:] if "Records" not in each["event"])
            found.extend({"sender": " ".join(["rollcall", *arguments]), **each} for each in sent)

        rollcall("start", PAY)
        cloud.run_until(cloud.ended)
        rollcall("start", PAY, "--param", "month=2026-10", "--param", "note=ü")
        cloud.run_until(cloud.ended)
        run = run_id(PAY, START, "0000a1")
        rollcall("redrive", run, "--outcome", "rejected", "--error", "http_404", "--entry", "D03", "--new-key")
        cloud.run_until(cloud.ended)
        rollcall("redrive", run)
        cloud.run_until(cloud.ended)
        rollcall("verify", _with_lost_messages(cloud), "--repair")
        rollcall("verify", _without_its_fan_out(cloud), "--repair")
        rollcall("verify", _unannounced(cloud), "--repair")
    return found


def _with_lost_messages(cloud: RecordedCloud) -> str:
    run = start(cloud, nonce="lost")
    until(cloud, lambda: state_of(cloud, run) is RunState.RUNNING)
    cloud.kill("worker", cloud.jobs[0])
    messages = cloud.services.sqs.queue(cloud.queues[PAY][0].url).messages
    for message in messages.all():
        messages.remove(message)
    return run


def _without_its_fan_out(cloud: RecordedCloud) -> str:
    run = start(cloud, nonce="left")
    until(cloud, lambda: state_of(cloud, run) is RunState.ENUMERATING)
    cloud.kill("fan_out", cloud.jobs[0])
    return run


def _unannounced(cloud: RecordedCloud) -> str:
    run = start(cloud, nonce="still")
    until(cloud, lambda: state_of(cloud, run) is RunState.COMPLETE)
    cloud.kill("completion")
    return run


@contextmanager
def _reached(cloud: RecordedCloud) -> Iterator[None]:
    """Within it, the commands reach this deployment, whose time passes while they wait."""

    class Clock:
        now = cloud.clock.now

        def sleep(self, duration: timedelta) -> None:
            cloud.pass_time(duration)

    @contextmanager
    def reached(environment: str | None) -> Iterator[Deployment]:
        assert environment == ENVIRONMENT
        clients = cloud.observer
        yield Deployment(
            environment=ENVIRONMENT,
            place=f"environment {ENVIRONMENT}",
            option=f" --env {ENVIRONMENT}",
            ledger=cloud.ledger,
            manifests=Manifests(clients.s3, MANIFESTS),
            queues=Queues(clients.sqs, ENVIRONMENT),
            functions=Functions(clients.lambda_, ENVIRONMENT),
            alone=False,
        )

    watchdog = cloud.function("watchdog")
    cloud.services.lambda_.functions[watchdog.name] = partial(cloud._invoke_async, watchdog)
    catalog = {job.name: Declared(job, "payments", "functions.jobs.payments") for job in cloud.jobs}
    tokens = iter(f"{number:06x}" for number in range(0xA1, 0xFF))
    replaced: dict[str, Any] = {
        "tools.cli.main.find": catalog.__getitem__,
        "tools.cli.main.reached": reached,
        "tools.cli.main.SystemClock": Clock,
        "tools.cli.main.signal.signal": lambda *_: None,
        "tools.cli.operating.find": catalog.__getitem__,
        "tools.cli.operating.reached": reached,
        "tools.cli.operating.SystemClock": Clock,
        "tools.cli.operating.secrets": SimpleNamespace(**{**vars(secrets), "token_hex": lambda _: next(tokens)}),
    }
    with ExitStack() as stack:
        for name, replacement in replaced.items():
            stack.enter_context(patch(name, replacement))
        yield
