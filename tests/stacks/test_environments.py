"""Where targets and reports live, per environment."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aws_cdk import App, RemovalPolicy, Stack
from aws_cdk.assertions import Annotations, Match
from aws_cdk.aws_logs import RetentionDays

from rollcall import DeclarationError, Location, Secret
from stacks.deployment import deploy
from stacks.environment import Ceilings, Environment
from stacks.environments import ENVIRONMENTS, chosen
from stacks.runtime import Build
from tests.stacks import sample
from tests.stacks.cloud import Cloud


def places(environment: Environment) -> set[str]:
    """Everything outside that the environment points to: hosts and secrets."""
    locations = [*environment.targets.values(), *environment.reports.values()]
    hosts = {urlsplit(location.url).netloc for location in locations}
    secrets = {location.secret for location in locations if location.secret is not None}
    return hosts | secrets


@pytest.mark.parametrize(("one", "other"), list(combinations(ENVIRONMENTS, 2)))
def test_no_location_is_also_another_environments(one: str, other: str) -> None:
    assert not places(ENVIRONMENTS[one]) & places(ENVIRONMENTS[other])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_an_environment_calls_is_called_over_tls(name: str) -> None:
    assert ENVIRONMENTS[name].name == name
    assert all(location.scheme == "https" for location in ENVIRONMENTS[name].targets.values())
    assert all(location.scheme in ("https", "s3") for location in ENVIRONMENTS[name].reports.values())


def test_schedules_are_off_in_dev_and_on_elsewhere() -> None:
    assert {name: environment.schedules_enabled for name, environment in ENVIRONMENTS.items()} == {
        "dev": False,
        "staging": True,
        "prod": True,
    }


@pytest.mark.parametrize(("bindings", "missing"), [("targets", "slow-bank"), ("reports", "over-http")])
def test_a_binding_that_is_missing_fails_synth_and_says_which(
    tmp_path: Path, dependencies: Path, bindings: str, missing: str
) -> None:
    bound = {name: at for name, at in getattr(sample.ENVIRONMENT, bindings).items() if name != missing}
    environment = replace(sample.ENVIRONMENT, **{bindings: bound})  # type: ignore[arg-type]
    build = Build(root=sample.write_checkout(tmp_path), dependencies=dependencies, staging=tmp_path / "staging")
    with pytest.raises(DeclarationError) as error:
        deploy(App(), environment=environment, jobs=sample.JOBS, build=build)
    for word in ("environment sample", f"{bindings[:-1]} '{missing}'", "job pay ", f"under {bindings} in stacks/"):
        assert word in str(error.value)


def test_bindings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(TypeError):
        sample.ENVIRONMENT.targets["accounting"] = sample.ENVIRONMENT.targets["slow-bank"]  # type: ignore[index]


def test_tags_are_those_of_every_stack(cloud: Cloud) -> None:
    assert all(cloud.tags[stack] == cloud.environment.tags for stack in cloud.templates)


@pytest.mark.parametrize("topic", ["on-call", "arn:aws:sqs:eu-west-1:111122223333:on-call", ""])
def test_alarms_go_to_a_topic_that_is_named_by_its_arn(topic: str) -> None:
    with pytest.raises(DeclarationError, match=r"environment sample: alarm_topic is .*; take the ARN of an SNS topic"):
        replace(sample.ENVIRONMENT, alarm_topic=topic)


def test_workers_that_would_reserve_more_than_the_ceiling_fail_synth(tmp_path: Path, dependencies: Path) -> None:
    """The two jobs have five and two workers here."""
    environment = replace(sample.ENVIRONMENT, ceilings=Ceilings(workers=5, reserved=6))
    build = Build(root=sample.write_checkout(tmp_path), dependencies=dependencies, staging=tmp_path / "staging")
    with pytest.raises(DeclarationError, match=r"its 2 jobs would reserve 7 .*ceilings.reserved is 6; .*pay, takes 5"):
        deploy(App(), environment=environment, jobs=sample.JOBS, build=build)


@pytest.mark.parametrize("workers", [1, 1_001])
def test_a_ceiling_is_one_that_a_mapping_takes(workers: int) -> None:
    with pytest.raises(DeclarationError, match=f"a ceiling of {workers} workers is not possible.* 2 to 1,000"):
        Ceilings(workers=workers)


def test_manifests_are_kept_longer_than_a_dead_letter_can_be() -> None:
    with pytest.raises(DeclarationError, match=r"manifest_retention_days is 28.*take 30 or more whole days"):
        replace(sample.ENVIRONMENT, manifest_retention_days=28)


def test_one_environment_is_chosen_by_name_and_all_without() -> None:
    assert chosen(None) == tuple(ENVIRONMENTS.values())
    assert [environment.name for environment in chosen("prod")] == ["prod"]
    with pytest.raises(DeclarationError, match=r"no environment 'production'; there are: dev, staging, prod"):
        chosen("production")


def at(url: str) -> dict[str, Location]:
    return {"slow-bank": Location(url)}


#: Field, wrong value, what the line says of it.
WRONG: list[tuple[str, object, str]] = [
    ("systems", "payments", "systems is 'payments'; list each folder"),
    ("systems", ("payments", "payments"), "list each folder of functions/jobs once"),
    ("systems", ("Payments",), "the system name 'Payments' is not usable"),
    (
        "targets",
        {"slow-bank": "https://bank.example.com"},
        "targets['slow-bank'] is 'https://bank.example.com'; write Loc",
    ),
    ("targets", at("bank.example.com"), "take a URL that begins with https:// or http://"),
    ("targets", at("https://bank.example.com:99999"), "take a URL that begins with https:// or http://"),
    ("targets", at("s3://bucket/key.json"), "take a URL that begins with https:// or http://"),
    ("targets", at("http://bank.example.com"), "which anybody on the way can read; take https://"),
    ("targets", at("https://me:secret@bank.example.com"), "has credentials in its URL, 'bank.example.com'"),
    ("reports", {"in-bucket": Location("s3://bucket/*")}, "name one object, as in s3://bucket/key.csv"),
    ("reports", {"in-bucket": Location("s3://bucket")}, "name one object, as in s3://bucket/key.csv"),
    ("reports", {"in-bucket": Location("report.csv")}, "begins with https:// or http:// or s3://"),
    ("schedules_enabled", "no", "schedules_enabled is 'no'; take True or False"),
    ("account", 111122223333, "take the 12 digits of an account's id, as text"),
    ("region", "Ireland", "take a region's id, such as 'eu-west-1'"),
    ("region", "us-east-1", "alarm_topic is in eu-west-1; alarms tell topics of their own region, here us-east-1"),
    ("manifest_retention_days", 30.5, "manifest_retention_days is 30.5"),
    ("log_retention", 14, "log_retention is 14; take one of RetentionDays"),
    ("log_retention", RetentionDays.INFINITE, "take one of RetentionDays that ends"),
    ("removal_policy", RemovalPolicy.SNAPSHOT, "take RemovalPolicy.RETAIN or RemovalPolicy.DESTROY"),
    ("removal_policy", "destroy", "take RemovalPolicy.RETAIN or RemovalPolicy.DESTROY"),
    ("tags", {"owner": 7}, "both sides are texts"),
    ("tags", {"aws:owner": "me"}, "no key begins with aws:"),
]


@pytest.mark.parametrize(("field", "value", "said"), WRONG, ids=[f"{field}={value}" for field, value, _ in WRONG])
def test_a_wrong_value_is_one_line_that_says_what_to_write(field: str, value: object, said: str) -> None:
    with pytest.raises(DeclarationError) as error:
        replace(sample.ENVIRONMENT, **{field: value})  # type: ignore[arg-type]
    assert said in str(error.value)
    assert "secret@" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["dev-eu", "Dev", "", "a" * 17, "1st"])
def test_the_name_of_an_environment_can_be_told_from_what_follows_it(name: str) -> None:
    """Else two environments of one account would share names: `dev` with a job `eu-pay`, `dev-eu` with a job `pay`."""
    with pytest.raises(DeclarationError, match=r"the environment name .* is not usable"):
        replace(sample.ENVIRONMENT, name=name)


@pytest.mark.parametrize(
    "name", ["*", "", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:bank-AbCdEf", "bank-?"]
)
def test_a_secret_is_one_and_not_a_pattern(name: str) -> None:
    for make in (lambda: Location("https://bank.example.com", name), lambda: Secret(name)):
        with pytest.raises(DeclarationError, match=r"the secret name .* is not usable"):
            make()


def test_a_system_without_jobs_is_a_warning_for_its_name_may_be_misspelt(tmp_path: Path, dependencies: Path) -> None:
    """No error: the last job of a system may be taken away."""
    environment = replace(sample.ENVIRONMENT, systems=("payments", "paymnets"))
    build = Build(root=sample.write_checkout(tmp_path), dependencies=dependencies, staging=tmp_path / "staging")
    app = App(outdir=str(tmp_path / "cdk.out"))
    deploy(app, environment=environment, jobs=sample.JOBS, build=build)
    ledger = app.node.find_child("rollcall-sample-ledger")
    assert isinstance(ledger, Stack)
    (warned,) = Annotations.from_stack(ledger).find_warning("*", Match.any_value())
    assert "'paymnets', and functions/jobs/paymnets has no jobs" in str(warned.entry.data)
