"""Places of formats without lines: files of an archive each have their own, as sheets have rows."""

import zipfile

import pytest

import unbraid
from unbraid.mcp import SharedIndex
from unbraid.mcp.tools import Filters, find_related, read_hit, search


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """An index of one zip file with two texts, each of whose places begins at its own line 1."""
    place = tmp_path_factory.mktemp("units")
    with zipfile.ZipFile(place / "all.zip", "w") as archive:
        archive.writestr("tea.md", "# Tea\n\nGreen tea is brewed at eighty degrees for two minutes.\n")
        archive.writestr("coffee.md", "# Coffee\n\nCoffee is brewed at ninety degrees for four minutes.\n")
    model = unbraid.load(tier="nano", threads=1)
    with unbraid.open_index(place / "ix", model=model) as index:
        index.add(place / "all.zip", archives=True, progress=False)
    opened = SharedIndex(lambda: unbraid.open_index(place / "ix", model=model, read_only=True))
    yield opened
    opened.close()


def test_a_hit_says_what_its_lines_are_of(shared):
    found, text = search(shared, "how is tea brewed", "retrieval", False, 2, Filters(min_score=0.0), 2000)
    assert {(hit.unit, hit.first_line) for hit in found.hits} == {("tea.md, line", 1), ("coffee.md, line", 1)}
    assert "all.zip tea.md, line 1-3" in text


def test_a_place_is_read_in_its_own_file_of_the_archive(shared):
    found, text = read_hit(shared, "all.zip tea.md, line 1-3", None, None, 0, 2000)
    assert "Green tea" in found.text and "Coffee" not in found.text
    assert found.unit == "tea.md, line" and text.startswith("all.zip tea.md, line 1-3")
    everything, _ = read_hit(shared, "all.zip", None, None, 0, 2000)
    assert "Green tea" in everything.text and "Coffee" in everything.text


def test_lines_without_a_unit_are_those_of_one_file(shared):
    found, _ = read_hit(shared, "all.zip", 1, 3, 0, 2000)
    assert ("Green tea" in found.text) != ("Coffee" in found.text)


def test_the_same_lines_of_another_file_are_related_and_not_the_place_itself(shared):
    found, text = find_related(shared, "all.zip tea.md, line 1-3", None, "symmetric", 5, Filters(), 2000)
    assert [hit.unit for hit in found.hits] == ["coffee.md, line"]
    assert "Related to all.zip tea.md, line 1-3." in text
