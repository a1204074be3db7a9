"""What the executions of a state machine on the local cloud came to."""

import time
from collections.abc import Sequence

from rollcall.core.names import execution_name, state_machine_name
from tools.local_cloud.cloud import LocalCloud
from tools.local_cloud.resources import ENVIRONMENT


def history(cloud: LocalCloud, job: str, run: str) -> list[str]:
    """The types of all events of a run's execution, once that has ended."""
    client = cloud.client("stepfunctions")
    machines = client.list_state_machines()["stateMachines"]
    (machine,) = (each for each in machines if each["name"] == state_machine_name(ENVIRONMENT, job))
    arn = f"{machine['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{execution_name(run, 1)}"
    while client.describe_execution(executionArn=arn)["status"] == "RUNNING":
        time.sleep(0.1)
    pages = client.get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event["type"] for page in pages for event in page["events"]]


def transitions(events: Sequence[str], slices: int) -> int:
    """State transitions that AWS bills, from the types of an execution's events.

    MiniStack's history has the tasks of a Map's iterations and no other of their states; which these are follows from
    `rollcall.core.batches.definition`. A try of a task is a transition, each answer brings a choice, and behind that
    is a wait; behind the last one also the end of the slice. And the Map is one itself.
    """
    tried, answered = events.count("TaskScheduled"), events.count("TaskSucceeded")
    return 1 + tried + 2 * answered + slices
