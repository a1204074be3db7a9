"""`python -m tools.stand_ins`: serves until its standard input ends, so it never outlives who started it.

In: the options (options.py) as one line of JSON, then nothing. Out: `{"base": "http://127.0.0.1:12345/…"}`, the URL
under which it serves, once it listens.
Exit code 0 when standard input ends and on SIGTERM and SIGINT; 2 if the options are wrong, with the reason as
one line on standard error. By hand: `(echo '{"latency_ms": 50}'; cat) | python -m tools.stand_ins`
"""

import asyncio
import json
import os
import signal
import sys
import threading

from tools.stand_ins.options import Options, OptionsError
from tools.stand_ins.server import StandIns


def main() -> int:
    try:
        stand_ins = StandIns(Options.from_line(sys.stdin.readline()))
    except OptionsError as error:
        print(f"stand-ins: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(stand_ins))
    return 0


async def _serve(stand_ins: StandIns) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    threading.Thread(target=_wait_for_end_of_input, args=(loop, stopped), daemon=True).start()
    server, base = await stand_ins.listen()
    print(json.dumps({"base": base}), flush=True)
    await stopped.wait()
    server.close()
    stand_ins.close()


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    """Not through `sys.stdin`: the interpreter could not end while a thread reads and so holds its lock."""
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stopped.set)


if __name__ == "__main__":
    sys.exit(main())
