"""What a job may do that calls nobody, deletes items and adds objects: that, in its own tables and bucket, no more."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from rollcall import Batches, Bucket, Call, DeclarationError, Entry, Job, Run, Target, daily
from rollcall.core.catalog import Declared
from rollcall.core.settings import Settings
from stacks.deployment import deploy
from stacks.runtime import Build
from tests.stacks import sample
from tests.stacks.cloud import Cloud
from tests.stacks.nag import nothing_found
from tests.stacks.test_batches import checkout

NAME = "pay-slowly"
READ, WRITTEN = Bucket("imports"), Bucket("old-answers", writes=True)
ENVIRONMENT = replace(
    sample.ENVIRONMENT, name="archived", buckets={"imports": "somebodys-imports", "old-answers": "our-old-answers"}
)
job = Job(
    NAME,
    schedule=daily("00:00"),
    target=Target("own-tables", concurrency=1, http=False),
    concurrency=1,
    delivery=Batches(size=1, most_entries=100),
    needs=[sample.ANSWERS.with_deletion(), sample.DUE, READ, WRITTEN],
)


@job.source
def no_entries(_: Run) -> Iterator[Entry]:
    return iter(())


@job.callback
def callback(payload: dict[str, str], call: Call) -> None:
    raise AssertionError((payload, call))


JOBS = [Declared(job, "payments", "functions.jobs.payments.pay_slowly")]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, context: dict[str, Any], dependencies: Path) -> Cloud:
    app = App(context=context, outdir=str(tmp_path_factory.mktemp("cdk.out")))
    _deploy(app, checkout(tmp_path_factory.mktemp("checkout")), dependencies)
    return Cloud(app.synth(), ENVIRONMENT, JOBS)


def _deploy(app: App, root: Path, dependencies: Path) -> None:
    build = Build(root=root, dependencies=dependencies, staging=Path(app.outdir, "packages"))
    deploy(app, environment=ENVIRONMENT, jobs=JOBS, build=build)


def test_aws_solutions_finds_nothing(tmp_path: Path, context: dict[str, Any], dependencies: Path) -> None:
    app = App(context=context, outdir=str(tmp_path / "cdk.out"))
    _deploy(app, checkout(tmp_path / "checkout"), dependencies)
    nothing_found(app)


@pytest.mark.parametrize("kind", ["batch", "fan_out"])
def test_items_are_deleted_only_of_the_table_that_the_job_deletes_from(cloud: Cloud, kind: str) -> None:
    allowed = cloud.allowed(cloud.function(kind, NAME), "dynamodb")
    deleting = {resource for resource, actions in allowed.items() if "dynamodb:DeleteItem" in actions}
    assert deleting == {"arn:aws:dynamodb:eu-west-1:111122223333:table/rollcall-archived-answers"}


@pytest.mark.parametrize("kind", ["batch", "fan_out"])
def test_objects_are_read_and_added_where_the_job_says_so_and_never_deleted(cloud: Cloud, kind: str) -> None:
    allowed = cloud.allowed(cloud.function(kind, NAME), "s3")
    of_job = {resource: actions for resource, actions in allowed.items() if "manifests" not in resource}
    assert of_job == {
        "arn:aws:s3:::somebodys-imports": {"s3:ListBucket"},
        "arn:aws:s3:::somebodys-imports/*": {"s3:GetObject"},
        "arn:aws:s3:::our-old-answers": {"s3:ListBucket"},
        "arn:aws:s3:::our-old-answers/*": {"s3:GetObject", "s3:PutObject"},
    }


def test_it_is_told_the_buckets_of_this_environment_and_no_target(cloud: Cloud) -> None:
    for kind in ("batch", "fan_out"):
        settings = Settings.from_environ(cloud.function(kind, NAME)["Environment"]["Variables"])
        assert settings.buckets == ENVIRONMENT.buckets
        assert settings.target is None


def test_a_bucket_that_is_bound_nowhere_is_named_with_what_to_do() -> None:
    with pytest.raises(DeclarationError, match="does not say where the bucket 'imports' of job pay-slowly is"):
        replace(ENVIRONMENT, buckets={}).buckets_of(job)
