import ast
import gzip
import json
import sys

import pytest

from unbraid.cli import main as cli
from unbraid.distill.data.package_pairs import docstring_pairs, licence, write_pairs
from unbraid.errors import DataError
from unbraid.io.jsonl import read_rows

SOURCE = '''
"""A module docstring is nobody's description."""
import functools


@functools.cache
def area(width: float, height: float = 1.0) -> float:
    """Return the area of a rectangle.

    Both sides are in metres, the result is in square metres. Negative sides are taken for what they are, so two
    of them give a positive area.
    """
    # a comment is not code
    result = width * height
    return result


async def fetch(url):
    """Fetch a page from the network."""
    return await client.get(url, timeout=10, follow=True)


def short():
    """Too short."""
    return sum(number for number in range(100) if number % 7 == 3)


def abstract(self):
    """Return the number of things, in a subclass."""
    raise NotImplementedError("a subclass knows how many things there are in it")


class Circle:
    """A circle around the origin of the plane.

    It has a radius and nothing else; what is asked of it is computed from that, each time, so that it never lies.
    """

    def radius(self):
        return "no docstring here, so nothing says what this does, however long it may be"


def twin(width: float, height: float = 1.0) -> float:
    """Return the area of a rectangle."""
    return "a description that was seen before is kept once, and it is the first that counts"
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "unbraid_shapes"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text(SOURCE)
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "tests" / "test_area.py").write_text(SOURCE.replace("rectangle", "triangle"))
    monkeypatch.syspath_prepend(tmp_path)
    return "unbraid_shapes"


def test_a_function_is_paired_with_its_summary_and_loses_its_docstring(package):
    pairs = {summary: code for summary, code, _ in docstring_pairs([package]).code}
    assert list(pairs) == ["Return the area of a rectangle.", "Fetch a page from the network."]
    area = pairs["Return the area of a rectangle."]
    assert area == (
        "def area(width: float, height: float=1.0) -> float:\n    result = width * height\n    return result"
    )
    assert all(ast.get_docstring(ast.parse(code).body[0]) is None for code in pairs.values())


def test_a_summary_is_paired_with_the_rest_of_its_docstring(package):
    docs = {summary: rest for summary, rest, _ in docstring_pairs([package]).docs}
    assert list(docs) == ["Return the area of a rectangle.", "A circle around the origin of the plane."]
    assert docs["Return the area of a rectangle."].startswith("Both sides are in metres")
    assert {name for _, _, name in docstring_pairs([package]).docs} == {package}


def test_the_package_is_not_imported(package):
    docstring_pairs([package])
    assert package not in sys.modules


@pytest.mark.parametrize("name", ["no_such_package_here", "not a name", "_socket"])
def test_what_is_no_package_with_source_is_refused_by_name(name):
    with pytest.raises(DataError, match=f"{name}: no installed Python package"):
        docstring_pairs([name])


def test_a_positive_is_taken_once(tmp_path, monkeypatch):
    twice = SOURCE + SOURCE.replace("a rectangle", "some rectangle")
    (tmp_path / "unbraid_twice.py").write_text(twice)
    monkeypatch.syspath_prepend(tmp_path)
    positives = [code for _, code, _ in docstring_pairs(["unbraid_twice"]).code]
    assert len(positives) == len(set(positives))


def test_written_pairs_are_what_training_reads(package, tmp_path):
    pairs = docstring_pairs([package]).code
    write_pairs(tmp_path / "code" / "packages.jsonl.gz", pairs)
    first = (tmp_path / "code" / "packages.jsonl.gz").read_bytes()
    found = [line.row for line in read_rows(tmp_path / "code" / "packages.jsonl.gz")]
    assert found == [{"anchor": a, "positive": p, "package": n} for a, p, n in pairs]
    write_pairs(tmp_path / "code" / "packages.jsonl.gz", pairs)
    assert (tmp_path / "code" / "packages.jsonl.gz").read_bytes() == first
    assert json.loads(gzip.decompress(first).splitlines()[0])["package"] == package


def test_licences_come_from_the_metadata():
    assert "BSD" in licence("numpy")
    assert licence("no_such_package_here") == "not stated"


def test_the_command_writes_both_files_and_says_under_which_licence(package, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["unbraid", "train", "pairs", package, "packaging", "--out", str(tmp_path / "data")]
    )
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    said = capsys.readouterr().out
    assert f"{package}: not stated" in said and "packaging: " in said
    assert {line.row["package"] for line in read_rows(tmp_path / "data" / "code" / "packages.jsonl.gz")} == {
        package,
        "packaging",
    }
    assert list(read_rows(tmp_path / "data" / "text" / "package_docs.jsonl.gz"))
