"""Where alarms are told."""

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from rollcall.core import names
from stacks.environment import Environment


def topic_arn(scope: Construct, environment: Environment) -> str:
    """Of the environment's own topic, or of the one that AlarmTopic makes."""
    made = Stack.of(scope).format_arn(service="sns", resource=names.alarm_topic_name(environment.name))
    return environment.alarm_topic or made


class AlarmTopic(Construct):
    """The environment's own topic, or an encrypted one made here, to which people subscribe.

    Only alarms of this account publish to it. It has a key of its own, $1 a month: CloudWatch may not use the one
    that SNS would bring (https://repost.aws/knowledge-center/cloudwatch-configure-alarm-sns).
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment) -> None:
        super().__init__(scope, id_)
        self.topic: sns.ITopic
        if environment.alarm_topic is not None:
            self.topic = sns.Topic.from_topic_arn(self, "Topic", environment.alarm_topic)
            return
        key = kms.Key(
            self,
            "Key",
            description=f"Alarms of rollcall-{environment.name}",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        key.add_to_resource_policy(_alarms_may(self, "kms:Decrypt", "kms:GenerateDataKey*", resource="*"))
        topic = sns.Topic(
            self, "Topic", topic_name=names.alarm_topic_name(environment.name), master_key=key, enforce_ssl=True
        )
        topic.add_to_resource_policy(_alarms_may(self, "sns:Publish", resource=topic.topic_arn))
        self.topic = topic


def _alarms_may(scope: Construct, *actions: str, resource: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
        actions=list(actions),
        resources=[resource],
        conditions={"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}},
    )
