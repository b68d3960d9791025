"""A skipped test fails the run, unless the reason is listed here. Fixtures are in tests/conftest.py."""

import os
import re

import pytest

# What may keep a test from running: (its reason, why that is allowed). Any other skipped test fails the run.
ALLOWED_SKIPS = [
    (r"root may read every file", "permissions do not stop root; every other user runs the test"),
    (r"POSIX|Unix|forks|elsewhere only", "Windows has no fork, no flock, no pseudo-terminals"),
    (r"this file system takes UTF-8 names only", "macOS refuses the name that the test needs"),
]
# Continuous integration installs these (.ci/run), so that their tests must run there.
if not os.environ.get("CI"):
    ALLOWED_SKIPS += [
        (r"apt-get install chromium", "100 MB that pip cannot install; only the search page needs a browser"),
        (r"apt-get install openssl", "pip cannot install it; only the test of pictures over HTTPS needs it"),
    ]
_wrong_skips: dict[str, str] = {}  # test or module -> reason


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that is skipped whole."""
    _note_skip(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a skipped test."""
    _note_skip(report)


def _note_skip(report: pytest.CollectReport | pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not any(re.search(pattern, reason) for pattern, _ in ALLOWED_SKIPS):
            _wrong_skips[report.nodeid] = reason


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run."""
    if _wrong_skips and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that failed it, with their reasons."""
    if _wrong_skips:
        terminalreporter.section("skipped for a reason that is not on the list (conftest.py)", red=True)
        for test, reason in _wrong_skips.items():
            terminalreporter.line(f"{test}: {reason.removeprefix('Skipped: ')}")
