"""Secrets Manager: texts by name."""

from collections.abc import Mapping
from typing import Any

from tests.simulation.models.refusals import (
    ResourceExistsException,
    ResourceNotFoundException,
    SecretsManagerErrors,
    refusal,
)


class SecretsManager:
    """The service."""

    exceptions = SecretsManagerErrors

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self.secrets = dict(secrets or {})

    def create_secret(self, *, Name: str, SecretString: str) -> dict[str, Any]:  # noqa: N803
        if Name in self.secrets:
            raise refusal("ResourceExistsException", "CreateSecret", kind=ResourceExistsException)
        self.secrets[Name] = SecretString
        return {"Name": Name}

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> dict[str, Any]:  # noqa: N803
        self._check("PutSecretValue", SecretId)
        self.secrets[SecretId] = SecretString
        return {"Name": SecretId}

    def delete_secret(self, *, SecretId: str, ForceDeleteWithoutRecovery: bool) -> dict[str, Any]:  # noqa: N803
        if not ForceDeleteWithoutRecovery:
            raise NotImplementedError("the recovery window of a deleted secret is not modelled")
        del self.secrets[SecretId]
        return {"Name": SecretId}

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        self._check("GetSecretValue", SecretId)
        return {"Name": SecretId, "SecretString": self.secrets[SecretId]}

    def _check(self, operation: str, name: str) -> None:
        if name not in self.secrets:
            raise refusal("ResourceNotFoundException", operation, kind=ResourceNotFoundException)
