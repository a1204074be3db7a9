"""What AWS answers with, as one line that says what happened and what to do."""

from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnection

#: Codes differ between services for one and the same thing
#: (https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html).
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
UNKNOWN_CALLER = frozenset(
    {
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "AuthFailure",
        "InvalidToken",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AllAccessDisabled", "403"})
THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "SlowDown",
        "TransactionInProgressException",
    }
)
#: It is AWS that does not work for a moment.
OUT_OF_ORDER = frozenset({"InternalServerError", "InternalFailure", "InternalError", "ServiceException"})
OUT_OF_ORDER |= frozenset({"ServiceUnavailable", "ServiceUnavailableException", "500", "502", "503", "504"})
NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
NOT_FOUND = "ResourceNotFoundException"
NO_BUCKET = "NoSuchBucket"
NO_OBJECT = "NoSuchKey"
#: The operation that asks a function.
INVOKE = "Invoke"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command looked."""

    environment: str
    #: Empty until the credentials were seen to be good.
    account: str = ""
    region: str = ""


def explained(error: ClientError | BotoCoreError, place: Place) -> str:
    """The line about `error`."""
    environment = f"environment {place.environment}"
    match error:
        case ClientError():
            return _answered(error, place)
        case ProfileNotFound():
            return f"{_said(error)}; set AWS_PROFILE to a profile that there is, or unset it"
        case NoCredentialsError():
            return (
                f"there are no AWS credentials to reach {environment} with; "
                f"sign in (aws sso login, aws login) or choose a profile with AWS_PROFILE"
            )
        case PartialCredentialsError() | CredentialRetrievalError() | SSOError() | TokenRetrievalError() | LoginError():
            return f"the AWS credentials cannot be had: {_said(error)}; sign in again (aws sso login, aws login)"
        case HTTPClientError() | NoConnection():
            return f"AWS cannot be reached: {_said(error)}; see that the network is there and the region exists"
        case _:
            return f"AWS cannot be used: {_said(error)}; see your AWS configuration"


def passes(error: ClientError | BotoCoreError) -> bool:
    """Whether asking again in a moment may help."""
    if isinstance(error, ClientError):
        return _code(error) in THROTTLED | OUT_OF_ORDER
    return isinstance(error, HTTPClientError | NoConnection)


def _answered(error: ClientError, place: Place) -> str:
    code, operation = _code(error), error.operation_name
    environment = f"environment {place.environment}"
    if code in EXPIRED:
        return f"the AWS credentials have expired ({code}); sign in again (aws sso login, aws login) or renew the keys"
    if code in UNKNOWN_CALLER:
        return f"AWS does not accept the credentials ({code}); see that AWS_PROFILE or the keys are the right ones"
    if code in DENIED:
        return (
            f"access denied to {operation} in {environment}: {_said(error)}; "
            f"docs/operating.md lists what each command has to be allowed"
        )
    if code in THROTTLED:
        return f"AWS throttles {operation} ({code}); try again in a minute"
    if code in OUT_OF_ORDER:
        return f"AWS failed at {operation} ({code}); try again in a minute"
    if (operation == INVOKE and code == NOT_FOUND) or code in NO_QUEUE:
        return (
            f"{environment} has no such job: {_said(error)}; "
            f"see that its systems in stacks/environments.py include the job's, and deploy it"
        )
    if code in {NOT_FOUND, NO_BUCKET}:
        return (
            f"{environment} is not deployed in this account and region ({place.account}, {place.region}); "
            f"choose others with AWS_PROFILE and AWS_DEFAULT_REGION, or deploy it: docs/deploying.md"
        )
    if code == NO_OBJECT:
        return (
            "a part of the run's manifest is gone, and without it nobody knows the entries; "
            "the bucket keeps manifests for the environment's manifest_retention_days"
        )
    return f"AWS answered {operation} with {code}: {_said(error)}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _said(error: ClientError | BotoCoreError) -> str:
    """Its own words, without the full stop."""
    text = error.response.get("Error", {}).get("Message", "") if isinstance(error, ClientError) else str(error)
    return " ".join(text.split()).rstrip(".")
