"""Deploy, start a run, see it end, destroy."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rollcall.adapters.ledger import Ledger
from rollcall.core import names
from rollcall.core.catalog import Declared
from rollcall.core.errors import RollcallError
from rollcall.core.outcome import Outcome
from rollcall.core.run import RunRecord, iso, run_id
from rollcall.engine.progress import outcomes
from tools.cli.stand_ins import StandIns
from tools.deploy_local.account import PARTS, Account
from tools.deploy_local.app import NAME
from tools.deploy_local.assembly import taken_types
from tools.deploy_local.cdk import ACCOUNT, Cdk
from tools.deploy_local.scratch import scratch
from tools.deploy_local.shown import Seen, Shown, wrong
from tools.local_cloud.isolation import REGION
from tools.local_cloud.ministack import MiniStack

LOOK_SECONDS = 0.5
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

    def go(self) -> list[str]:
        """All of it; what is not as it must be, a line each. Ends whatever it started, also when it is cut short.

        Raises CdkError, MiniStackError, StandInsError and RollcallError.
        """
        began, declared = time.monotonic(), self._wanted.declared
        try:
            with ExitStack() as started:
                folder = started.enter_context(scratch("rollcall-deploy-"))
                ministack = MiniStack(folder)
                started.callback(ministack.stop)
                options = {"entries": self._wanted.entries, "error_rate": self._wanted.error_rate}
                stand_ins = started.enter_context(StandIns(job_module=declared.module, **options))
                cdk = started.enter_context(Cdk(folder, ministack.endpoint))
                account = Account(ministack.endpoint)
                stacks = self._prepare(cdk, stand_ins.base)
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

    def _prepare(self, cdk: Cdk, stand_ins: str) -> list[str]:
        """Bootstrap and synthesize; the stacks that MiniStack takes."""
        self._tell("cdk bootstrap, cdk synth")
        commands = (cdk.bootstrap(), cdk.synth(stand_ins))
        for command in commands:
            command.wait()
        assembly, types = cdk.assembly, taken_types()
        stacks = assembly.taken(types)
        for stack in assembly.templates.keys() - stacks:
            found = sorted(set(assembly.not_taken(stack, types).values()))
            self._tell(f"{stack} is left out: MiniStack does not take its {', '.join(found)}")
        return stacks

    def _run(self, account: Account, stand_ins: StandIns) -> Seen:
        """Start the job as its schedule would, and see the end that its deployed functions bring about."""
        job = self._wanted.declared.job
        # It would announce a run's end, too. So nobody does but the function behind the stream.
        account.switch_off(WATCHDOG)
        now, heard = datetime.now(UTC), account.listen(names.bus_name(NAME))
        functions = {kind: names.function_name(NAME, kind, job.name) for kind in ("fan_out", "worker", "dead_letter")}
        self._tell(f"{functions['fan_out']} is started")
        start = json.dumps({"job": job.name, "scheduled_time": iso(now)})
        account.client("lambda").invoke(FunctionName=functions["fan_out"], InvocationType="Event", Payload=start)
        ledger = Ledger(account.client("dynamodb"), names.ledger_name(NAME))
        run = self._ended(ledger, run_id(job.name, now))
        # Once more over everything: what was announced is not announced again.
        answer = account.client("lambda").invoke(FunctionName=WATCHDOG, Payload=b"{}")
        if "FunctionError" in answer:
            raise RollcallError(f"{WATCHDOG} failed: {answer['Payload'].read().decode()}")
        self.shown = replace(
            self.shown,
            run_state=run.state.value,
            total=run.total or 0,
            succeeded=outcomes(ledger, run)[Outcome.SUCCEEDED],
            completions=sum(detail["run"] == run.id for detail in heard.details()),
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

    def _ended(self, ledger: Ledger, name: str) -> RunRecord:
        end, told = time.monotonic() + self._wanted.within, -1
        while time.monotonic() < end:
            run = ledger.run(name)
            if run is not None and run.state.terminal and run.announced:
                return run
            if run is not None and run.nonce is not None and (settled := sum(outcomes(ledger, run).values())) != told:
                told = settled
                self._tell(f"{name} is {run.state}: {settled} of {run.total} settled")
            time.sleep(LOOK_SECONDS)
        raise RollcallError(f"{name} did not end within {self._wanted.within:.0f} seconds; make run shows what it does")
