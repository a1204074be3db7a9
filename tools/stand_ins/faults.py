"""Which calls fail: a pure function of the seed, the request and how often it was called."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b, sha256

_DRAWS = 2**64
_RUN = re.compile(r"^[a-z][a-z0-9-]*-\d{8}T\d{6}Z(-[a-z0-9]{1,14})?-(?=[0-9a-f]{32}$)")


@dataclass(frozen=True, slots=True)
class Expected:
    """What the target will have counted when every request got its answer, or was called `most` times."""

    #: All calls, those that were answered with a fault included.
    calls: int
    #: Calls that were answered with a fault.
    injected: int
    #: How many requests were called once, twice, …
    calls_per_entry: Mapping[int, int]


def identity(method: str, path: str, body: bytes) -> str:
    """What makes two requests the same: method, path (with its query) and body; no header, host or port."""
    return f"{method} {path} {sha256(body).hexdigest()}"


def entry_of(idempotency_key: str) -> str:
    """The entry that an idempotency key names, in whichever run: a key of `<run>-<entry>` without its run."""
    return _RUN.sub("", idempotency_key)


def fault(seed: int, identity: str, n: int, error_rate: float) -> bool:
    """Whether the `n`-th call (from 1) of a request fails; of many calls, a share of `error_rate` does."""
    digest = blake2b(f"{seed}\n{n}\n{identity}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < error_rate * _DRAWS


def expected_calls(seed: int, identities: Iterable[str], error_rate: float, most: int) -> Expected:
    """The calls that a client makes who repeats a request until it is answered well, `most` times at most."""
    injected = 0
    per_entry: Counter[int] = Counter()
    for each in identities:
        faults = next((n for n in range(most) if not fault(seed, each, n + 1, error_rate)), most)
        injected += faults
        per_entry[min(faults + 1, most)] += 1
    calls = sum(times * entries for times, entries in per_entry.items())
    return Expected(calls, injected, dict(per_entry))
