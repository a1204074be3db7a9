"""Schedules that start a function."""

import json
from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from rollcall.core.sizing import SCHEDULER_GIVES_UP_AFTER
from stacks.function import Function

#: EventBridge Scheduler writes the time here that the schedule meant, the same in every delivery of it
#: (https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


class Timetable(Construct):
    """One EventBridge schedule per expression, with a role that may start this one function.

    Delivery is at least once and within the minute. A start that could not be delivered within half an hour is
    given up, to `undelivered` if there is one.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        #: Name -> expression: `cron(…)`, never `rate(…)`, which would fire at every deployment.
        expressions: Mapping[str, str],
        timezone: str,
        enabled: bool,
        function: Function,
        input_: Mapping[str, object],
        retries: int,
        undelivered: sqs.IQueue | None = None,
    ) -> None:
        super().__init__(scope, id_)
        role = self._role(function, undelivered)
        for number, (name, expression) in enumerate(expressions.items(), 1):
            scheduler.CfnSchedule(
                self,
                f"Schedule{number}",
                name=name,
                schedule_expression=expression,
                schedule_expression_timezone=timezone,
                state="ENABLED" if enabled else "DISABLED",
                flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
                target=scheduler.CfnSchedule.TargetProperty(
                    arn=function.function.function_arn,
                    role_arn=role.role_arn,
                    input=json.dumps(input_),
                    retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                        maximum_retry_attempts=retries,
                        maximum_event_age_in_seconds=int(SCHEDULER_GIVES_UP_AFTER.total_seconds()),
                    ),
                    dead_letter_config=None
                    if undelivered is None
                    else scheduler.CfnSchedule.DeadLetterConfigProperty(arn=undelivered.queue_arn),
                ),
            )

    def _role(self, function: Function, undelivered: sqs.IQueue | None) -> iam.Role:
        stack = Stack.of(self)
        group = f"arn:{stack.partition}:scheduler:{stack.region}:{stack.account}:schedule-group/default"
        statements = [_allow("lambda:InvokeFunction", function.function.function_arn)]
        if undelivered is not None:
            statements.append(_allow("sqs:SendMessage", undelivered.queue_arn))
        return iam.Role(
            self,
            "Role",
            # Only for schedules of this account: https://docs.aws.amazon.com/scheduler/latest/UserGuide/
            # cross-service-confused-deputy-prevention.html
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": stack.account, "aws:SourceArn": group}},
            ),
            inline_policies={"Deliver": iam.PolicyDocument(statements=statements)},
        )


def _allow(action: str, resource: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=[action], resources=[resource])
