"""Each way in which AWS says no is one line that says what happened and what to do."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    DataNotFoundError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from tests.functional.operator import Operator
from tests.functional.wire import Sent
from tests.functional.world import NAME

ENDPOINT = "https://dynamodb.eu-west-1.amazonaws.com"
ARN = "arn:aws:iam::123456789012:user/ann"
NOT_DEPLOYED = (
    "environment test is not deployed in this account and region (123456789012, eu-west-1); "
    "choose others with AWS_PROFILE and AWS_DEFAULT_REGION, or deploy it: docs/deploying.md"
)


def answered(code: str, message: str = "", operation: str = "BatchGetItem") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}}
    return ClientError(answer, operation)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            NoCredentialsError(),
            "there are no AWS credentials to reach environment test with; "
            "sign in (aws sso login, aws login) or choose a profile with AWS_PROFILE",
        ),
        (
            ProfileNotFound(profile="nobody"),
            "The config profile (nobody) could not be found; set AWS_PROFILE to a profile that there is, or unset it",
        ),
        (
            PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            "the AWS credentials cannot be had: Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY; "
            "sign in again (aws sso login, aws login)",
        ),
        (
            CredentialRetrievalError(provider="custom-process", error_msg="exit 1"),
            "the AWS credentials cannot be had: Error when retrieving credentials from custom-process: exit 1; "
            "sign in again (aws sso login, aws login)",
        ),
        (
            TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            "the AWS credentials cannot be had: Error when retrieving token from sso: Token has expired and refresh "
            "failed; sign in again (aws sso login, aws login)",
        ),
        (
            UnauthorizedSSOTokenError(),
            "the AWS credentials cannot be had: The SSO session associated with this profile has expired or is "
            "otherwise invalid. To refresh this SSO session run aws sso login with the corresponding profile; "
            "sign in again (aws sso login, aws login)",
        ),
        (
            EndpointConnectionError(endpoint_url=ENDPOINT),
            f'AWS cannot be reached: Could not connect to the endpoint URL: "{ENDPOINT}"; '
            "see that the network is there and the region exists",
        ),
        (
            ConnectTimeoutError(endpoint_url=ENDPOINT),
            f'AWS cannot be reached: Connect timeout on endpoint URL: "{ENDPOINT}"; '
            "see that the network is there and the region exists",
        ),
        (
            ReadTimeoutError(endpoint_url=ENDPOINT),
            f'AWS cannot be reached: Read timeout on endpoint URL: "{ENDPOINT}"; '
            "see that the network is there and the region exists",
        ),
        (
            DataNotFoundError(data_path="endpoints"),
            "AWS cannot be used: Unable to load data for: endpoints; see your AWS configuration",
        ),
        (
            answered("ExpiredTokenException"),
            "the AWS credentials have expired (ExpiredTokenException); "
            "sign in again (aws sso login, aws login) or renew the keys",
        ),
        (
            answered("UnrecognizedClientException"),
            "AWS does not accept the credentials (UnrecognizedClientException); "
            "see that AWS_PROFILE or the keys are the right ones",
        ),
        (
            answered("AccessDeniedException", f"User: {ARN} is not authorized to perform: dynamodb:BatchGetItem"),
            f"access denied to BatchGetItem in environment test: User: {ARN} is not authorized to perform: "
            "dynamodb:BatchGetItem; docs/operating.md lists what each command has to be allowed",
        ),
        (answered("ResourceNotFoundException", "Requested resource not found"), NOT_DEPLOYED),
        (answered("NoSuchBucket", operation="GetObject"), NOT_DEPLOYED),
        (
            answered("ResourceNotFoundException", "Function not found: f", "Invoke"),
            "environment test has no such job: Function not found: f; "
            "see that its systems in stacks/environments.py include the job's, and deploy it",
        ),
        (
            answered("AWS.SimpleQueueService.NonExistentQueue", "The queue does not exist.", "GetQueueUrl"),
            "environment test has no such job: The queue does not exist; "
            "see that its systems in stacks/environments.py include the job's, and deploy it",
        ),
        (
            answered("NoSuchKey", operation="GetObject"),
            "a part of the run's manifest is gone, and without it nobody knows the entries; "
            "the bucket keeps manifests for the environment's manifest_retention_days",
        ),
        (
            answered("TooManyRequestsException", operation="Invoke"),
            "AWS throttles Invoke (TooManyRequestsException); try again in a minute",
        ),
        (
            answered("InternalServerError"),
            "AWS failed at BatchGetItem (InternalServerError); try again in a minute",
        ),
        (
            answered("ValidationException", "One or more\nparameter values were invalid."),
            "AWS answered BatchGetItem with ValidationException: One or more parameter values were invalid",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line(operator: Operator, error: Exception, line: str) -> None:
    def failing(_: Sent) -> None:
        raise error

    operator.world.wire.before = failing
    assert operator.told("status", NAME) == f"rollcall: {line}\n"


def test_an_environment_that_is_not_deployed_is_told_by_its_table(operator: Operator) -> None:
    operator.world.clients.dynamodb.delete_table(TableName="rollcall-test-ledger")
    assert operator.told("start", NAME) == f"rollcall: {NOT_DEPLOYED}\n"
    assert operator.invoked == [], "nothing is started where nothing can be seen"


def test_a_region_that_nobody_has_set_is_told(operator: Operator) -> None:
    operator.monkeypatch.setattr("rollcall.adapters.clients.Clients.region", None)
    line = "rollcall: no AWS region is set, where environment test is; set AWS_DEFAULT_REGION\n"
    assert operator.told("status") == line
    assert operator.requests == []
