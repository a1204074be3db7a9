"""An environment in AWS, as a deployment: found by its names, with the caller's own credentials."""

from collections.abc import Iterator
from contextlib import contextmanager

from rollcall.adapters.clients import AWS_ERRORS, Clients
from rollcall.adapters.functions import Functions
from rollcall.adapters.ledger.records import Ledger
from rollcall.adapters.manifests import Manifests
from rollcall.adapters.queue import Queues
from rollcall.core import names
from rollcall.core.errors import RollcallError
from tools.cli.aws_errors import Place, explained
from tools.cli.deployment import Deployment, Interrupted


@contextmanager
def deployed(environment: str, clients: Clients | None = None) -> Iterator[Deployment]:
    """The environment in the account and region that boto3 finds, by default in its usual chain.

    Within it, what AWS answers with is a RollcallError that says what to do, and Ctrl-C an Interrupted.
    """
    names.checked_environment(environment)
    place = Place(environment)
    try:
        clients = clients or Clients()
        place = _place(clients, environment)
        yield _deployment(clients, place)
    except AWS_ERRORS as error:
        raise RollcallError(explained(error, place)) from error
    except KeyboardInterrupt as error:
        going_on = f"interrupted; what runs in environment {environment} goes on"
        raise Interrupted(f"{going_on}; see it with: rollcall status --env {environment}") from error


def _place(clients: Clients, environment: str) -> Place:
    if not clients.region:
        raise RollcallError(f"no AWS region is set, where environment {environment} is; set AWS_DEFAULT_REGION")
    try:
        return Place(environment, clients.account(), clients.region)
    except ValueError as error:  # An endpoint that is no URL, of which botocore makes no error of its own.
        raise RollcallError(f"AWS cannot be used: {error}; see your AWS configuration") from error


def _deployment(clients: Clients, place: Place) -> Deployment:
    environment = place.environment
    return Deployment(
        environment=environment,
        place=f"environment {environment}",
        option=f" --env {environment}",
        ledger=Ledger(clients.dynamodb, names.ledger_name(environment)),
        manifests=Manifests(clients.s3, names.manifests_name(environment, place.account, place.region)),
        queues=Queues(clients.sqs, environment),
        functions=Functions(clients.lambda_, environment),
        alone=False,
    )
