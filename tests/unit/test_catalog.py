"""The catalog: jobs are found by their files, and what does not fit together is refused."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollcall.core.catalog import catalog, find, load
from rollcall.core.errors import DeclarationError

PACKAGE = "jobs_of_a_test"
HEAD = "from rollcall import Entry, Job, Pipeline, Target, daily\n"


def declaration(name: str, *, concurrency: int = 10, target: str = "Target('bank', concurrency=20)") -> str:
    """Two statements that declare a whole job."""
    variable = name.replace("-", "_")
    return (
        f"{variable} = Job('{name}', schedule=daily('02:30'), target={target}, concurrency={concurrency})\n"
        f"{variable}.source(lambda run: [])\n"
        f"{variable}.callback(lambda payload, call: None)\n"
    )


class Jobs:
    """A package of job files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, file: str, *statements: str) -> None:
        """Put a file into `<system>/<job>.py`, and make its folder a package."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(HEAD + "".join(statements))


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    root = tmp_path / PACKAGE
    root.mkdir()
    (root / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Jobs(root)
    for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[module]


# --- Finding ---


def test_a_new_file_is_all_it_takes(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers"))
    found = catalog(PACKAGE)["transfers"]
    assert (found.job.name, found.system, found.module) == ("transfers", "bank", f"{PACKAGE}.bank.transfers")


def test_jobs_are_listed_by_system_and_file(jobs: Jobs) -> None:
    jobs.write("charity/b.py", declaration("first", concurrency=6))
    jobs.write("bank/d.py", declaration("second", concurrency=6))
    jobs.write("bank/c.py", declaration("third", concurrency=6))
    assert list(catalog(PACKAGE)) == ["third", "second", "first"]


@pytest.mark.parametrize("file", ["bank/_helper.py", "_shared/helper.py", ".hidden/helper.py", "bank/.helper.py"])
def test_helpers_are_no_jobs_and_not_even_imported(jobs: Jobs, file: str) -> None:
    jobs.write("bank/transfers.py", declaration("transfers"))
    jobs.write(file, "raise RuntimeError('imported')\n")
    assert list(catalog(PACKAGE)) == ["transfers"]


def test_files_that_are_not_python_are_no_jobs(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers"))
    (jobs.root / "bank/README.md").touch()
    assert list(catalog(PACKAGE)) == ["transfers"]


def test_without_any_job_the_catalog_is_empty(jobs: Jobs) -> None:
    assert catalog(PACKAGE) == {}
    assert jobs.root.is_dir()


def test_a_folder_left_by_deleted_jobs_is_no_system(jobs: Jobs) -> None:
    (jobs.root / "bank/__pycache__").mkdir(parents=True)
    assert catalog(PACKAGE) == {}


def test_a_system_that_is_no_package_is_refused_and_not_overlooked(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers"))
    (jobs.root / "bank/__init__.py").unlink()
    with pytest.raises(DeclarationError, match=r"bank has jobs and no __init__\.py; add one"):
        catalog(PACKAGE)


def test_a_job_file_outside_of_any_system_is_refused_and_not_overlooked(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers"))
    jobs.write("refunds.py", declaration("refunds"))
    with pytest.raises(DeclarationError, match=r"refunds\.py is in no .* belongs into .*/<system>/"):
        catalog(PACKAGE)


def test_a_helper_outside_of_any_system_is_no_job(jobs: Jobs) -> None:
    jobs.write("_shared.py", "raise RuntimeError('imported')\n")
    assert catalog(PACKAGE) == {}


def test_the_jobs_of_this_project_fit_together() -> None:
    assert all(declared.module.startswith("functions.jobs.") for declared in catalog().values())


# --- What a job file may hold ---


def test_a_file_without_a_job_is_refused(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py")
    with pytest.raises(DeclarationError, match=r"bank\.transfers declares 0 jobs; a job file declares one"):
        load(f"{PACKAGE}.bank.transfers")


def test_a_file_with_two_jobs_is_refused(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers"), declaration("refunds"))
    with pytest.raises(DeclarationError, match=r"bank\.transfers declares 2 jobs; a job file declares one"):
        load(f"{PACKAGE}.bank.transfers")


def test_a_job_that_is_not_whole_is_refused(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers").replace("transfers.callback", "str"))
    with pytest.raises(DeclarationError, match="job transfers has no callback"):
        load(f"{PACKAGE}.bank.transfers")


def test_a_bad_declaration_is_told_when_its_file_is_found(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers").replace("02:30", "26:30"))
    with pytest.raises(DeclarationError, match="26:30"):
        catalog(PACKAGE)


# --- What jobs may not do to each other ---


def test_two_jobs_of_one_name_are_refused(jobs: Jobs) -> None:
    jobs.write("bank/a.py", declaration("transfers"))
    jobs.write("charity/b.py", declaration("transfers"))
    named = rf"two jobs are named transfers: {PACKAGE}\.bank\.a and {PACKAGE}\.charity\.b; rename one"
    with pytest.raises(DeclarationError, match=named):
        catalog(PACKAGE)


def test_jobs_may_use_all_calls_that_their_target_takes(jobs: Jobs) -> None:
    jobs.write("bank/a.py", declaration("transfers"))
    jobs.write("bank/b.py", declaration("refunds"))
    assert len(catalog(PACKAGE)) == 2


def test_jobs_that_together_make_too_many_calls_are_refused(jobs: Jobs) -> None:
    jobs.write("bank/a.py", declaration("transfers"))
    jobs.write("bank/b.py", declaration("refunds", concurrency=12))
    told = "target bank takes 20 calls at once, but its jobs make 22: transfers 10, refunds 12; lower their concurrency"
    with pytest.raises(DeclarationError, match=told):
        catalog(PACKAGE)


def test_jobs_of_different_targets_do_not_share_calls(jobs: Jobs) -> None:
    jobs.write("bank/a.py", declaration("transfers", concurrency=20))
    jobs.write("bank/b.py", declaration("refunds", concurrency=20, target="Target('books', concurrency=20)"))
    assert len(catalog(PACKAGE)) == 2


def test_a_target_that_is_declared_twice_and_differently_is_refused(jobs: Jobs) -> None:
    jobs.write("bank/a.py", declaration("transfers", concurrency=20))
    jobs.write("bank/b.py", declaration("refunds", concurrency=20, target="Target('bank', concurrency=21)"))
    with pytest.raises(DeclarationError, match="two different targets are named bank, one of them that of job refunds"):
        catalog(PACKAGE)


# --- Asking for a job by name ---


def test_a_job_is_found_by_its_name(jobs: Jobs) -> None:
    jobs.write("bank/transfers.py", declaration("transfers"))
    assert find("transfers", PACKAGE).job.name == "transfers"


@pytest.mark.parametrize(
    ("asked", "advice"),
    [("transfer", "did you mean transfers?"), ("zzz", "there are: refunds, transfers"), ("", "there are: refunds, ")],
)
def test_an_unknown_job_gets_advice(jobs: Jobs, asked: str, advice: str) -> None:
    jobs.write("bank/a.py", declaration("refunds"))
    jobs.write("bank/b.py", declaration("transfers"))
    with pytest.raises(DeclarationError) as raised:
        find(asked, PACKAGE)
    assert f"there is no job {asked!r}; {advice}" in str(raised.value)


def test_where_there_are_no_jobs_the_advice_says_so(jobs: Jobs) -> None:
    assert jobs.root.is_dir()
    with pytest.raises(DeclarationError, match="there is no job 'transfers'; there are: none"):
        find("transfers", PACKAGE)


# --- Pipelines ---

PIPELINE = "nightly = Pipeline('nightly', schedule=daily('01:00'))\n"


def test_a_pipeline_names_the_jobs_of_its_steps(jobs: Jobs) -> None:
    jobs.write("bank/nightly.py", PIPELINE, "nightly.fan_out('transfers')\n")
    jobs.write("bank/transfers.py", declaration("transfers"))
    assert list(catalog(PACKAGE)) == ["nightly", "transfers"]


def test_a_step_that_is_no_job_is_refused_with_those_that_there_are(jobs: Jobs) -> None:
    jobs.write("bank/nightly.py", PIPELINE, "nightly.fan_out('transfer')\n")
    jobs.write("bank/transfers.py", declaration("transfers"))
    with pytest.raises(DeclarationError, match=r"has the step transfer, .* there are: nightly, transfers"):
        catalog(PACKAGE)


def test_a_pipeline_in_a_pipeline_is_refused(jobs: Jobs) -> None:
    jobs.write("bank/nightly.py", PIPELINE, "nightly.fan_out('weekly')\n")
    jobs.write("bank/weekly.py", PIPELINE.replace("nightly", "weekly"), "weekly.fan_out('nightly')\n")
    with pytest.raises(DeclarationError, match="weekly is a pipeline; a step is a task or a job"):
        catalog(PACKAGE)
