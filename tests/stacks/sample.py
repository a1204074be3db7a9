"""Jobs and an environment with every kind of need and schedule, so that no test depends on which jobs there are."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from rollcall import Call, Entry, Job, Location, Report, Run, Secret, Table, Target, daily, every
from rollcall.core.catalog import Declared
from rollcall.core.job import Job as JobType
from stacks.environment import Ceilings, Environment, Vpc

SLOW = Target("slow-bank", concurrency=64, timeout=timedelta(seconds=60))
IN_BUCKET = Report("in-bucket")
OVER_HTTP = Report("over-http")
DUE = Table("due", key="id", indexes=(("by-state", "state", "due"), ("by-client", "client", "due")))
ANSWERS = Table("answers", key="payment")

FULL = Job(
    "pay",
    schedule=daily("02:30", "14:45", timezone="Europe/London"),
    target=SLOW,
    concurrency=60,
    needs=[IN_BUCKET, OVER_HTTP, Secret("signing"), DUE, ANSWERS.with_deletion()],
    own_alarms=True,
)
#: Its name begins with the other's.
SMALL = Job("pay-back", schedule=every(seconds=15), target=SLOW, concurrency=2, needs=[ANSWERS])


def no_entries(_: Run) -> Iterator[Entry]:
    return iter(())


def callback(payload: dict[str, str], call: Call) -> None:
    raise AssertionError((payload, call))


def declared(job: JobType) -> Declared:
    return Declared(job, "payments", f"functions.jobs.payments.{job.name.replace('-', '_')}")


for _job in (FULL, SMALL):
    _job.source(no_entries)
    _job.callback(callback)

JOBS = (declared(FULL), declared(SMALL))

ENVIRONMENT = Environment(
    name="sample",
    systems=("payments",),
    # Its own rate, on which sizes depend: the target declares none.
    targets={"slow-bank": Location("https://bank.example.com", "rollcall/sample/bank", rate="10/min")},
    reports={
        "in-bucket": Location("s3://somebodys-reports/daily/due.csv"),
        "over-http": Location("https://workday.example.com/raas/due", "rollcall/sample/workday"),
    },
    schedules_enabled=True,
    account="111122223333",
    region="eu-west-1",
    vpc=Vpc(subnet_ids=("subnet-0a1b2c3d", "subnet-0b2c3d4e"), security_group_ids=("sg-0c3d4e5f6a7b8c9d0",)),
    ceilings=Ceilings(workers=5, reserved=7),
    manifest_retention_days=45,
    log_retention=RetentionDays.ONE_WEEK,
    removal_policy=RemovalPolicy.RETAIN,
    alarm_topic="arn:aws:sns:eu-west-1:111122223333:on-call",
    tags={"owner": "payments"},
)

KINDS = ("fan_out", "worker", "dead_letter", "completion", "watchdog")


def write_checkout(root: Path) -> Path:
    """The files of these jobs as a checkout would have them, with what must not be packed beside it."""
    files = [
        "functions/__init__.py",
        "functions/_shared.py",
        "functions/worker/__pycache__/handler.cpython-313.pyc",
        "functions/jobs/__init__.py",
        "functions/jobs/payments/__init__.py",
        "functions/jobs/payments/_bank.py",
        "functions/jobs/payments/_formats/__init__.py",
        "functions/jobs/payments/pay.py",
        "functions/jobs/payments/pay_back.py",
        "functions/jobs/payments/__pycache__/pay.cpython-313.pyc",
        "functions/jobs/water/__init__.py",
        "functions/jobs/water/import_licence.py",
        "layers/rollcall/python/rollcall/__init__.py",
        *(f"functions/{kind}/{file}" for kind in KINDS for file in ("__init__.py", "handler.py")),
    ]
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f'"""{name}"""\n')
    return root
