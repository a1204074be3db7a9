"""What an environment is made of and costs while nothing runs: resources of its stacks, dollars a month by service.

Counted in the synthesized templates of generated jobs, each with one schedule a day, spread over systems. Computed from
the counts, at list prices of us-east-1 without free tier, of 2026-11, for a month of 730 hours:

* SQS: Lambda keeps polling the queue of every mapping, at most with five receives of 20 seconds at a time
  (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html), each a request of $0.50 a million (FIFO).
  This is an upper bound: how many pollers stay at an empty FIFO queue AWS does not say.
* Lambda and EventBridge Scheduler: the watchdog, once a minute, half a second of 512 MB arm64; $0.20 and $1.00 a
  million, and $1.33334e-5 a GB-second.
* DynamoDB: the watchdog reads the record of each job, 1 read unit of $0.125 a million; nothing is written.
* CloudWatch: an alarm costs $0.10 for each metric in it, a dashboard $3.00, a log line of the watchdog (with those that
  Lambda writes, 1.5 KB) $0.50 a GB. One custom metric, the watchdog's rounds, has data in every hour: $0.30. Those of
  jobs are paid for the hours in which they run: a job that runs in one hour of each day has at most 12 of them then.
* KMS: a key is $1.00. SNS, S3 and the ledger: by what is in them, cents.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from bench.result import Result
from rollcall import Call, Entry, Job, Location, Run, Target, daily
from rollcall.core.catalog import Declared
from stacks.deployment import deploy
from stacks.environment import Environment
from stacks.runtime import Build

CHECKOUT = Path(__file__).resolve().parents[1]
KINDS = ("fan_out", "worker", "dead_letter", "completion", "watchdog")
MINUTES = 730 * 60
POLLS = 5 * 3 * MINUTES
SQS, SCHEDULER, INVOCATION, READ_UNIT = (price / 1e6 for price in (0.50, 1.00, 0.20, 0.125))
GB_SECOND, ROUND_GB_SECONDS = 1.33334e-5, 0.5 * 0.5
ALARM_METRIC, CUSTOM_METRIC, DASHBOARD, KEY = 0.10, 0.30, 3.00, 1.00
LOG_GB, ROUND_LOG_GB = 0.50, 1.5e-6
METRICS_OF_A_RUN, HOURS_WITH_DATA = 12, 1 / 24

Templates = Mapping[str, Any]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--systems", type=int, default=4)


def measure(arguments: argparse.Namespace) -> Result:
    """Synthesize the environment and count; an environment without jobs tells what a job adds."""
    result = Result("deployment")
    jobs, systems = arguments.jobs, arguments.systems
    templates = synthesize(jobs, systems)
    for stack, template in templates.items():
        result.add(f"resources of {stack}", len(template["Resources"]))
    result.add("the most in one stack", max(map(_size, templates.values())), "of 500", resources=_sizes(templates))
    bill, empty = idle_bill(templates, jobs), idle_bill(synthesize(0, 0), 0)
    for service, dollars in bill.items():
        result.add(f"  {service}, a month", f"$ {dollars:.3f}, of which $ {empty[service]:.3f} without any job")
    total, base = sum(bill.values()), sum(empty.values())
    a_job = (total - base) / max(1, jobs)
    result.add("an idle environment without jobs, a month", base, "$", idle_environment=round(base, 2))
    result.add("and each idle job, a month", a_job, "$", idle_job=round(a_job, 2))
    return result


def idle_bill(templates: Templates, jobs: int) -> dict[str, float]:
    """Dollars a month by service."""
    resources = [each for template in templates.values() for each in template["Resources"].values()]

    def of(type_: str) -> list[Any]:
        return [each.get("Properties", {}) for each in resources if each["Type"] == type_]

    queues = [each for each in of("AWS::Lambda::EventSourceMapping") if "ScalingConfig" in each]
    alarm_metrics = sum(_metrics_of(alarm) for alarm in of("AWS::CloudWatch::Alarm"))
    return {
        "SQS, polls": len(queues) * POLLS * SQS,
        "Lambda, watchdog": MINUTES * (INVOCATION + ROUND_GB_SECONDS * GB_SECOND),
        "EventBridge Scheduler": MINUTES * SCHEDULER,
        "DynamoDB, watchdog's reads": jobs * MINUTES * READ_UNIT,
        "CloudWatch, alarms": alarm_metrics * ALARM_METRIC,
        "CloudWatch, dashboards": len(of("AWS::CloudWatch::Dashboard")) * DASHBOARD,
        "CloudWatch, metrics": CUSTOM_METRIC * (1 + jobs * METRICS_OF_A_RUN * HOURS_WITH_DATA),
        "CloudWatch, logs": MINUTES * ROUND_LOG_GB * LOG_GB,
        "KMS": len(of("AWS::KMS::Key")) * KEY,
    }


def _metrics_of(alarm: Mapping[str, Any]) -> int:
    return sum("MetricStat" in each for each in alarm.get("Metrics", [])) or 1


def _size(template: Mapping[str, Any]) -> int:
    return len(template["Resources"])


def _sizes(templates: Templates) -> dict[str, int]:
    return {stack: _size(template) for stack, template in templates.items()}


# --- generated jobs ---


def generated(number: int, systems: int) -> tuple[Declared, ...]:
    """Jobs with names as long as they may be, spread over systems."""
    target = Target("generated", concurrency=max(2, 2 * number))
    return tuple(
        _declared(f"job-{index:03}-".ljust(40, "x"), f"system-{index % systems}", target) for index in range(number)
    )


def _declared(name: str, system: str, target: Target) -> Declared:
    job = Job(name, schedule=daily("02:30"), target=target, concurrency=2)
    job.source(_no_entries)
    job.callback(_callback)
    return Declared(job, system, f"functions.jobs.{system}.{name.replace('-', '_')}")


def _no_entries(_: Run) -> Iterator[Entry]:
    return iter(())


def _callback(payload: dict[str, str], call: Call) -> None:
    raise AssertionError((payload, call))


def synthesize(number: int, systems: int) -> Templates:
    """The templates of an environment with so many generated jobs in so many systems, by stack."""
    jobs = generated(number, systems)
    environment = Environment(
        name="generated",
        systems=tuple(f"system-{index}" for index in range(systems)),
        targets={"generated": Location("https://generated.example.com", "rollcall/generated/target")},
        reports={},
        schedules_enabled=True,
        manifest_retention_days=30,
        log_retention=RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.RETAIN,
    )
    context = json.loads((CHECKOUT / "cdk.json").read_text())["context"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write(root, jobs)
        app = App(context=context, outdir=str(root / "cdk.out"))
        build = Build(root=root, dependencies=root / "dependencies", staging=root / "packages")
        deploy(app, environment=environment, jobs=jobs, build=build)
        return {stack.stack_name: stack.template for stack in app.synth().stacks}


def _write(root: Path, jobs: Iterable[Declared]) -> None:
    """Files that stand for the functions'; what is in them makes no difference to the templates."""
    files = [f"functions/{kind}/handler.py" for kind in KINDS]
    files += ["functions/__init__.py", "functions/jobs/__init__.py"]
    files += ["layers/rollcall/python/rollcall/__init__.py", "dependencies/python/__init__.py"]
    for each in jobs:
        files += [f"{each.module.replace('.', '/')}.py", f"functions/jobs/{each.system}/__init__.py"]
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
