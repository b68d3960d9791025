"""The policy in the conftest.py of the repository: a skipped test fails the run unless its reason is on the list."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file under that conftest.py, as continuous integration does or not; the outcome."""

    def run(test: str, *, ci: bool = True) -> pytest.RunResult:
        monkeypatch.setenv("CI", "true" if ci else "")
        pytester.makeconftest((Path(__file__).parent.parent / "conftest.py").read_text())
        pytester.makepyfile(f"import pytest\n{test}")
        return pytester.runpytest_inprocess("--disable-plugin-autoload", "-p", "no:cacheprovider")

    return run


def skipped(reason: str) -> str:
    return f"def test_other(): pass\n@pytest.mark.skip(reason={reason!r})\ndef test_one(): pass"


def test_a_skip_that_is_not_on_the_list_fails_the_run_and_is_named(run):
    result = run(skipped("no time"))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*not on the list*", "*::test_one: no time"])


@pytest.mark.parametrize("where", ["module", "test", "fixture"])
def test_a_library_that_is_not_there_fails_the_run(run, where):
    line = "pytest.importorskip('no_such_library')"
    result = run(
        {
            "module": f"{line}\ndef test_one(): pass",
            "test": f"def test_other(): pass\ndef test_one(): {line}",
            "fixture": f"@pytest.fixture\ndef f(): {line}\ndef test_one(f): pass",
        }[where]
    )
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*not on the list*", "*: could not import 'no_such_library'*"])


def test_a_skip_on_the_list_passes(run):
    result = run(skipped("root may read every file"))
    assert result.ret == pytest.ExitCode.OK


def test_an_expected_failure_is_no_skip(run):
    result = run("@pytest.mark.xfail\ndef test_one(): assert False")
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("ci", [False, True])
def test_only_continuous_integration_needs_a_browser(run, ci):
    result = run(skipped("no Chromium: apt-get install chromium"), ci=ci)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if ci else pytest.ExitCode.OK)


def test_a_run_that_fails_anyway_keeps_its_status(run):
    result = run(f"{skipped('no time')}\ndef test_two(): assert False")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
