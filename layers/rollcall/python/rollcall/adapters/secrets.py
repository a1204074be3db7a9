"""Secrets, read once per environment of a function."""

import base64
import json
from typing import TYPE_CHECKING

from rollcall.core.errors import RollcallError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class Secrets:
    """Texts of Secrets Manager, by name."""

    def __init__(self, client: "SecretsManagerClient") -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def text(self, name: str) -> str:
        """The secret's text."""
        if name not in self._known:
            self._known[name] = self._client.get_secret_value(SecretId=name)["SecretString"]
        return self._known[name]

    def authorization(self, name: str) -> str:
        """The Authorization header of a secret `{"username": …, "password": …}` or `{"token": …}`.

        Raises RollcallError for a secret of another form; its text is not repeated.
        """
        try:
            fields = json.loads(self.text(name))
            if "token" in fields:
                return f"Bearer {fields['token']}"
            pair = f"{fields['username']}:{fields['password']}".encode()
        except (ValueError, KeyError, TypeError) as error:
            raise RollcallError(
                f'the secret {name} holds no credentials; store {{"username": …, "password": …}} or {{"token": …}}'
            ) from error
        return "Basic " + base64.b64encode(pair).decode("ascii")
