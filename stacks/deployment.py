"""An environment as stacks."""

from collections.abc import Iterable

import aws_cdk
from constructs import Construct

from rollcall.core.catalog import Declared
from stacks.engine_stack import EngineStack
from stacks.environment import Environment
from stacks.jobs_stack import JobsStack
from stacks.ledger_stack import LedgerStack
from stacks.operations_stack import OperationsStack
from stacks.runtime import Build
from stacks.tables_stack import TablesStack, tables_of


def deploy(scope: Construct, *, environment: Environment, jobs: Iterable[Declared], build: Build) -> None:
    """Add the environment's data, a stack of jobs and one of their tables for each of its systems, its engine, and what
    it is watched by.
    """
    prefix = f"rollcall-{environment.name}"
    env = aws_cdk.Environment(account=environment.account, region=environment.region)
    deployed = [declared for declared in jobs if declared.system in environment.systems]
    ledger = LedgerStack(
        scope, f"{prefix}-ledger", environment=environment, env=env, termination_protection=environment.retained
    )
    engine = EngineStack(scope, f"{prefix}-engine", environment=environment, jobs=deployed, build=build, env=env)
    engine.add_stack_dependency(ledger)
    operations = OperationsStack(scope, f"{prefix}-operations", environment=environment, jobs=deployed, env=env)
    # Its watchdog alarm would go off at once.
    operations.add_stack_dependency(engine)
    tables = tables_of(deployed)
    for system in environment.systems:
        if mine := [declared for declared in deployed if declared.system == system]:
            stack = JobsStack(
                scope, f"{prefix}-jobs-{system}", environment=environment, jobs=mine, build=build, env=env
            )
            stack.add_stack_dependency(ledger)
            if system in tables:
                needed = TablesStack(
                    scope,
                    f"{prefix}-tables-{system}",
                    environment=environment,
                    tables=tables[system],
                    env=env,
                    termination_protection=environment.retained,
                )
                stack.add_stack_dependency(needed)
