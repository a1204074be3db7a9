"""An environment as stacks."""

from collections.abc import Iterable
from typing import Any

import aws_cdk
from constructs import Construct

from rollcall.core.catalog import Declared
from stacks.dashboard_stack import DashboardStack
from stacks.engine_stack import EngineStack
from stacks.environment import Environment
from stacks.jobs_stack import JobsStack
from stacks.ledger_stack import LedgerStack
from stacks.operations_stack import OperationsStack
from stacks.pipelines import check_pipelines
from stacks.runtime import Build
from stacks.sums_stack import SumsStack
from stacks.tables_stack import TablesStack, tables_of


def deploy(scope: Construct, *, environment: Environment, jobs: Iterable[Declared], build: Build) -> None:
    """Add the environment's data, a stack of jobs and one of their tables for each of its systems, its engine, and what
    it is watched by.
    """
    prefix = f"rollcall-{environment.name}"
    deployed = [declared for declared in jobs if declared.system in environment.systems]
    check_pipelines(environment.name, deployed)
    environment.check_reserved(declared.job for declared in deployed)
    common: dict[str, Any] = {
        "environment": environment,
        "env": aws_cdk.Environment(account=environment.account, region=environment.region),
        # CloudFormation hands them on to every resource that takes tags.
        "tags": dict(environment.tags),
    }
    ledger = LedgerStack(scope, f"{prefix}-ledger", termination_protection=environment.retained, **common)
    engine = EngineStack(scope, f"{prefix}-engine", jobs=deployed, build=build, **common)
    engine.add_stack_dependency(ledger)
    # Without jobs there is nothing to add up, and a stack has one resource at least.
    sums = SumsStack(scope, f"{prefix}-sums", jobs=deployed, **common) if deployed else None
    others = sums.alarm_names if sums is not None else []
    operations = OperationsStack(scope, f"{prefix}-operations", jobs=deployed, others=others, **common)
    if sums is not None:
        sums.add_stack_dependency(operations)
    # Its watchdog alarm would go off at once.
    operations.add_stack_dependency(engine)
    tables = tables_of(deployed)
    for system in environment.systems:
        if mine := [declared for declared in deployed if declared.system == system]:
            stack = JobsStack(scope, f"{prefix}-jobs-{system}", jobs=mine, build=build, **common)
            stack.add_stack_dependency(ledger)
            DashboardStack(scope, f"{prefix}-dashboard-{system}", jobs=mine, **common)
            if system in tables:
                needed = TablesStack(
                    scope,
                    f"{prefix}-tables-{system}",
                    tables=tables[system],
                    termination_protection=environment.retained,
                    **common,
                )
                stack.add_stack_dependency(needed)
