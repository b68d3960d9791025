"""Folders and languages with their counts."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.search.facets import common_folder, subfolders

PATHS = st.lists(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
)


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        ([], ""),
        (["/a/b.md"], "/a"),
        (["/a/b/c.md", "/a/b/d/e.md"], "/a/b"),
        (["/a/bc/d.md", "/a/b/d.md"], "/a"),
        (["/a/b.md", "/c/d.md"], "/"),
        (["C:/a/b.md", "C:/a/c/d.md"], "C:/a"),
    ],
)
def test_the_folder_that_all_files_lie_in(files, folder):
    assert common_folder(files) == folder


def test_files_count_for_the_subfolder_they_lie_in():
    files = {"/a/x": 1, "/a/b/x": 2, "/a/b/c/x": 3, "/a/bc/x": 4, "/ab/x": 5}
    assert subfolders(files, "/a") == {"/a/b": 5, "/a/bc": 4}
    assert subfolders(files, "/") == {"/a": 10, "/ab": 5}
    assert subfolders(files, "/a/b/c") == {}


@given(PATHS)
def test_every_file_lies_in_the_common_folder_and_in_no_two_subfolders(files):
    top = common_folder(files)
    assert all(PurePosixPath(path).is_relative_to(top) for path in files)
    counts = subfolders(dict.fromkeys(files, 1), top)
    direct = [path for path in set(files) if str(PurePosixPath(path).parent) == top]
    assert sum(counts.values()) + len(direct) == len(set(files))
    assert len(counts) + len(direct) != 1 or direct  # else a deeper folder would do
