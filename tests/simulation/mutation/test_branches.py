"""Counting branches and breaking lines: both rewrite modules when they are imported, in a process of its own."""

import ast
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.simulation.mutation import branches, mutate, mutations
from tests.simulation.mutation.rewriting import source_of

COUNTED = """
from tests.simulation.mutation import branches
branches.install()
from tests.simulation.plays.plans import drawn
from tests.simulation.plays.playing import play
play(drawn(0))
taken = branches.take()
assert taken["engine.fan_out.fan_out.handle: else of if run is None"] > 0, taken
assert any(name.startswith("engine.fan_out.run_lease._start: if") for name in taken)
assert not branches.take().total()
print(len(taken), len(branches.names()))
"""
BROKEN = """
from tests.simulation.mutation import mutations
[mutant] = [each for each in mutations.mutants() if each.id == {id!r}]
mutations.install(mutant)
from tests.simulation.mutation.mutation_suite import run
print(run([[0, "with keys, and a redrive", []], [0, "two runs, one queued", []]], []))
"""
GUIDED = """
import json
from tests.simulation.mutation.guide import of_lives
print(json.dumps(of_lives(most=40, seeds=3, jobs=1)))
"""


def said(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_branches_are_counted_where_they_are_taken() -> None:
    taken, found = map(int, said(COUNTED).split())
    assert 100 < taken < found


def test_branches_have_names_of_their_own() -> None:
    names = branches.names()
    assert len(names) == len(set(names)) > 400


@pytest.mark.parametrize(
    ("mutant", "violation"),
    [
        ("adapters.ledger.chunk_updates.settle: without count(ledger, run, chunk, record, now)", "healed"),
        (
            "engine.fan_out.run_lease._start: if not job.overlap is Overlap.ALLOW or not _busy(ledger, record)",
            "never began",
        ),
    ],
)
def test_a_broken_engine_is_noticed(mutant: str, violation: str) -> None:
    assert violation in said(BROKEN.format(id=mutant))


def test_every_mutant_has_an_id_of_its_own_and_changes_its_module() -> None:
    found = mutations.mutants()
    assert len({mutant.id for mutant in found}) == len(found) > 500
    for mutant in found[::7]:
        text = source_of(mutant.module)
        broken = ast.fix_missing_locations(mutations.mutated(mutant, ast.parse(text)))
        assert ast.dump(broken) != ast.dump(ast.parse(text)), mutant.id
        compile(broken, mutant.module, "exec")


def test_a_guide_knows_where_mutants_make_a_difference() -> None:
    found = json.loads(said(GUIDED))
    assert set(found) == {mutant.id for mutant in mutations.mutants()}
    lives = {mutant: {life for _, life, _ in lives} for mutant, lives in found.items()}
    assert lives["engine.worker.worker.Worker.handle_deliveries: without self._take_turns(works, deadline)"] > {
        None,
        "skipped",
    }
    assert lives["adapters.ledger.runs.cancel: when_equal without state"] <= {
        None, "cancelled in the middle", "a queued run is cancelled", "a pipeline that is cancelled"
    }  # fmt: skip
    assert lives["adapters.ledger.runs.cancel_queued: set without state"] == {"a queued run is cancelled"}


def test_the_table_tells_of_every_mutant() -> None:
    """Else: make mutate."""
    every = mutations.mutants()
    judged = mutate.judged_before(every)
    assert {mutant.id for mutant in every} - judged.keys() == set()
    assert mutate.TABLE.read_text() == mutate.table(list(judged.values()))


def test_every_survivor_has_a_reason_and_nobody_else_has() -> None:
    judged = mutate.judged_before(mutations.mutants())
    assert {name for name, each in judged.items() if not each.killed_by} == set(mutate.reasons())


SAMPLE = '''
def write(ledger, run, now):
    """Text."""
    update = Update().set(state="x", reason="y").add("settled", [1]).when_equal(fence=run.fence, generation=1)
    update.when(f"{update.name('lease_until')} <= {update.value(now)}")
    if run.leased(now) and run.total:
        return None
    log("said", run=run.id)
    runs.seal(ledger, run)
    return max(run.checkpoint, run.window_end)
'''


def test_the_walk_finds_what_guards_and_leaves_what_only_says() -> None:
    found = [change for change, _ in mutations.changes_of(ast.parse(SAMPLE))]
    assert sorted(found) == sorted(
        [
            "set without state",
            "without add('settled', [1])",
            "when_equal without fence",
            "when_equal without generation",
            "always f\"{update.name('lease_until')} <= {update.value(now)}\"",
            "never f\"{update.name('lease_until')} <= {update.value(now)}\"",
            "if not run.leased(now) and run.total",
            "without if run.leased(now) and run.total",
            "without and run.leased(now)",
            "without and run.total",
            "without runs.seal(ledger, run)",
            "without any condition",
            "min for max(run.checkpoint, run.window_end)",
        ]
    )


WATCHED = """
def choose(run, waits):
    if run.leased and run.total:
        return "held"
    return [each for each in waits if each.begun]
"""


def test_what_is_watched_computes_what_it_did_and_tells_when_a_change_would_matter() -> None:
    ids = [f"sample.choose: {change}" for change, _ in mutations.changes_of(ast.parse(WATCHED))]
    tree = mutations.watched("sample", ast.parse(WATCHED), {name: number for number, name in enumerate(ids)})
    met = []

    def tell(value: object, number: int, only: bool | None = None) -> object:
        if only is None or bool(value) is only:
            met.append(ids[number].removeprefix("sample.choose: "))
        return value

    scope = {mutations.MET: tell}
    exec(compile(ast.fix_missing_locations(tree), "sample", "exec"), scope)  # noqa: S102
    choose: Any = scope["choose"]
    first, second = SimpleNamespace(begun=True), SimpleNamespace(begun=False)
    assert choose(SimpleNamespace(leased=True, total=1), []) == "held"
    assert set(met) == {"if not run.leased and run.total", "without if run.leased and run.total"}
    met.clear()
    assert choose(SimpleNamespace(leased=True, total=0), [first, second]) == [first]
    assert met == ["without and run.total", "if not run.leased and run.total", "for any, not if each.begun"]
