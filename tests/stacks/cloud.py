"""Synthesized templates as what they would deploy: names and ARNs in place of references."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk.cx_api import CloudAssembly

from rollcall.core import names
from rollcall.core.catalog import Declared
from stacks.environment import Environment

Properties = dict[str, Any]

PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "111122223333"}
#: Type -> property with the name, and the form of the ARN.
ARNS = {
    "AWS::SQS::Queue": ("QueueName", "arn:aws:sqs:eu-west-1:111122223333:{}"),
    "AWS::Lambda::Function": ("FunctionName", "arn:aws:lambda:eu-west-1:111122223333:function:{}"),
    "AWS::DynamoDB::Table": ("TableName", "arn:aws:dynamodb:eu-west-1:111122223333:table/{}"),
    "AWS::S3::Bucket": ("BucketName", "arn:aws:s3:::{}"),
    "AWS::StepFunctions::StateMachine": ("StateMachineName", "arn:aws:states:eu-west-1:111122223333:stateMachine:{}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "arn:aws:logs:eu-west-1:111122223333:log-group:{}:*"),
}


@dataclass(frozen=True)
class Resource:
    """One resource of a template, its intrinsic functions evaluated."""

    stack: str
    id: str
    type: str
    properties: Properties
    deletion_policy: str | None


class Cloud:
    """An environment as its templates would make it."""

    def __init__(self, assembly: CloudAssembly, environment: Environment, jobs: Sequence[Declared]) -> None:
        self.environment = environment
        self.jobs = jobs
        self.folder = Path(assembly.directory)
        self.templates: dict[str, Properties] = {
            stack.stack_name: stack.template
            for stack in assembly.stacks
            if stack.stack_name.startswith(f"rollcall-{environment.name}-")
        }
        #: Stack -> the stacks that are deployed before it.
        self.depends: dict[str, set[str]] = {
            stack.stack_name: {each.id for each in stack.dependencies} for stack in assembly.stacks
        }
        self.tags: dict[str, dict[str, str]] = {stack.stack_name: dict(stack.tags) for stack in assembly.stacks}
        self.resources = [
            Resource(
                stack, id_, raw["Type"], _evaluated(raw.get("Properties", {}), template), raw.get("DeletionPolicy")
            )
            for stack, template in self.templates.items()
            for id_, raw in template["Resources"].items()
        ]

    def of_type(self, type_: str) -> list[Properties]:
        return [resource.properties for resource in self.resources if resource.type == type_]

    def one(self, type_: str, **properties: object) -> Properties:
        """The only resource of this type with these properties."""
        (found,) = (each for each in self.of_type(type_) if properties.items() <= each.items())
        return found

    def queue(self, name: str) -> Properties:
        return self.one("AWS::SQS::Queue", QueueName=name)

    def function(self, kind: str, job: str | None = None) -> Properties:
        name = names.function_name(self.environment.name, kind, job)
        return self.one("AWS::Lambda::Function", FunctionName=name)

    def state_machine(self, job: str) -> str:
        """The ARN of the job's state machine."""
        name = names.state_machine_name(self.environment.name, job)
        assert self.one("AWS::StepFunctions::StateMachine", StateMachineName=name)
        return ARNS["AWS::StepFunctions::StateMachine"][1].format(name)

    def mapping(self, function: Properties) -> Properties:
        return self.one("AWS::Lambda::EventSourceMapping", FunctionName=function["FunctionName"])

    def statements(self, role: str) -> Iterator[Properties]:
        """What the role (an ARN) may do and what it is denied; actions and resources as lists."""
        for policy in (*self.of_type("AWS::IAM::Policy"), *self.of_type("AWS::IAM::ManagedPolicy")):
            if any(role.endswith(f"role/{name}") for name in policy["Roles"]):
                yield from map(_listed, policy["PolicyDocument"]["Statement"])
        for own in (each for each in self.resources if each.type == "AWS::IAM::Role" and each.id in role):
            for inline in own.properties.get("Policies", []):
                yield from map(_listed, inline["PolicyDocument"]["Statement"])

    def allowed(self, function: Properties, service: str) -> dict[str, set[str]]:
        """Resource -> actions of `service` that the function may do on it."""
        found: dict[str, set[str]] = {}
        for statement in (each for each in self.statements(function["Role"]) if each["Effect"] == "Allow"):
            for resource in statement["Resource"]:
                if actions := {name for name in statement["Action"] if name.startswith(f"{service}:")}:
                    found.setdefault(resource, set()).update(actions)
        return found

    def package(self, function: Properties) -> set[str]:
        """The names of the files in the function's zip."""
        folder = self.package_folder(function)
        return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}

    def package_folder(self, function: Properties) -> Path:
        return self.folder / f"asset.{function['Code']['S3Key'].removesuffix('.zip')}"


def sqs_arn(name: str) -> str:
    return ARNS["AWS::SQS::Queue"][1].format(name)


def queue_url(name: str) -> str:
    return f"https://sqs.eu-west-1.amazonaws.com/111122223333/{name}"


def _listed(statement: Properties) -> Properties:
    lists = {key: value if isinstance(value, list) else [value] for key, value in statement.items()}
    return statement | {"Action": lists["Action"], "Resource": lists["Resource"]}


def _evaluated(value: Any, template: Mapping[str, Any]) -> Any:
    match value:
        case {"Ref": str(name)}:
            return PSEUDO.get(name) or _referred(name, template)
        case {"Fn::GetAtt": [str(name), "Arn"]}:
            return _arn(name, template)
        case {"Fn::Join": [str(glue), list(parts)]}:
            return glue.join(_evaluated(part, template) for part in parts)
        case {"Fn::ImportValue": str(export)}:
            return export
        case {"Fn::Sub": str(text)}:
            return text
        case dict():
            unknown = [name for name in value if name.startswith("Fn::") or name == "Ref"]
            assert not unknown, f"these tests do not evaluate {unknown}"
            return {name: _evaluated(member, template) for name, member in value.items()}
        case list():
            return [_evaluated(member, template) for member in value]
    return value


def _referred(id_: str, template: Mapping[str, Any]) -> str:
    resource = template["Resources"][id_]
    if resource["Type"] not in ARNS:
        return id_
    if resource["Type"] == "AWS::StepFunctions::StateMachine":
        return _arn(id_, template)
    name: str = _evaluated(resource["Properties"][ARNS[resource["Type"]][0]], template)
    return queue_url(name) if resource["Type"] == "AWS::SQS::Queue" else name


def _arn(id_: str, template: Mapping[str, Any]) -> str:
    resource = template["Resources"][id_]
    if resource["Type"] not in ARNS:
        return f"arn:aws:iam::111122223333:role/{id_}"
    key, form = ARNS[resource["Type"]]
    return form.format(_evaluated(resource["Properties"][key], template))
