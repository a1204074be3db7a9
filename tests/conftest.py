"""What holds for all tests."""

from pathlib import Path

import pytest

from tests import reporting

JOBS = Path(__file__).parents[1] / "functions/jobs"
ACCOUNTING = JOBS / "accounting"
TRANSFERS = JOBS / "transfers"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cloud", choices=["models", "moto"], default="models", help="where functional stories are told")


def pytest_configure(config: pytest.Config) -> None:
    reporting.pytest_configure(config)
    config.addinivalue_line("markers", "accounting: about the accounting jobs, and skipped where they are deleted")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Tests that import the transfers' files go with them."""
    gone = not any(TRANSFERS.glob("[!_]*.py"))
    return True if gone and collection_path.name == "test_transfers.py" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("accounting") is not None and not any(ACCOUNTING.glob("[!_]*.py")):
        pytest.skip("there are no jobs in functions/jobs/accounting")
