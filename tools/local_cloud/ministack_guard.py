"""The guard in front of MiniStack: only requests with this run's key reach it. Runs in MiniStack's own environment.

MiniStack 1.5.33 answers every client. Its Lambda service runs any uploaded code, its admin paths demand no credentials,
and it allows every origin and every host. Its own AUTH setting is no substitute: it accepts well-known key ids with any
secret.
"""

import importlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tools.loopback import RANDOM_BYTES, Keys, is_local, signs

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Variable with the number of the descriptor that MiniStack listens on.
LISTENER = "ROLLCALL_LOCAL_LISTENER"
FORBIDDEN = 403
#: WebSocket's code for a violated policy (https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1).
POLICY_VIOLATION = 1008
#: All that clients of AWS use. No OPTIONS: MiniStack would allow a web page whatever it asks for.
METHODS = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})
_REFUSAL = json.dumps({"__type": "AccessDeniedException", "message": "this port belongs to a run of rollcall"}).encode()
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_REFUSAL)).encode())]


class Guard:
    """An ASGI application that passes the requests of one run on to another application."""

    def __init__(self, application: Application, host: str, access_key_id: str) -> None:
        self._application = application
        self._host = host
        self._access_key_id = access_key_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and self._admits(scope)):
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": FORBIDDEN, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _REFUSAL})
        else:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    def _admits(self, scope: Scope) -> bool:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        return (
            scope["method"] in METHODS
            and is_local(headers, self._host)
            and signs(headers.get("authorization", ""), self._access_key_id)
            and not _is_admin(scope["path"])
        )


def _is_admin(path: str) -> bool:
    """Whether a path is one of MiniStack's own. All but one begin with an underscore, unlike every bucket's name."""
    return path.lstrip("/").startswith("_") or path == "/health"


def give_functions(keys: Keys) -> None:
    """Let the functions that MiniStack runs call it with `keys`. They had the account's number as their key."""

    def execution_credentials(config: object) -> dict[str, str]:
        del config
        return keys.environ() | {"AWS_SESSION_TOKEN": ""}

    for module in ("ministack.core.lambda_runtime", "ministack.services.lambda_svc"):
        importlib.import_module(module).execution_credentials = execution_credentials  # type: ignore[attr-defined]


def give_sessions(keys: Keys) -> None:
    """Let a role that is assumed have a key that begins with that of the run, as the guard demands."""
    sts: Any = importlib.import_module("ministack.services.sts")
    sts._gen_session_access_key = lambda: f"{keys.access_key_id}{secrets.token_hex(RANDOM_BYTES).upper()}"


def keep_no_secrets(emulator: Any) -> None:
    """Leave secrets out of the state that MiniStack writes when it ends, and out of the state that it reads."""
    for service in _SECRET_STATES:
        emulator._state_map.pop(service, None)


#: Services whose state holds secrets of users: Secrets Manager, and Systems Manager's parameters.
_SECRET_STATES = ("secretsmanager", "ssm")
