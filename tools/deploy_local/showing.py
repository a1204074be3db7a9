"""Deploy, start a run, see it end, destroy."""

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.clock import SystemClock
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from tools.cli.aws import deployed
from tools.cli.looks import Look
from tools.cli.stand_ins import StandIns
from tools.cli.watching import Watch, standing
from tools.deploy_local.account import PARTS, Account
from tools.deploy_local.app import NAME
from tools.deploy_local.assembly import taken_types
from tools.deploy_local.cdk import ACCOUNT, Cdk
from tools.deploy_local.scratch import scratch
from tools.deploy_local.shown import Seen, Shown, wrong
from tools.local_cloud.isolation import REGION
from tools.local_cloud.ministack import DEPLOYMENT_SERVICES, MiniStack

WATCHDOG = names.function_name(NAME, "watchdog")
COMPLETION = names.function_name(NAME, "completion")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be run."""

    declared: Declared
    #: Of its report.
    entries: int
    #: The share of its target's answers that are 503.
    error_rate: float
    #: How long it may take, in seconds.
    within: float


class Showing:
    """One go of it: `shown` grows as it comes along."""

    def __init__(self, wanted: Wanted, tell: Callable[[str], None]) -> None:
        self.shown = Shown()
        self._wanted = wanted
        self._tell = tell
        self._settled = -1

    def go(self) -> list[str]:
        """All of it; what is not as it must be, a line each. Ends whatever it started, also when it is cut short.

        Raises CdkError, MiniStackError, StandInsError and RollcallError.
        """
        began, declared = time.monotonic(), self._wanted.declared
        try:
            with ExitStack() as started:
                folder = started.enter_context(scratch("rollcall-deploy-"))
                ministack = MiniStack(folder, services=DEPLOYMENT_SERVICES)
                started.callback(ministack.stop)
                options = {"entries": self._wanted.entries, "error_rate": self._wanted.error_rate}
                stand_ins = started.enter_context(StandIns(job_module=declared.module, **options))
                cdk = started.enter_context(Cdk(folder, ministack.endpoint, ministack.keys, stand_ins.base))
                account = Account(ministack.endpoint, ministack.keys)
                stacks = self._prepare(cdk)
                before = account.everything()
                self._tell(f"cdk deploy {' '.join(stacks)}")
                cdk.deploy(stacks).wait()
                made = {type_ for type_, _ in account.everything() - before}
                if missing := cdk.assembly.types(*stacks) - PARTS - made:
                    raise RollcallError(f"the CDK says that all is deployed, and nobody finds a {', '.join(missing)}")
                self.shown = replace(self.shown, deployed=True)
                seen = self._run(account, stand_ins)
                self._tell("cdk destroy")
                account.empty(names.manifests_name(NAME, ACCOUNT, REGION))
                cdk.destroy(stacks).wait()
                left = sorted(account.everything() - before)
                self.shown = replace(self.shown, resources_left=len(left))
        finally:
            self.shown = replace(self.shown, seconds=round(time.monotonic() - began, 1))
        return [*wrong(self.shown, seen), *(f"left: {' '.join(each)}" for each in left)]

    def _prepare(self, cdk: Cdk) -> list[str]:
        """Bootstrap and synthesize; the stacks that MiniStack takes."""
        self._tell("cdk bootstrap, cdk synth")
        commands = (cdk.bootstrap(), cdk.synth())
        for command in commands:
            command.wait()
        assembly, types = cdk.assembly, taken_types()
        stacks = assembly.taken(types)
        for stack in assembly.templates.keys() - stacks:
            found = sorted(set(assembly.not_taken(stack, types).values()))
            self._tell(f"{stack} is left out: MiniStack does not take its {', '.join(found)}")
        return stacks

    def _run(self, account: Account, stand_ins: StandIns) -> Seen:
        """Start the job as `rollcall start --env` does, and see the end that its deployed functions bring about."""
        job = self._wanted.declared.job
        # It would announce a run's end, too. So nobody does but the function behind the stream.
        account.switch_off(WATCHDOG)
        heard = account.listen(names.bus_name(NAME))
        functions = {kind: names.function_name(NAME, kind, job.name) for kind in ("fan_out", "worker", "dead_letter")}
        clock = SystemClock()
        with deployed(NAME, account.clients) as deployment:
            run = deployment.functions.start(job.name, clock.now(), secrets.token_hex(3), {})
            self._tell(f"{functions['fan_out']} is asked for {run}")
            found = standing(deployment, Watch(deployment, job, clock, self._look, self._tell).until_end(run, 1), job)
        # Once more over everything: what was announced is not announced again.
        answer = account.client("lambda").invoke(FunctionName=WATCHDOG, Payload=b"{}")
        if "FunctionError" in answer:
            raise RollcallError(f"{WATCHDOG} failed: {answer['Payload'].read().decode()}")
        self.shown = replace(
            self.shown,
            run_state=found.record.state.value,
            total=found.record.total or 0,
            succeeded=found.outcomes[Outcome.SUCCEEDED],
            completions=sum(detail["run"] == run for detail in heard.details()),
        )
        heard.end()
        counted = stand_ins.counts(job.target.name)
        invocations = {kind: account.invocations(function) for kind, function in functions.items()}
        self._tell(f"invoked: {', '.join(f'{function} {invocations[kind]}' for kind, function in functions.items())}")
        return Seen(
            entries=self._wanted.entries,
            calls=counted["calls"],
            injected=counted["injected"],
            invocations=invocations,
            announced=account.announcements(COMPLETION),
        )

    def _look(self, look: Look) -> None:
        if look.record is not None and look.record.nonce is not None and look.settled != self._settled:
            self._settled = look.settled
            self._tell(f"{look.run} is {look.record.state}: {look.settled} of {look.record.total} settled")
        if look.seconds > self._wanted.within:
            within = f"{self._wanted.within:.0f} seconds"
            raise RollcallError(f"{look.run} did not end within {within}; make run shows what it does")
