"""The tool search: what is found, filtered, cut and refused."""

import pytest


def test_the_best_hit_comes_with_its_place_score_and_text(call, files):
    found = call("search", query="how often are keys rotated")
    first = found.structure["hits"][0]
    assert found.structure["folder"] == files.as_posix()
    assert first["path"] == "docs/keys.md"
    assert 0 < first["score"] <= 1 and first["first_line"] <= 9 <= first["last_line"]
    assert "every ninety days" in first["text"]
    assert "\n1. docs/keys.md:" in found.text and "\n| Keys are rotated every ninety days" in found.text


def test_headings_around_a_hit_are_named(call):
    (only,) = call("search", query='"Nobody is blamed"').structure["hits"]
    assert (only["within"], only["first_line"]) == ("Keys", 18)


def test_code_finds_code(call):
    found = call("search", query="def parse_csv(name): ...", query_is_code=True, mode="code", k=2)
    assert "src/tables.py" in found.paths


def test_a_phrase_in_quotes_stands_in_every_hit(call):
    assert set(call("search", query='"more salt"').paths) == {"docs/old/bread.md"}


def test_copies_are_one_hit_that_names_them(call):
    found = call("search", query="rotate_keys vault")
    first = found.structure["hits"][0]
    names = {first["path"], *(place.rpartition(":")[0] for place in first["copies"])}
    assert names == {"src/vault.py", "docs/copy of code.py"}
    assert "\nsame text: " in found.text


@pytest.mark.parametrize(
    ("filters", "paths"),
    [
        ({"paths": ["src"]}, {"src/vault.py", "src/tables.py"}),
        ({"paths": ["src/"]}, {"src/vault.py", "src/tables.py"}),
        ({"paths": ["./src/tables.py"]}, {"src/tables.py"}),
        ({"paths": ["old"]}, {"docs/old/bread.md"}),
        ({"paths": ["*.py"], "languages": ["markdown"]}, set()),
        ({"paths": ["docs/*.py", "tables.py"]}, {"docs/copy of code.py", "src/tables.py"}),
        ({"languages": ["html", "markdown"], "where": ["team=security"]}, {"docs/keys.md"}),
        ({"where": ["year>=2026"]}, {"docs/keys.md"}),
        ({"modality": "image"}, {"docs/red.png"}),
    ],
)
def test_filters_keep_to_what_they_say(call, filters, paths):
    assert set(call("search", query="the keys", k=50, min_score=0, **filters).paths) == paths


def test_a_path_is_found_wherever_the_server_was_started(call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert call("search", query="csv", paths=["src/tables.py"], min_score=0).paths == ["src/tables.py"]


def test_an_absolute_folder_is_a_filter_too(call, files):
    assert call("search", query="bread", paths=[f"{files}/docs/old"], min_score=0).paths == [
        "docs/old/bread.md"
    ]


def test_where_nothing_is_relevant_there_are_no_hits_and_a_way_to_see_what_is_near(call):
    found = call("search", query="zygote chromosomes mitosis", modality="image")
    assert found.structure["hits"] == [] and "min_score=0" in found.text
    assert call("search", query="zygote chromosomes mitosis", modality="image", min_score=0).paths == [
        "docs/red.png"
    ]


def test_where_filters_leave_nothing_the_answer_says_so(call):
    assert "passes the filters" in call("search", query="bread", paths=["nowhere"]).text


def test_a_least_score_leaves_out_what_is_below_it(call):
    scores = [
        hit["score"] for hit in call("search", query="rotate keys", min_score=0, k=20).structure["hits"]
    ]
    least = (scores[0] + scores[1]) / 2
    assert len(call("search", query="rotate keys", min_score=least, k=20).paths) == 1
    assert f"score of {1.0}" in call("search", query="rotate keys", min_score=1.0).text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": "  "}, "the query is blank"),
        ({"query": "x", "mode": "semantic"}, "choose one of retrieval, symmetric, code"),
        ({"query": "x", "languages": ["pyton"]}, "did you mean python?"),
        ({"query": "x", "modality": "video"}, "choose one of text, code, image"),
        (
            {"query": "x", "where": ["colour=red"]},
            "no file of the index has a field colour; it has team, year",
        ),
        ({"query": "x", "paths": [" "]}, "a path is blank"),
        ({"query": "x", "language": "python"}, "language: no such argument: choose from query, mode"),
        ({"query": "x", "k": 51}, "k: Input should be less than or equal to 50"),
        ({"query": "x", "max_tokens": 20}, "max_tokens: Input should be greater than or equal to 200"),
        ({}, "query: Field required"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, arguments, message):
    answer = call("search", **arguments)
    assert answer.is_error and message in answer.text
    assert "\n" not in answer.text and "pydantic" not in answer.text
