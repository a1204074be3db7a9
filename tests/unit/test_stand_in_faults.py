"""Which calls of the target stand-in fail."""

from tools.stand_ins.faults import Expected, entry_of, expected_calls, fault, identity

ENTRIES = [identity("POST", f"/target/deposits/{n}", b"{}") for n in range(10_000)]


def test_a_call_fails_or_not_whatever_was_called_before_and_wherever_it_runs() -> None:
    # Written down once: if these change, no run can be compared with an earlier one.
    failing = [n for n, entry in enumerate(ENTRIES[:1_000]) if fault(seed=0, identity=entry, n=1, error_rate=0.01)]
    assert failing == [206, 530, 540, 859, 957, 998]


def test_a_share_of_the_calls_fails() -> None:
    failed = sum(fault(seed=7, identity=entry, n=1, error_rate=0.1) for entry in ENTRIES)
    assert 900 < failed < 1_100


def test_no_call_fails_at_a_rate_of_zero_and_every_call_at_a_rate_of_one() -> None:
    assert not any(fault(seed=0, identity=entry, n=1, error_rate=0.0) for entry in ENTRIES)
    assert all(fault(seed=0, identity=entry, n=1, error_rate=1.0) for entry in ENTRIES)


def test_a_higher_rate_fails_the_same_calls_and_more() -> None:
    few = {entry for entry in ENTRIES if fault(seed=0, identity=entry, n=1, error_rate=0.01)}
    many = {entry for entry in ENTRIES if fault(seed=0, identity=entry, n=1, error_rate=0.05)}
    assert few < many


def test_another_seed_or_another_call_of_the_same_entry_fails_by_itself() -> None:
    first, second, other_seed = (
        [fault(seed, entry, n, error_rate=0.5) for entry in ENTRIES[:100]] for seed, n in [(0, 1), (0, 2), (1, 1)]
    )
    assert first != second
    assert first != other_seed


def test_method_path_and_body_make_the_identity() -> None:
    identities = {
        identity("POST", "/target/a", b"1"),
        identity("PUT", "/target/a", b"1"),
        identity("POST", "/target/b", b"1"),
        identity("POST", "/target/a", b"2"),
    }
    assert len(identities) == 4


def test_a_key_of_run_and_entry_names_the_entry_and_any_other_key_itself() -> None:
    entry = "0123456789abcdef" * 2
    assert entry_of(f"client-deposits-20261121T023000Z-{entry}") == entry
    assert entry_of(f"client-deposits-20261121T023000Z-ab12cd-{entry}") == entry
    assert entry_of("transfer-2026-11-21") == "transfer-2026-11-21"


def test_the_number_of_calls_is_known_beforehand() -> None:
    expected = expected_calls(seed=0, identities=ENTRIES, error_rate=0.01, most=4)
    assert expected.calls == len(ENTRIES) + expected.injected
    assert sum(expected.calls_per_entry.values()) == len(ENTRIES)
    assert expected.calls_per_entry[2] == sum(
        fault(0, entry, 1, 0.01) and not fault(0, entry, 2, 0.01) for entry in ENTRIES
    )


def test_who_gives_up_makes_no_more_calls() -> None:
    assert expected_calls(seed=0, identities=ENTRIES[:10], error_rate=1.0, most=4) == Expected(40, 40, {4: 10})
