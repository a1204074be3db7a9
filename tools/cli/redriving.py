"""Whether a redrive can begin, told before anybody is asked for it."""

from rollcall.core.errors import RollcallError
from rollcall.core.job import Job
from rollcall.core.run import Redrive, RunRecord
from rollcall.engine.fan_out.redrive import chosen
from rollcall.engine.fan_out.run_lease import cannot_redrive
from tools.cli.deployment import Deployment


def redrivable(deployment: Deployment, job: Job, run: str, redrive: Redrive) -> RunRecord:
    """The run as it is now.

    Raises RollcallError where there is no such run, it cannot be redriven now, or nothing of it is chosen.
    """
    ledger, record = deployment.ledger, deployment.run(run)
    objection = cannot_redrive(ledger, job, ledger.job(job.name), record, record.generation)
    if objection is not None:
        raise RollcallError(f"{run} cannot be redriven: {objection}")
    if next(chosen(ledger, deployment.manifests, record, redrive), None) is None:
        unsure = "; --new-key leaves out those that were not answered for sure" if redrive.new_key else ""
        see = f"rollcall failures {run}{deployment.option}"
        raise RollcallError(f"no entry of {run} is chosen; see what there is with: {see}{unsure}")
    return record
