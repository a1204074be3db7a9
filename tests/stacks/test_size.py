"""Many jobs: what CloudFormation and IAM take, and what is refused."""

import json
from collections import Counter
from typing import Any

import pytest

from bench.deployment import idle_bill, synthesize
from rollcall import DeclarationError
from stacks.jobs_stack import MOST_RESOURCES, resources_of
from tests.stacks.cloud import Cloud

#: Bytes (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html).
LARGEST_TEMPLATE = 1_000_000
#: Characters over all inline policies of a role, and of a managed policy; and how many of these a role takes
#: (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html).
LONGEST_INLINE, LONGEST_MANAGED, MOST_MANAGED = 10_240, 6_144, 10


Size = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module", params=[(30, 4), (130, 8)], ids=["30-jobs", "130-jobs"])
def size(request: pytest.FixtureRequest) -> Size:
    number, systems = request.param
    return number, dict(synthesize(number, systems))


def test_resources_are_counted_as_they_are(cloud: Cloud) -> None:
    for system in {declared.system for declared in cloud.jobs}:
        template = cloud.templates[f"rollcall-{cloud.environment.name}-jobs-{system}"]
        assert len(template["Resources"]) == resources_of(each for each in cloud.jobs if each.system == system)


def test_thirty_jobs_fit_into_their_stacks_and_a_hundred_more(size: Size) -> None:
    for stack, template in size[1].items():
        assert len(template["Resources"]) < MOST_RESOURCES, stack
        assert len(json.dumps(template)) < LARGEST_TEMPLATE, stack


def test_what_the_engine_may_start_and_count_fits_into_its_roles_policies(size: Size) -> None:
    """IAM counts no white space; a region's and an account's names are longer than the references in the template."""
    for stack, template in size[1].items():
        managed: Counter[str] = Counter()
        for resource in template["Resources"].values():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::IAM::Policy":
                assert _length(properties["PolicyDocument"]) < LONGEST_INLINE, stack
            if resource["Type"] == "AWS::IAM::ManagedPolicy":
                assert _length(properties["PolicyDocument"]) < LONGEST_MANAGED, stack
                managed.update(each["Ref"] for each in properties["Roles"])
        assert all(number <= MOST_MANAGED for number in managed.values()), managed


def test_more_jobs_than_a_stack_takes_are_refused_in_one_line() -> None:
    synthesize(21, 1)
    with pytest.raises(DeclarationError, match=r"the 22 jobs in functions/jobs/system-0 take 508 .* own beside it"):
        synthesize(22, 1)


def test_an_idle_environment_costs_what_is_in_it(size: Size) -> None:
    bill = idle_bill(size[1], size[0])
    assert bill["SQS, polls"] == pytest.approx(size[0] * 2 * 5 * 3 * 730 * 60 * 0.5e-6)
    assert all(dollars > 0 for dollars in bill.values())


def _length(document: object) -> int:
    return len(json.dumps(_filled(document), separators=(",", ":")))


def _filled(value: object) -> object:
    """With the longest names of a partition, region and account in the place of references."""
    longest = {"AWS::Partition": "aws-us-gov", "AWS::Region": "ap-southeast-99", "AWS::AccountId": "111122223333"}
    match value:
        case {"Fn::Join": [str(glue), list(parts)]}:
            return glue.join(str(_filled(part)) for part in parts)
        case {"Ref": str(name)}:
            return longest.get(name, name)
        case {"Fn::GetAtt": [str(name), *_]}:
            return f"arn:aws:service:{longest['AWS::Region']}:111122223333:{name}"
        case dict():
            return {key: _filled(each) for key, each in value.items()}
        case list():
            return [_filled(each) for each in value]
    return value
