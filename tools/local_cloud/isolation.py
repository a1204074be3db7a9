"""Nothing of the user's AWS set-up is ever read: explicit endpoints and dummy credentials everywhere."""

import os
from collections.abc import Mapping, MutableMapping

REGION = "eu-west-1"
#: The last one would make every process of a function compile all of its imports again.
_FOREIGN = ("AWS_", "BOTO_", "ROLLCALL_", "PYTHONDONTWRITEBYTECODE")
#: A proxy would see what is meant for loopback.
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}


def isolated(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without credentials, profiles, endpoints and proxies, and with dummies that every SDK accepts."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(_FOREIGN) and name.upper() not in _PROXIES
    }
    return kept | {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def isolate(environ: MutableMapping[str, str]) -> None:
    """Make `environ`, such as the process's own, an isolated one."""
    replacement = isolated(environ)
    for name in [*environ]:
        if name not in replacement:
            del environ[name]
    environ.update(replacement)
