"""The costs of tests are added up by folder, in whichever process a test runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.reporting import Cost, Measured, folder_of, lines_of, slowest

ROOT = Path(__file__).parents[2]

MEASURED = Measured(
    {
        "tests/unit/test_rate.py::test_a": Cost(1.0, 9.0),
        "tests/unit/test_rate.py::test_b[x/y::z]": Cost(2.0, 2.0),
        "tests/simulation/models/test_sqs_model.py::test_c": Cost(4.0, 4.0),
        "tests/test_import_law.py::test_d": Cost(0.5, 0.5),
    },
    elsewhere=8.0,
)
#: Tests that spend a quarter of a second of CPU time: in their process, in a child that ends, in one that stays.
SPENDING = """
import subprocess, sys, time

BUSY = "import time\\nwhile time.process_time() < 0.25: pass"


def test_here():
    end = time.process_time() + 0.25
    while time.process_time() < end:
        pass


def test_in_a_child():
    subprocess.run([sys.executable, "-c", BUSY], check=True)


STAYING = []


def test_in_a_child_that_stays():
    command = [sys.executable, "-c", BUSY + "\\nprint(flush=True)\\nimport sys; sys.stdin.read()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    STAYING.append(child)
    child.stdout.readline()
"""


def test_a_test_belongs_to_the_first_folder_below_tests() -> None:
    assert [folder_of(test) for test in MEASURED.tests] == ["tests/unit", "tests/unit", "tests/simulation", "tests"]


def test_the_report_adds_up_folders_and_everything() -> None:
    lines = list(lines_of(MEASURED))
    assert lines[:6] == [
        "CPU seconds",
        "     4.0  tests/simulation",
        "     3.0  tests/unit",
        "     0.5  tests",
        "     8.0  collection and start",
        "    15.5  in all",
    ]


def test_the_slowest_are_those_that_took_longest_by_the_wall_clock() -> None:
    assert [cost.elapsed for _, cost in slowest(MEASURED.tests, 3)] == [9.0, 4.0, 2.0]


def test_what_a_worker_process_hands_over_is_what_it_measured() -> None:
    assert Measured.from_fields(MEASURED.to_fields()) == MEASURED


@pytest.mark.parametrize("processes", [0, 1])
def test_cpu_time_of_a_test_and_of_its_children_is_reported(tmp_path: Path, processes: int) -> None:
    (tmp_path / "test_spending.py").write_text(SPENDING)
    command = [sys.executable, "-m", "pytest", "-p", "tests.reporting", f"-n{processes}", "-q", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    spent = {line.rpartition("::")[2]: float(line.split()[1]) for line in lines if "::test_" in line}
    assert spent.keys() == {"test_here", "test_in_a_child", "test_in_a_child_that_stays"}
    assert min(spent.values()) >= 0.2
    assert " passed in " in lines[-1]
