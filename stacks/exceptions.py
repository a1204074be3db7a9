"""Where a resource departs from the rules of cdk-nag's AwsSolutions, and why. The reason stands beside the resource."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import Construct


def accept(construct: Construct, rule: str, reason: str) -> None:
    """Let `construct` and all within it depart from `rule`, such as `S1`."""
    Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason))


def accept_wildcard(role: Construct, resource: str, reason: str) -> None:
    """Let the policies of `role` name `resource` (an ARN), which has a `*` in it."""
    accept(role, f"IAM5[Resource::{_spelled(Stack.of(role).resolve(resource))}]", reason)


def _spelled(value: Any) -> str:
    """An ARN as cdk-nag writes it, with `<AWS::Partition>` where the template refers to that."""
    match value:
        case {"Fn::Join": [str(glue), list(parts)]}:
            return glue.join(map(_spelled, parts))
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case Mapping():
            raise TypeError(f"cdk-nag's spelling of {value} is not known")
    return str(value)
