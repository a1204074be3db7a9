"""An environment in a network that is there already."""

from collections.abc import Mapping

import pytest

from rollcall import DeclarationError
from stacks.environment import Vpc
from stacks.function import NETWORK_ACTIONS
from tests.stacks.cloud import Cloud

SUBNET, GROUP = "subnet-0a1b2c3d", "sg-0c3d4e5f6a7b8c9d0"


def test_every_function_is_in_the_environments_vpc_or_in_none(cloud: Cloud) -> None:
    vpc = cloud.environment.vpc
    expected = vpc and {"SubnetIds": list(vpc.subnet_ids), "SecurityGroupIds": list(vpc.security_group_ids)}
    for function in cloud.of_type("AWS::Lambda::Function"):
        assert function.get("VpcConfig") == expected


def test_lambda_may_connect_a_function_and_the_function_itself_may_not(clouds: Mapping[str, Cloud]) -> None:
    cloud = clouds["sample"]
    for function in cloud.of_type("AWS::Lambda::Function"):
        (denied,) = (each for each in cloud.statements(function["Role"]) if each["Effect"] == "Deny")
        assert (set(denied["Action"]), denied["Resource"]) == (set(NETWORK_ACTIONS), ["*"])
        arn = f"arn:aws:lambda:eu-west-1:111122223333:function:{function['FunctionName']}"
        assert denied["Condition"] == {"ArnEquals": {"lambda:SourceFunctionArn": arn}}
        assert cloud.allowed(function, "ec2") == {"*": set(NETWORK_ACTIONS)}


def test_outside_of_a_vpc_nobody_may_touch_networks(clouds: Mapping[str, Cloud]) -> None:
    for function in clouds["prod"].of_type("AWS::Lambda::Function"):
        assert clouds["prod"].allowed(function, "ec2") == {}


@pytest.mark.parametrize(
    ("subnets", "groups"),
    [
        ((), (GROUP,)),
        ((SUBNET,), ()),
        (("vpc-0a1b2c3d",), (GROUP,)),
        ((SUBNET,), ("default",)),
        (("subnet-1",), (GROUP,)),
    ],
)
def test_a_vpc_is_given_by_the_ids_of_subnets_and_security_groups(
    subnets: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    with pytest.raises(DeclarationError, match=r"takes 1 to (16|5) ids that begin with (subnet|sg)-"):
        Vpc(subnet_ids=subnets, security_group_ids=groups)
