"""What holds for all tests."""

from pathlib import Path

import pytest

ACCOUNTING = Path(__file__).parents[1] / "functions/jobs/accounting"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "accounting: about the accounting jobs, and skipped where they are deleted")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("accounting") is not None and not any(ACCOUNTING.glob("[!_]*.py")):
        pytest.skip("there are no jobs in functions/jobs/accounting")
