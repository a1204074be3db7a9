"""What somebody who can send to a queue may put on it: nothing of it is an entry of the run that it names."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rollcall.core.message import Message

MILLION = 1_000_000
#: No JSON number stands for it, and none of our own is so long.
HUGE = 10**400
HALF_A_CHARACTER = "\ud83d"


def bodies(sent: Message) -> dict[str, str]:
    """Bodies by what is wrong with them, most of them made of one that dispatch wrote for a run under way."""
    return {
        **_no_message_at_all(),
        **{f"{name} is {shown}": text for name, shown, text in _numbers(sent)},
        **_names(sent),
        **_moments(sent),
        **_payloads(sent),
        **_spellings(sent),
    }


def _no_message_at_all() -> dict[str, str]:
    return {
        "a text": "hello",
        "blank": " ",
        "null": "null",
        "a number": "0",
        "true": "true",
        "a quoted text": '"text"',
        "a list": "[]",
        "an empty object": "{}",
        "another service's": '{"Records":[{"eventSource":"aws:s3","s3":{"bucket":{"name":"b"}}}]}',
        "100,000 brackets": "[" * 100_000,
        "100,000 brackets, closed": "[" * 50_000 + "]" * 50_000,
        "100,000 braces": '{"a":' * 100_000,
        "a megabyte of objects": "[" + ",".join(["{}"] * 340_000) + "]",
        "a million digits": "9" * MILLION,
        "a control character": '{"run":"\t"}',
    }


def _numbers(sent: Message) -> Iterator[tuple[str, str, str]]:
    wrong: dict[str, str] = {
        "a text": '"0"',
        "10^400": str(HUGE),
        "-10^400": str(-HUGE),
        "a float": "0.0",
        "an exponent": "0e0",
        "beyond all floats": "1e999",
        "NaN": "NaN",
        "-Infinity": "-Infinity",
        "false": "false",
        "null": "null",
        "minus one": "-1",
        "minus zero": "-0",
        "a list": "[0]",
    }
    for name in ("generation", "chunk", "index", "total"):
        for shown, text in wrong.items():
            yield name, shown, _with(sent, name, text)
        yield name, "missing", _without(sent, name)
    for name in ("generation", "chunk", "total"):
        yield name, "one more", _edited(sent, **{name: json.loads(sent.body())[name] + 1})
    yield "index", "out of range", replace(sent, index=sent.total).body()
    yield "index", "in another chunk", replace(sent, index=sent.total - 1).body()
    yield "generation", "before the first", replace(sent, generation=0).body()


def _names(sent: Message) -> dict[str, str]:
    job, stamp = sent.run.rsplit("-", 1)
    return {
        "an unknown run": replace(sent, run=f"{job}-20301121T023000Z").body(),
        "another job's run": replace(sent, run=f"another-{sent.run}").body(),
        "a run that is no run id": replace(sent, run="run").body(),
        "a run in other digits": replace(sent, run=f"{job}-{stamp.replace('2', '٢')}").body(),
        "a run of a million characters": replace(sent, run=sent.run + "z" * MILLION).body(),
        "a run that is a list": _edited(sent, run=[sent.run]),
        "a run that is a ledger key": replace(sent, run=f"{sent.run}#1#0#0").body(),
        "a key of a million characters": replace(sent, key="k" * MILLION).body(),
        "a key one character too long": replace(sent, key="k" * 1_025).body(),
        "an empty key": replace(sent, key="").body(),
        "a blank key": replace(sent, key="\n\t ").body(),
        "half a character as key": replace(sent, key=HALF_A_CHARACTER).body(),
        "a key that is a number": _entry(sent, key=0),
        "a key that is null": _entry(sent, key=None),
        "half a character as idempotency key": replace(sent, idempotency_key=HALF_A_CHARACTER).body(),
        "an empty idempotency key": replace(sent, idempotency_key="").body(),
        "an idempotency key of a million characters": replace(sent, idempotency_key="i" * MILLION).body(),
        "an idempotency key that is null": _entry(sent, idempotency_key=None),
    }


def _moments(sent: Message) -> dict[str, str]:
    moments = {
        "that no calendar has": "0001-01-01T00:00:00.000000+23:59",
        "at the end of time": "9999-12-31T23:59:59.999999+00:00",
        "without a zone": "2026-11-21T02:30:00.000000",
        "spelled in another way": "2026-11-21T02:30:00Z",
        "of a million characters": "2" * MILLION,
    }
    return {
        f"{name} {what}": replace(sent, **{name: text}).body()  # type: ignore[arg-type]
        for name in ("called_since", "unanswered_since")
        for what, text in moments.items()
    }


def _payloads(sent: Message) -> dict[str, str]:
    return {
        "no payload": _edited(sent, entry={"key": sent.key}),
        "an entry that is a text": _edited(sent, entry="key payload"),
        "an entry that is a list": _edited(sent, entry=[sent.key]),
        "a payload of a million characters": replace(sent, payload="p" * MILLION).body(),
        "a payload beyond all floats": _with_payload(sent, '{"deposit":1e999}'),
        "NaN in the payload": _with_payload(sent, '{"deposit":NaN}'),
        "100,000 brackets in the payload": _with_payload(sent, "[" * 50_000 + "]" * 50_000),
        "10,000 digits in the payload": _with_payload(sent, "9" * 10_000),
    }


def _spellings(sent: Message) -> dict[str, str]:
    body = sent.body()
    return {
        "cut off": body[:-1],
        "two messages": body + body,
        "spaces": body.replace(",", ", "),
        "a byte order mark": "\ufeff" + body,
        "another order": json.dumps(dict(reversed(json.loads(body).items())), separators=(",", ":")),
        "a field of its own": _edited(sent, admin=True),
        "a field of its own in the entry": _entry(sent, admin=True),
        "an index twice": body[:-1] + f',"index":{sent.index}}}',
        "a key twice": body.replace('"entry":{', f'"entry":{{"key":{json.dumps(sent.key)},'),
        "characters in the place of escapes": replace(sent, key="José").body().replace("\\u00e9", "é"),
    }


def _edited(sent: Message, **fields: Any) -> str:
    return _canonical({**json.loads(sent.body()), **fields})


def _without(sent: Message, name: str) -> str:
    return _canonical({other: value for other, value in json.loads(sent.body()).items() if other != name})


def _entry(sent: Message, **fields: Any) -> str:
    return _edited(sent, entry={**json.loads(sent.body())["entry"], **fields})


def _with(sent: Message, name: str, text: str) -> str:
    """The body with a number spelled as `text`."""
    return _edited(sent, **{name: "here"}).replace('"here"', text)


def _with_payload(sent: Message, text: str) -> str:
    return _entry(sent, payload="here").replace('"here"', text)


def _canonical(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))
