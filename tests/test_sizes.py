import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.sizes import disk_bytes, read_size, write_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("12", 12), ("12B", 12), ("100kB", 100_000), ("100 KB", 100_000), ("1.5mb", 1_500_000)]
    + [("2MiB", 2 * 1024**2), ("1GB", 10**9), ("1TiB", 1024**4)],
)
def test_a_size_is_read_in_every_unit(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1k", "1iB", "kB", "1e3", "1..2", "1 PB", "12 apples"])
def test_what_is_no_size_is_none(text: str) -> None:
    assert read_size(text) is None


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (2e12, "2,000.0 GB")],
)
def test_a_size_is_written_in_the_largest_unit(size: float, text: str) -> None:
    assert write_size(size) == text


def test_a_folder_that_goes_while_it_is_measured_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a/gone/x", "a/y"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"some words")
    scandir = os.scandir

    def scan(path: str) -> object:
        if str(path).endswith("gone"):
            shutil.rmtree(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert disk_bytes(tmp_path) == (tmp_path / "a" / "y").stat().st_blocks * 512


@given(st.integers(min_value=0, max_value=10**12))
def test_what_is_written_is_read_again_to_a_tenth_of_a_unit(size: int) -> None:
    again = read_size(write_size(size).replace("bytes", "B").replace(",", ""))
    assert again is not None and abs(again - size) <= max(0.06 * size, 0)
