"""A small part of benchmarks/fuzz_readers.py."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "fuzz_readers.py"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_readers", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(4))
def test_random_files_are_read_or_refused(fuzz, seed):
    results = [fuzz.check(data, suffix) for data, suffix in fuzz.random_files(15, seed + 1000)]
    assert "read" in results
