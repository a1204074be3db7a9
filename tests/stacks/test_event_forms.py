"""What schedules send is what the functions take."""

import json

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.event_forms import FAN_OUT_FORMS, form_of
from tests.stacks.cloud import Cloud


def test_every_schedule_of_a_job_sends_a_start(scheduled: tuple[Cloud, Declared]) -> None:
    cloud, declared = scheduled
    function = names.function_name(cloud.environment.name, "fan_out", declared.job.name)
    targets = [each["Target"] for each in cloud.of_type("AWS::Scheduler::Schedule")]
    inputs = [json.loads(each["Input"]) for each in targets if each["Arn"].endswith(f":{function}")]
    assert inputs
    assert {form_of(each, FAN_OUT_FORMS) for each in inputs} == {"scheduled_time"}
