"""A plug-in of pytest: why a test failed is written down at once, so that it is known whatever ends the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Into the file that $TESTS_FAILED names."""
    if report.failed:
        with Path(os.environ["TESTS_FAILED"]).open("a", encoding="utf-8") as file:
            file.write(f"{report.nodeid} ({report.when}):\n{report.longreprtext}\n\n")
