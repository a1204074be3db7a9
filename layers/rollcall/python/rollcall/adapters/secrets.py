"""Secrets, read once per environment of a function, and again where a target refuses them."""

import asyncio
import base64
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollcall.adapters.clients import AWS_ERRORS
from rollcall.core.actions import Action, log
from rollcall.core.errors import RollcallError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class Secrets:
    """Texts of Secrets Manager, by name. Safe between threads."""

    def __init__(self, client: "SecretsManagerClient") -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def text(self, name: str, *, fresh: bool = False) -> str:
        """The secret's text: the one known, or, if `fresh`, the present one, which is known from then on."""
        if fresh or name not in self._known:
            self._known[name] = self._client.get_secret_value(SecretId=name)["SecretString"]
        return self._known[name]

    def authorization(self, name: str, *, fresh: bool = False) -> str:
        """The Authorization header of a secret `{"username": …, "password": …}` or `{"token": …}`.

        Raises RollcallError for a secret of another form; its text is not repeated.
        """
        try:
            fields = json.loads(self.text(name, fresh=fresh))
            if "token" in fields:
                header = f"Bearer {fields['token']}"
            else:
                pair = f"{fields['username']}:{fields['password']}".encode()
                header = "Basic " + base64.b64encode(pair).decode("ascii")
        except (ValueError, KeyError, TypeError) as error:
            raise RollcallError(
                f'the secret {name} holds no credentials; store {{"username": …, "password": …}} or {{"token": …}}'
            ) from error
        if not (header.isascii() and header.isprintable()):
            raise RollcallError(f"the token in the secret {name} holds a line break or another character no header may")
        return header


@dataclass(frozen=True, slots=True, eq=False)
class Authorization:
    """What one reading of a secret gave. Two readings are never equal, whatever they gave."""

    header: str


class Credentials:
    """A target's credentials, read again when the target refuses them. Belongs to one event loop."""

    def __init__(self, secrets: Secrets, name: str) -> None:
        self._secrets = secrets
        self._name = name
        self._reading = asyncio.Lock()
        self._present: Authorization | None = None

    async def present(self) -> Authorization:
        """What to send. Raises what reading a secret raises: one of AWS_ERRORS, or RollcallError."""
        async with self._reading:
            if self._present is None:
                self._present = Authorization(await self._read())
            return self._present

    async def newer(self, refused: Authorization) -> Authorization | None:
        """What to send in place of what was refused; None if it still holds, or cannot be read, which is logged.

        However many calls were refused, the secret is read once for all that were sent before that reading.
        """
        async with self._reading:
            if self._present is refused:
                self._present = await self._read_again(refused)
            present = self._present
        return present if present is not None and present.header != refused.header else None

    async def _read_again(self, refused: Authorization) -> Authorization:
        try:
            header = await self._read()
        except (*AWS_ERRORS, RollcallError) as error:
            log(Action.CREDENTIALS_UNREADABLE, logging.WARNING, secret=self._name, reason=str(error))
            return Authorization(refused.header)
        log(Action.CREDENTIALS_REFUSED, logging.WARNING, secret=self._name, changed=header != refused.header)
        return Authorization(header)

    async def _read(self) -> str:
        return await asyncio.to_thread(self._secrets.authorization, self._name, fresh=True)
