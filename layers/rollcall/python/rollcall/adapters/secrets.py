"""Secrets, read once per environment of a function, and again where a target refuses them."""

import asyncio
import base64
import json
import logging
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from rollcall.adapters.clients import AWS_ERRORS, words_of
from rollcall.core.actions import Action, log
from rollcall.core.errors import RollcallError
from rollcall.core.redaction import Redaction, texts_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class InUse:
    """The secrets that a process has read, for texts to be kept without them. Safe between threads."""

    def __init__(self) -> None:
        self._redaction = Redaction()
        self._adding = Lock()

    def add(self, *texts: str) -> None:
        """Replace `texts` from now on; what was replaced before still is, for a rotated secret may be valid yet."""
        with self._adding:
            self._redaction = self._redaction.also(texts)

    def redacted(self, text: str) -> str:
        """`text` without the secrets in use."""
        return self._redaction(text)


class Secrets:
    """Texts of Secrets Manager, by name. Safe between threads."""

    def __init__(self, client: "SecretsManagerClient", in_use: InUse | None = None) -> None:
        self._client = client
        self._known: dict[str, str] = {}
        #: Every secret that was read here.
        self.in_use = InUse() if in_use is None else in_use

    def text(self, name: str, *, fresh: bool = False) -> str:
        """The secret's text: the one known, or, if `fresh`, the present one, which is known from then on."""
        if fresh or name not in self._known:
            text = self._client.get_secret_value(SecretId=name)["SecretString"]
            self.in_use.add(*texts_of(text))
            self._known[name] = text
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
                pair = f"{fields['username']}:{fields['password']}"
                header = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
                self.in_use.add(pair)
        except (ValueError, KeyError, TypeError) as error:
            raise RollcallError(
                f'the secret {name} holds no credentials; store {{"username": …, "password": …}} or {{"token": …}}'
            ) from error
        self.in_use.add(header)
        if not (header.isascii() and header.isprintable()):
            raise RollcallError(f"the token in the secret {name} holds a line break or another character no header may")
        return header

    def newer_authorization(self, name: str, refused: str) -> str | None:
        """Read the secret again after a 401; None if it is unchanged or cannot be read. Both are logged."""
        try:
            header = self.authorization(name, fresh=True)
        except (*AWS_ERRORS, RollcallError) as error:
            log(Action.CREDENTIALS_UNREADABLE, logging.WARNING, secret=name, reason=words_of(error))
            return None
        log(Action.CREDENTIALS_REFUSED, logging.WARNING, secret=name, changed=header != refused)
        return header if header != refused else None


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
                header = await asyncio.to_thread(self._secrets.authorization, self._name, fresh=True)
                self._present = Authorization(header)
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
        newer = await asyncio.to_thread(self._secrets.newer_authorization, self._name, refused.header)
        return Authorization(newer or refused.header)
