"""The function that looks after all runs, every minute."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from constructs import Construct

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.sizing import WATCHDOG_TIMEOUT
from stacks.environment import Environment
from stacks.function import Function
from stacks.runtime import Runtime
from stacks.shared import Shared
from stacks.timetable import SCHEDULED_TIME, Timetable


class Watchdog(Function):
    """Tops up dispatch windows, takes over from dead fan-outs, announces what the stream missed, counts messages.

    Runs in every environment, with or without schedules: runs started by hand need it too. A minute that
    fails is not tried again, for the next one does the same.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        environment: Environment,
        runtime: Runtime,
        shared: Shared,
        jobs: Sequence[Declared],
    ) -> None:
        super().__init__(
            scope,
            id_,
            environment=environment,
            runtime=runtime,
            kind="watchdog",
            jobs=jobs,
            settings=replace(shared.settings, schedules_enabled=environment.schedules_enabled),
            timeout=WATCHDOG_TIMEOUT,
            memory_mb=512,
            retries=0,
            give_up_after=timedelta(minutes=1),
        )
        # Occurrences that were missed are put as runs.
        shared.allow_runs(self)
        shared.allow_announcing(self)
        Timetable(
            self,
            "Timetable",
            expressions={names.function_name(environment.name, "watchdog"): "cron(* * * * ? *)"},
            timezone="UTC",
            enabled=True,
            function=self,
            input_={"scheduled_time": SCHEDULED_TIME},
            retries=0,
        )
