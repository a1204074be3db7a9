"""Whether a call comes through, before anybody looks at what it asks."""

from typing import Any

from tools.stand_ins.arrivals import Arrivals
from tools.stand_ins.authorization import UNAUTHORIZED, Guard
from tools.stand_ins.clock import Clock
from tools.stand_ins.http import Request, Response, answer
from tools.stand_ins.limit import Limit
from tools.stand_ins.options import Options
from tools.stand_ins.outage import Outage

_DOWN = answer(503, {"error": "outage"})
_FORBIDDEN = answer(403, {"error": "forbidden"})
_LIMITED = answer(429, {"error": "too many calls"}, "Retry-After: 1")


class Gate:
    """Turns calls away, in this order: an outage, refused credentials, what is forbidden, the limit.

    Each stand-in has its own. A call that is turned away leaves no trace but in the counts.
    """

    def __init__(self, options: Options, clock: Clock, *, outage_from_call: int | None, outage_s: float) -> None:
        self._options = options
        self._clock = clock
        self._outage_from_call = outage_from_call
        self._outage_s = outage_s
        self._guard = Guard(options.target_secret)
        self.reset()

    def reset(self) -> None:
        """As at the start: nothing counted, no outage, credentials accepted, the whole burst left."""
        per_s = self._options.limit_per_s
        self._limit = None if per_s is None else Limit(per_s, self._options.limit_burst)
        self._outage = Outage(self._outage_from_call, self._outage_s)
        self._arrivals = Arrivals()
        self._refuse_from: int | None = self._options.refuse_credentials_after_calls
        self._counts = {"unauthorized": 0, "forbidden": 0, "limited": 0, "during_outage": 0}
        self._outage_calls = 0

    def begin_outage(self, seconds: float) -> None:
        """Down from now on for so many seconds; 0 ends an outage."""
        self._outage.begin(self._clock.monotonic(), seconds)

    def accept_credentials(self) -> None:
        """From now on, whatever the options say; a wrong secret is still refused."""
        self._refuse_from = None

    def stats(self) -> dict[str, Any]:
        return self._counts | self._arrivals.stats()

    def refusal(self, request: Request, *names: str, leads_to_outage: bool = True) -> Response | None:
        """Counts a call, and answers it if it does not come through. `names` may be forbidden, as its path may."""
        now = self._clock.monotonic()
        self._arrivals.note(now)
        self._outage_calls += leads_to_outage
        if self._outage.is_down(now, self._outage_calls):
            return self._turn_away("during_outage", _DOWN)
        if self._refuses_credentials or self._guard.refusal(request) is not None:
            return self._turn_away("unauthorized", UNAUTHORIZED)
        if any(part in name for part in self._options.forbidden for name in (request.path, *names)):
            return self._turn_away("forbidden", _FORBIDDEN)
        if self._limit is not None and not self._limit.take(now):
            return self._turn_away("limited", _LIMITED)
        return None

    @property
    def _refuses_credentials(self) -> bool:
        return self._refuse_from is not None and self._arrivals.count >= self._refuse_from

    def _turn_away(self, why: str, response: Response) -> Response:
        self._counts[why] += 1
        return response
