"""The tool find_related: what is like a place, by the vector that is stored for it."""

import pytest

import unbraid


def test_similar_code_is_found_without_the_place_itself(call):
    found = call("find_related", path="src/tables.py", line=2, mode="code", k=3, languages=["python"])
    assert len(found.paths) == 1 and set(found.paths) <= {"src/vault.py", "docs/copy of code.py"}
    assert "Related to src/tables.py:1-3." in found.text


def test_the_score_is_the_cosine_and_a_least_one_may_be_given(call):
    hits = call("find_related", path="docs/bread.md", line=3, k=20).structure["hits"]
    scores = [hit["score"] for hit in hits]
    assert hits[0]["path"] in ("docs/old/bread.md", "docs/hostile.txt") and scores[0] > 0.3
    assert scores == sorted(scores, reverse=True)
    least = (scores[0] + scores[1]) / 2
    assert len(call("find_related", path="docs/bread.md", k=20, min_score=least).paths) == 1


def test_copies_of_the_place_are_named(call):
    assert "The same text: docs/copy of code.py:" in call("find_related", path="src/vault.py:4").text


def test_no_query_is_encoded(call, monkeypatch):
    encode, sides = unbraid.Embedder.encode, []

    def noted(self, items, **options):
        sides.append(options.get("side"))
        return encode(self, items, **options)

    monkeypatch.setattr(unbraid.Embedder, "encode", noted)
    assert call("find_related", path="docs/bread.md", line=3, k=2).paths
    assert "query" not in sides
    assert call("search", query="bread") and "query" in sides


def test_it_keeps_to_the_filters(call):
    found = call("find_related", path="docs/bread.md", line=3, paths=["old", "*.txt"], languages=["markdown"])
    assert found.paths == ["docs/old/bread.md"]


def test_a_picture_needs_no_line(call):
    found = call("find_related", path="red.png", k=3)
    assert len(found.paths) == 3 and "docs/red.png" not in found.paths


@pytest.mark.parametrize("k", [1, 2, 5])
def test_there_are_as_many_hits_as_asked_for(call, k):
    assert len(call("find_related", path="long.txt", line=1, k=k).paths) == k


@pytest.mark.parametrize("line", [1, 4, 10**6])
def test_a_line_without_a_chunk_stands_for_the_nearest_one(call, line):
    assert "Related to docs/bread.md:" in call("find_related", path="docs/bread.md", line=line).text


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("bread.md", "2 files are called 'bread.md': give one of docs/bread.md, docs/old/bread.md"),
        ("lib/tables.py", "it holds src/tables.py"),
        ("/etc/passwd", "the index holds no file '/etc/passwd'"),
        ("", "the index holds no file ''"),
    ],
)
def test_a_file_that_is_not_clear_is_refused(call, path, message):
    answer = call("find_related", path=path)
    assert answer.is_error and message in answer.text
