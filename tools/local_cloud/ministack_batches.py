"""MiniStack's state machines, made to invoke the functions of the local cloud. Runs in MiniStack's own environment.

MiniStack runs functions in processes of its own, one batch after another; those of the local cloud are OS processes
behind a Lambda API on loopback, see docs/decisions/functions-as-processes.md. The states themselves are MiniStack's.
"""

import importlib
import json
import os
import urllib.request
from typing import Any

from tools.loopback import Keys

#: Variable with the address of the Lambda API.
FUNCTIONS = "ROLLCALL_LOCAL_FUNCTIONS"
#: A function's longest timeout, and a minute.
LONGEST_SECONDS = 16 * 60


def apply(keys: Keys) -> None:
    """Put it in place, in this process, where there are functions elsewhere that `keys` open."""
    endpoint = os.environ.get(FUNCTIONS)
    if endpoint is None:
        return
    states: Any = importlib.import_module("ministack.services.stepfunctions")
    # Loopback goes through no proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(function: str, event: object) -> Any:
        name = function.rsplit(":function:", 1)[-1]
        url = f"{endpoint}/2015-03-31/functions/{name}/invocations"
        request = urllib.request.Request(url, json.dumps(event).encode(), {"Authorization": keys.authorization})  # noqa: S310
        try:
            with opener.open(request, timeout=LONGEST_SECONDS) as response:
                answer = json.load(response)
        except OSError as error:
            raise states._ExecutionError("Lambda.ServiceException", str(error)) from error
        if isinstance(answer, dict) and "errorMessage" in answer:
            raise states._ExecutionError("Lambda.Unknown", json.dumps(answer))
        return answer

    states._call_lambda = call
