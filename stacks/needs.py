"""What a job's declaration lets its functions do."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from aws_cdk import Stack

from rollcall.core import names
from rollcall.core.job import Job
from rollcall.core.target import Bucket, Location, Secret, Table
from stacks.environment import Environment
from stacks.function import Function

#: What `rollcall.Items` asks of a table. No scan and no deletion: neither belongs into a run.
TABLE_ACTIONS = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem")


def allow_reports(function: Function, reports: Mapping[str, Location]) -> None:
    """Let `function` read these reports: their secrets, and their objects where they lie in S3."""
    function.allow_secrets(*(location.secret for location in reports.values() if location.secret is not None))
    objects = {urlsplit(location.url) for location in reports.values() if location.scheme == "s3"}
    for where in sorted(objects):
        function.allow(["s3:GetObject"], f"arn:{Stack.of(function).partition}:s3:::{where.netloc}{where.path}")


def allow_needs(function: Function, environment: Environment, job: Job) -> None:
    """Let `function` read the secrets and use the tables and buckets that `job` declares among its needs."""
    for need in job.needs:
        match need:
            case Secret():
                function.allow_secrets(names.secret_name(environment.name, need.name))
            case Table():
                _allow_table(function, names.table_name(environment.name, need.name), need)
            case Bucket():
                _allow_bucket(function, environment.buckets_of(job)[need.name], need)


def _allow_bucket(function: Function, name: str, bucket: Bucket) -> None:
    arn = f"arn:{Stack.of(function).partition}:s3:::{name}"
    # Who may list a bucket is told 404 of what is not there, and else 403
    # (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
    function.allow(["s3:ListBucket"], arn)
    writing = ["s3:DeleteObject", "s3:PutObject"] if bucket.writes else []
    because = "the objects of a bucket that the job declares; their names are its own"
    function.allow(["s3:GetObject", *writing], f"{arn}/*", because=because)


def _allow_table(function: Function, name: str, table: Table) -> None:
    # By name: a reference would keep the tables' stack from ever changing before the jobs'.
    arn = Stack.of(function).format_arn(service="dynamodb", resource="table", resource_name=name)
    function.allow(TABLE_ACTIONS, arn)
    if table.indexes:
        function.allow(["dynamodb:Query"], *(f"{arn}/index/{index}" for index, _, _ in table.indexes))
