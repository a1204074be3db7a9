"""Errors of the services, as botocore raises them."""

from typing import Any

from botocore.exceptions import ClientError


class ConditionalCheckFailedException(ClientError):
    """An item was not as a write expected it."""


class TransactionCanceledException(ClientError):
    """A transaction took no effect."""


class IdempotentParameterMismatchException(ClientError):
    """A transaction's token was used before for another one."""


class ResourceNotFoundException(ClientError):
    """There is no such table, function or secret."""


class NoSuchKey(ClientError):
    """There is no such object."""


class NoSuchBucket(ClientError):
    """There is no such bucket."""


class ResourceExistsException(ClientError):
    """There is such a secret already."""


class DynamoDBErrors:
    """What `client.exceptions` offers for DynamoDB."""

    ConditionalCheckFailedException = ConditionalCheckFailedException
    TransactionCanceledException = TransactionCanceledException
    IdempotentParameterMismatchException = IdempotentParameterMismatchException
    ResourceNotFoundException = ResourceNotFoundException


class S3Errors:
    """What `client.exceptions` offers for S3."""

    ClientError = ClientError
    NoSuchBucket = NoSuchBucket
    NoSuchKey = NoSuchKey


class SecretsManagerErrors:
    """What `client.exceptions` offers for Secrets Manager."""

    ResourceExistsException = ResourceExistsException
    ResourceNotFoundException = ResourceNotFoundException


def refusal(
    code: str,
    operation: str,
    message: str = "",
    *,
    kind: type[ClientError] = ClientError,
    status: int = 400,
    **more: Any,
) -> ClientError:
    """An error answer of a service; `more` stands beside `Error`, as `Item` does for a failed condition."""
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": message or code},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
        **more,
    }
    return kind(response, operation)  # type: ignore[arg-type]


def invalid(operation: str, message: str) -> ClientError:
    """The answer to a request that the service does not take."""
    return refusal("ValidationException", operation, message)
