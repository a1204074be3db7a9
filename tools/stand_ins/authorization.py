"""Who may come in."""

from base64 import b64encode
from hmac import compare_digest

from pydantic import SecretStr

from tools.stand_ins.http import Request, Response, answer

UNAUTHORIZED = answer(401, {"error": "unauthorized"}, "WWW-Authenticate: Basic, Bearer")


class Guard:
    """Asks for a secret, `user:password` (basic) or else a bearer token. Without a secret all may enter."""

    def __init__(self, secret: SecretStr | None) -> None:
        self._expected = None if secret is None else _header(secret.get_secret_value()).encode()

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that may not enter."""
        if self._expected is None:
            return None
        given = request.headers.get("authorization", "").encode()
        return None if compare_digest(given, self._expected) else UNAUTHORIZED


def _header(secret: str) -> str:
    if ":" in secret:
        return f"Basic {b64encode(secret.encode()).decode()}"
    return f"Bearer {secret}"
