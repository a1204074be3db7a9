"""What a pipeline gets: a state machine over its steps, and the right to start their runs and hear how they end."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from rollcall import Bucket, DeclarationError, Entry, Job, Pipeline, Run, Task, by_hand, daily
from rollcall.core.catalog import Declared
from rollcall.core.pipeline import definition
from rollcall.core.settings import Settings
from stacks.deployment import deploy
from stacks.environment import Environment
from stacks.jobs_stack import resources_of
from stacks.keys import item_of_target, items_of, runs_of
from stacks.runtime import Build
from tests.stacks import sample
from tests.stacks.cloud import Cloud, Properties
from tests.stacks.nag import nothing_found

LIST = Bucket("list", writes=True, deletes=True)
ENVIRONMENT = replace(sample.ENVIRONMENT, name="piped", buckets={"list": "somebodys-list"})
pipeline = Pipeline("nightly", schedule=daily("01:00"), needs=[LIST])
job = Job("import-things", schedule=by_hand(), target=sample.SLOW, concurrency=2, needs=[Bucket("list")])
STATES = "arn:aws:states:eu-west-1:111122223333"
MACHINE = f"{STATES}:stateMachine:rollcall-piped-nightly-batches"
LAMBDA = "arn:aws:lambda:eu-west-1:111122223333:function"
ANSWERS = {"states:SendTaskFailure", "states:SendTaskSuccess"}


@pipeline.task("fetch")
def fetch(task: Task) -> None:
    raise AssertionError(task)


pipeline.fan_out(job.name)


@job.source
def no_entries(_: Run) -> list[Entry]:
    return []


job.callback(sample.callback)

JOBS = [
    Declared(pipeline, "payments", "functions.jobs.payments.nightly"),
    Declared(job, "payments", "functions.jobs.payments.import_things"),
]


def _deploy(app: App, root: Path, dependencies: Path, environment: Environment = ENVIRONMENT) -> None:
    build = Build(root=root, dependencies=dependencies, staging=Path(app.outdir, "packages"))
    deploy(app, environment=environment, jobs=JOBS, build=build)


def checkout(folder: Path) -> Path:
    root = sample.write_checkout(folder)
    jobs = ("functions/jobs/payments/nightly.py", "functions/jobs/payments/import_things.py")
    for name in ("functions/batch/__init__.py", "functions/batch/handler.py", *jobs):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f'"""{name}"""\n')
    return root


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, context: dict[str, Any], dependencies: Path) -> Cloud:
    app = App(context=context, outdir=str(tmp_path_factory.mktemp("cdk.out")))
    _deploy(app, checkout(tmp_path_factory.mktemp("checkout")), dependencies)
    return Cloud(app.synth(), ENVIRONMENT, JOBS)


def batch(cloud: Cloud) -> Properties:
    return cloud.function("batch", "nightly")


def test_aws_solutions_finds_nothing(tmp_path: Path, context: dict[str, Any], dependencies: Path) -> None:
    app = App(context=context, outdir=str(tmp_path / "cdk.out"))
    _deploy(app, checkout(tmp_path / "checkout"), dependencies)
    nothing_found(app)


def test_the_definition_is_the_one_that_runs_locally(cloud: Cloud) -> None:
    found = cloud.one("AWS::StepFunctions::StateMachine", StateMachineName="rollcall-piped-nightly-batches")
    assert json.loads(found["DefinitionString"]) == definition(pipeline, "${BatchFunction}")
    assert found["DefinitionSubstitutions"] == {"BatchFunction": f"{LAMBDA}:rollcall-piped-nightly-batch"}
    assert found["StateMachineType"] == "STANDARD"


def lint(text: Mapping[str, Any], folder: Path) -> str:
    """What cfn-lint says of a state machine with this definition: its E3601 is Amazon States Language."""
    role = "arn:aws:iam::111122223333:role/steps"
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"Definition": text, "RoleArn": role}}
    template = folder / "template.json"
    template.write_text(json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Machine": machine}}))
    command = [sys.executable, "-c", "from cfnlint.runner.cli import main; main()", "--regions", "eu-west-1"]
    told = subprocess.run([*command, "--", str(template)], capture_output=True, text=True, check=False)
    assert not told.stderr
    return told.stdout


def test_the_definition_is_amazon_states_language(tmp_path: Path) -> None:
    whole = definition(pipeline, f"{LAMBDA}:rollcall-piped-nightly-batch")
    assert lint(whole, tmp_path) == ""
    broken: Any = json.loads(json.dumps(whole))
    del broken["States"]["fetch"]["Resource"]
    assert "E3601" in lint(broken, tmp_path), "what is wrong would be seen"


def test_the_state_machine_invokes_its_function_alone(cloud: Cloud) -> None:
    found = cloud.one("AWS::StepFunctions::StateMachine", StateMachineName="rollcall-piped-nightly-batches")
    invoked = {
        resource
        for statement in cloud.statements(found["RoleArn"])
        for resource in statement["Resource"]
        if "lambda:InvokeFunction" in statement["Action"]
    }
    assert invoked == {f"{LAMBDA}:rollcall-piped-nightly-batch"}


def test_a_step_starts_the_run_of_its_job_and_no_other(cloud: Cloud) -> None:
    assert cloud.allowed(batch(cloud), "lambda") == {
        f"{LAMBDA}:rollcall-piped-import-things-fan-out": {"lambda:InvokeFunction"}
    }
    assert cloud.allowed(batch(cloud), "states") == {MACHINE: ANSWERS}


def test_a_step_only_reads_how_its_run_stands(cloud: Cloud) -> None:
    by_keys = {
        tuple(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]): set(statement["Action"])
        for statement in cloud.statements(batch(cloud)["Role"])
        if "Condition" in statement and "ForAllValues:StringLike" in statement["Condition"]
    }
    runs, both = runs_of("import-things"), {"dynamodb:BatchGetItem", "dynamodb:UpdateItem"}
    assert by_keys == {
        (*items_of(pipeline), item_of_target(pipeline)): both,
        (f"run#{runs}", f"node#{runs}"): {"dynamodb:BatchGetItem"},
        (f"waiting#{runs}",): both,
    }


@pytest.mark.parametrize("kind", ["completion", "watchdog"])
def test_who_announces_ends_may_answer_those_who_wait(cloud: Cloud, kind: str) -> None:
    assert cloud.allowed(cloud.function(kind), "states") == {MACHINE: ANSWERS}


def test_a_bucket_is_the_one_that_the_environment_binds_and_written_only_where_it_is_declared_so(cloud: Cloud) -> None:
    theirs, reading = "arn:aws:s3:::somebodys-list", {"s3:GetObject"}
    writing = reading | {"s3:DeleteObject", "s3:PutObject"}
    for function, allowed in ((batch(cloud), writing), (cloud.function("worker", "import-things"), reading)):
        assert cloud.allowed(function, "s3")[f"{theirs}/*"] == allowed
        assert cloud.allowed(function, "s3")[theirs] == {"s3:ListBucket"}
        assert Settings.from_environ(function["Environment"]["Variables"]).buckets == {"list": "somebodys-list"}


def test_a_bucket_that_is_not_bound_fails_synth(tmp_path: Path, dependencies: Path) -> None:
    with pytest.raises(DeclarationError, match="'list' of job nightly is; bind it under buckets"):
        _deploy(App(outdir=str(tmp_path / "out")), checkout(tmp_path), dependencies, replace(ENVIRONMENT, buckets={}))


def test_a_pipeline_without_the_job_of_a_step_fails_synth(tmp_path: Path, dependencies: Path) -> None:
    build = Build(root=checkout(tmp_path), dependencies=dependencies, staging=tmp_path / "packages")
    with pytest.raises(DeclarationError, match="deploys nightly without its steps import-things"):
        deploy(App(outdir=str(tmp_path / "out")), environment=ENVIRONMENT, jobs=JOBS[:1], build=build)


def test_nothing_schedules_a_job_that_is_started_by_a_pipeline(cloud: Cloud) -> None:
    targets = [each["Target"]["Arn"] for each in cloud.of_type("AWS::Scheduler::Schedule")]
    assert any("nightly" in arn for arn in targets)
    assert not any("import-things" in arn for arn in targets)


def test_resources_are_counted_as_they_are(cloud: Cloud) -> None:
    template = cloud.templates[f"rollcall-{ENVIRONMENT.name}-jobs-payments"]
    assert resources_of(JOBS) == len(template["Resources"])
