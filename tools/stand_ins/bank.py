"""A bank: it moves money, and it is slow, down, busy or silent as a real one is.

With keys (`bank_keys`) a call that comes again with its `Idempotency-Key` gets the first answer and moves nothing,
until the key is forgotten. Without keys, and without the header, every accepted call moves money, whatever moved
under its reference before.
"""

from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from pydantic import JsonValue, ValidationError

from tools.stand_ins.bank_faults import Course, Rates, course
from tools.stand_ins.books import Booking, Books, Transfer
from tools.stand_ins.clock import Clock
from tools.stand_ins.connection import Connection
from tools.stand_ins.gate import Gate
from tools.stand_ins.http import Request, Response, answer
from tools.stand_ins.options import Options

_BAD_REQUEST = answer(400, {"error": "bad_request"})
_NOT_FOUND = answer(404, {"error": "not found"})
_IN_PROGRESS = answer(409, {"error": "in_progress"})
_KEY_REUSED = answer(422, {"error": "key_reused"})
_ERROR = answer(503, {"error": "injected fault"})
_REFUSED: dict[str, JsonValue] = {"error": "insufficient_funds"}


class Reply(NamedTuple):
    """What the caller gets, after the latency."""

    #: Nothing: the connection is closed.
    response: Response | None
    #: Seconds on top of the latency.
    delay: float = 0


class Call(NamedTuple):
    """One POST; times are seconds that never go back."""

    reference: str
    came_at: float
    ends_at: float
    #: None where the connection is closed instead of an answer.
    status: int | None


class Bank:
    """`POST /bank/transfers` and `GET /bank/transfers?reference=…`. Raises OptionsError.

    A call is judged, and its money moved, the moment it comes; only the answer takes its time. So what is carried
    out does not depend on whether the caller waits.
    """

    def __init__(self, options: Options, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._latency = options.latency_ms / 1000
        self._rates = Rates(
            error=options.bank_error_rate,
            refused=options.bank_refusal_rate,
            lost=options.bank_lost_rate,
            late=options.bank_late_rate,
            silent=options.bank_silent_rate,
        )
        self.gate = Gate(
            options, clock, outage_from_call=options.bank_outage_after_calls, outage_s=options.bank_outage_s
        )
        self._books = Books(options.bank_books)
        self.reset()

    def reset(self) -> None:
        """Forgets all calls, and with them which call of a reference is the next one. What was moved was moved."""
        self.gate.reset()
        self._calls_of: dict[str, int] = {}
        self._counts = dict.fromkeys(
            ("posts", "probes", "errors", "lost", "late", "silent", "replayed", "in_progress", "key_reused"), 0
        )
        self._counts["bad_requests"] = 0
        #: Every POST, where they are kept, in the order in which they came.
        self.calls: list[Call] = []

    def close(self) -> None:
        self._books.close()

    def stats(self) -> dict[str, Any]:
        """What stands in the books, and what was counted since the start or the last reset."""
        return self._counts | self._books.stats(self._clock.now()) | self.gate.stats()

    def serve(self, request: Request, connection: Connection) -> None:
        reply = self._judge(request)
        if self._options.bank_keeps_calls and request.method == "POST":
            self._keep(request, reply)
        end = connection.hang_up if reply.response is None else partial(connection.answer, reply.response)
        self._clock.later(self._latency + reply.delay, end)

    def _keep(self, request: Request, reply: Reply) -> None:
        transfer, now = _parse(request.body), self._clock.now()
        status = None if reply.response is None else int(reply.response.head.split()[1])
        reference = "" if transfer is None else transfer.reference
        self.calls.append(Call(reference, now, now + self._latency + reply.delay, status))

    def _judge(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        match request.method, url.path:
            case "POST", "/bank/transfers":
                return self._post(request)
            case "GET", "/bank/transfers":
                return self._probe(request, parse_qs(url.query).get("reference", []))
            case _:
                return Reply(_NOT_FOUND)

    def _probe(self, request: Request, references: list[str]) -> Reply:
        self._counts["probes"] += 1
        refusal = self.gate.refusal(request, *references, leads_to_outage=False)
        if refusal is not None:
            return Reply(refusal)
        if len(references) != 1:
            return self._counted("bad_requests", _BAD_REQUEST)
        now = self._clock.now()
        shown = [each for each in self._books.of(references[0]) if each.shows_at <= now]
        movements = [_listed(each) for each in shown if each.status == "booked"]
        refused = [_listed(each) | _REFUSED for each in shown if each.status == "refused"]
        return Reply(answer(200, {"transfers": movements, "refused": refused}))

    def _post(self, request: Request) -> Reply:
        self._counts["posts"] += 1
        transfer = _parse(request.body)
        refusal = self.gate.refusal(request, *([] if transfer is None else [transfer.reference]))
        if refusal is not None:
            return Reply(refusal)
        if transfer is None:
            return self._counted("bad_requests", _BAD_REQUEST)
        n = self._calls_of[transfer.reference] = self._calls_of.get(transfer.reference, 0) + 1
        found = course(self._options.seed, transfer.reference, n, self._rates)
        if found is Course.ERROR:
            return self._counted("errors", _ERROR)
        key = request.headers.get("idempotency-key") if self._options.bank_keys else None
        first = self._first_with(key)
        if first is not None:
            return self._again(first, transfer)
        return self._carry_out(transfer, key, found)

    def _first_with(self, key: str | None) -> Booking | None:
        """What this key was used for, unless it is forgotten by now."""
        first = None if key is None else self._books.by_key(key)
        if first is None or self._clock.now() >= first.at + self._options.bank_key_window_s:
            return None
        return first

    def _again(self, first: Booking, transfer: Transfer) -> Reply:
        if first.transfer != transfer:
            return self._counted("key_reused", _KEY_REUSED)
        if self._clock.now() < first.answer_at:
            return self._counted("in_progress", _IN_PROGRESS)
        return self._counted("replayed", answer(first.answer_status, first.answer_body))

    def _carry_out(self, transfer: Transfer, key: str | None, found: Course) -> Reply:
        now = self._clock.now()
        shows_at = now + (self._options.bank_late_s if found is Course.LATE else 0)
        delay = self._options.bank_silent_s if found is Course.SILENT else 0
        id_ = f"tr-{len(self._books) + 1}"
        refused = found is Course.REFUSED
        booking = Booking(
            id=id_,
            transfer=transfer,
            status="refused" if refused else "booked",
            at=now,
            shows_at=shows_at,
            answer_at=max(now + self._latency + delay, shows_at),
            key=key,
            answer_status=422 if refused else 201,
            answer_body=_REFUSED if refused else {"id": id_, "status": "booked"},
        )
        self._books.write(booking)
        if found in self._counts:
            self._counts[found] += 1
        is_unanswered = found in (Course.LOST, Course.LATE)
        return Reply(None if is_unanswered else answer(booking.answer_status, booking.answer_body), delay)

    def _counted(self, what: str, response: Response) -> Reply:
        self._counts[what] += 1
        return Reply(response)


def _listed(booking: Booking) -> dict[str, JsonValue]:
    return {"id": booking.id, "reference": booking.transfer.reference, "status": booking.status}


def _parse(body: bytes) -> Transfer | None:
    try:
        return Transfer.model_validate_json(body)
    except ValidationError:
        return None
