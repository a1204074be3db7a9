"""Secrets Manager: texts by name."""

from collections.abc import Mapping
from typing import Any

from tests.simulation.models.refusals import ResourceNotFoundException, refusal


class SecretsManager:
    """The service."""

    exceptions = None

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self.secrets = dict(secrets or {})

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803
        if SecretId not in self.secrets:
            raise refusal("ResourceNotFoundException", "GetSecretValue", kind=ResourceNotFoundException)
        return {"Name": SecretId, "SecretString": self.secrets[SecretId]}
