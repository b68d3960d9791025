"""The starter bundle that ships in the package: small enough, complete, and what it was when it was made."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import unbraid
from unbraid.bundle import STARTER

PICTURES = Path(__file__).parent.parent / "examples" / "pictures"


@pytest.fixture(scope="module")
def starter() -> unbraid.Embedder:
    return unbraid.load(threads=1)


def test_it_weighs_at_most_90_mb():
    assert sum(path.stat().st_size for path in STARTER.iterdir()) <= 90e6


def test_it_has_three_modalities_four_tasks_and_three_modes(starter):
    assert starter.modalities == ("text", "code", "image")
    assert set(starter.tasks) == {"query", "document", "symmetric", "code"}
    assert set(starter.search_modes) == {"retrieval", "symmetric", "code"}


def test_no_source_of_its_weights_is_for_research_only(starter):
    assert not [name for name in starter.bundle.licences if "py_docstrings" in name]


def test_its_card_has_every_table_with_its_command(starter):
    card = (STARTER / "README.md").read_text(encoding="utf-8")
    tables = starter.bundle.scores["tables"]
    assert all(f"{text}\n\n`{command}`" in card for command, text in tables.items())
    # Other languages, pictures, speed and the second look: a version after 0.3.1 had lost those that it did not measure anew.
    for part in ("stsb.de", "afriqa.swa", "photographs by alt", "items/s", "A second look"):
        assert any(part in text for text in tables.values()), part


def test_its_card_states_scores_limits_and_licences():
    card = (STARTER / "README.md").read_text(encoding="utf-8")
    for part in (
        "## Scores",
        "all-MiniLM-L6-v2",
        "## Limits",
        "CC BY-SA 4.0",
        "PSF-2.0",
        "Apache-2.0",
    ):
        assert part in card


def test_its_parity_report_is_within_the_limits():
    for row in json.loads((STARTER / "parity.json").read_text()):
        if ".int8." in row["graph"] or row["graph"].startswith("image"):  # rounded to int8, to float16
            assert row["mean_cosine"] >= 0.99
        else:
            assert row["largest_difference"] <= 1e-4


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        (
            "how do plants make food?",
            "Photosynthesis turns light into sugar.",
            "The court struck down the law.",
        ),
        (
            "who rules a monarchy",
            "A king or queen is the head of state.",
            "Whales are mammals that live in the sea.",
        ),
        (
            "capital of France",
            "Paris has been the seat of government for centuries.",
            "Yeast makes bread rise.",
        ),
    ],
)
def test_a_question_is_nearer_to_its_answer(starter, query, right, wrong):
    (q,) = starter.encode([query], task="query")
    documents = starter.encode([right, wrong], task="document")
    assert documents[0] @ q > documents[1] @ q + 0.05


def test_a_description_is_nearest_to_its_code(starter):
    code = [
        unbraid.Code("def total(prices):\n    return sum(prices)"),
        unbraid.Code("def read_json(path):\n    with open(path) as f:\n        return json.load(f)"),
        unbraid.Code("def is_palindrome(text):\n    return text == text[::-1]"),
    ]
    queries = ["add up all prices", "load a json file", "check whether a string reads the same backwards"]
    scores = starter.encode(queries, task="code") @ starter.encode(code, task="code").T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_paraphrases_are_nearer_than_unrelated_sentences(starter):
    a, b, c = starter.encode(
        ["A man is playing a guitar.", "Someone plays the guitar.", "The stock market fell on Monday."],
        task="symmetric",
    )
    assert a @ b > a @ c + 0.3


def test_words_find_drawings_better_than_chance(starter):
    files = sorted(PICTURES.glob("*.png"))
    queries = [path.stem.replace("-", " ") for path in files]
    scores = starter.encode(queries, task="query") @ starter.encode(files, task="document").T
    rank = (scores > scores.diagonal()[:, None]).sum(axis=1)
    assert (rank < 3).mean() >= 0.5  # by chance 3 of 14


def test_a_text_has_the_same_int8_vector_alone_and_among_others(starter):
    text = "The quick brown fox jumps over the lazy dog."
    (alone,) = starter.encode([text])
    among = starter.encode([text, "a", "An entirely different and much longer sentence about tax law."])[0]
    assert np.array_equal(alone, among)


def test_its_nano_tier_lies_in_the_same_space(starter):
    nano = unbraid.load(tier="nano")
    texts = [
        "How do plants make food from light?",
        "Rain falls from clouds.",
        "def area(r): return 3.14 * r * r",
    ]
    assert (nano.encode(texts) @ starter.encode(texts).T).argmax(axis=1).tolist() == [0, 1, 2]


def test_the_mappers_differ_and_fold(starter):
    base = starter.encode(["a query", "another"])
    for task in starter.tasks:
        mapped = base @ starter.matrix(task).T
        expected = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
        np.testing.assert_allclose(starter.map(base, task), expected, atol=1e-5)


def test_import_load_and_first_query_need_no_torch():
    probe = (
        "import sys, unbraid; unbraid.load().encode(['a'], task='query');"
        "print([m for m in ('torch', 'transformers', 'fastapi', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.strip() == "[]"
