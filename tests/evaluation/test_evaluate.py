import json
import math
import subprocess
import sys
import zlib
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from unbraid.evaluation import Retrieval, Row, Sts, evaluate, table, to_json
from unbraid.evaluation import evaluate as evaluate_function
from unbraid.evaluation.metrics import Score


class FakeModel:
    """Counts words into 512 buckets; the query and document mappers swap the halves, symmetric changes nothing."""

    name = "fake"
    search_modes = MappingProxyType(
        {"retrieval": ("query", "document"), "symmetric": ("symmetric", "symmetric"), "bad": ("query", "x")}
    )

    def __init__(self):
        self.encoded = []
        self.mapped = []

    def encode(self, items, *, progress=None, side=None):
        if len(items) > 1:
            self.encoded.append(list(items))
        vectors = np.full((len(items), 512), 1e-6, np.float32)
        for vector, item in zip(vectors, items, strict=True):
            for word in (item.stem if isinstance(item, Path) else item).lower().split():
                vector[zlib.crc32(word.encode()) % 512] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def map(self, base, task):
        self.mapped.append(task)
        return np.roll(base, {"query": 256, "document": 256, "symmetric": 0, "x": 7}[task], axis=1)


class FakeMiniLM:
    name = "all-MiniLM-L6-v2"
    encode = FakeModel().encode


@pytest.fixture
def model(monkeypatch):
    module = sys.modules[evaluate_function.__module__]
    monkeypatch.setattr(module, "minilm", lambda: FakeMiniLM)
    return FakeModel()


TEXTS = {"d0": "bees make honey", "d1": "mars is a red planet", "d2": "bread needs flour and water"}
BEES = Retrieval(
    "bees",
    {"q0": "honey bees", "q1": "red planet"},
    TEXTS,
    {"q0": {"d0": 1}, "q1": {"d1": 1}},
    mode="retrieval",
)


def test_text_set_has_five_systems_and_all_find_the_obvious(model):
    rows = evaluate(model, BEES)
    assert [(row.system, row.mode) for row in rows] == [
        ("fake", "retrieval"),
        ("fake, no mapper", None),
        ("BM25", None),
        ("all-MiniLM-L6-v2", None),
        ("fake + BM25", "retrieval"),
    ]
    for row in rows:
        assert (row.dataset, row.kind, row.n_queries, row.n_documents) == ("bees", "text", 2, 3)
        assert set(row.scores) == {"nDCG@10", "Recall@10", "MRR@10"}
        assert row.scores["nDCG@10"].value == 1
    assert [row.items_per_s is not None for row in rows] == [True, False, True, True, False]


def test_each_mode_is_asked_by_queries_of_its_side(model, monkeypatch):
    def encode(items, *, progress=None, side=None):
        vectors = FakeModel.encode(model, items)
        return np.roll(vectors, 5, axis=1) if side == "query" else vectors

    monkeypatch.setattr(model, "encode", encode)
    rows = evaluate(model, BEES, mode="retrieval", every_mode=True, baselines=False)
    asked = {row.mode: row.scores["nDCG@10"].value for row in rows}
    assert asked["symmetric"] > asked["retrieval"]
    (alone, _) = evaluate(model, BEES, mode="symmetric", baselines=False)
    assert alone.scores["nDCG@10"].value == asked["symmetric"]


def test_every_item_is_encoded_once_and_mapped_for_its_side(model):
    evaluate(
        model,
        Retrieval("twice", {"q0": "honey"}, {**TEXTS, "d3": "honey"}, {"q0": {"d3": 1}}),
        baselines=False,
    )
    assert [sorted(items) for items in model.encoded] == [sorted(["honey", *TEXTS.values()])]
    assert model.mapped == ["query", "document"]


def test_mode_of_the_caller_wins_and_an_unknown_one_is_refused(model):
    assert evaluate(model, BEES, mode="symmetric", baselines=False)[0].mode == "symmetric"
    assert evaluate(model, BEES, mode="bad", baselines=False)[0].scores["nDCG@10"].value < 1
    with pytest.raises(ValueError, match="fake has no search mode 'colour', only bad, retrieval, symmetric"):
        evaluate(model, BEES, mode="colour")


def test_every_mode_follows_the_sets_own_and_the_vectors_are_encoded_once_a_side(model):
    rows = evaluate(model, BEES, every_mode=True, baselines=False)
    assert [row.mode for row in rows] == ["retrieval", "symmetric", "bad", None]
    assert rows[2].scores["nDCG@10"].value < rows[0].scores["nDCG@10"].value == 1
    assert [len(one) for one in model.encoded] == [2, 3, 2]  # queries, documents, queries of symmetric
    sts = Sts("pairs", ["a b", "c d", "e f"], ["a c", "c d", "x y"], [0.5, 1.0, 0.0])
    rows = evaluate(model, sts, every_mode=True, baselines=False)
    assert [row.mode for row in rows] == ["symmetric", "retrieval", "bad", None]


def test_a_query_that_is_a_document_does_not_find_itself(model):
    documents = {"q0": "honey bees", **TEXTS}
    qrels = {"q0": {"d0": 1}}
    both = [Retrieval("s", {"q0": "honey bees"}, documents, qrels, ignored=i) for i in ({}, {"q0": "q0"})]
    assert [evaluate(model, s, baselines=False)[0].scores["MRR@10"].value for s in both] == [0.5, 1.0]


def test_image_set_is_shown_beside_random_features_and_chance(model, tmp_path):
    pictures = {"d0": tmp_path / "red square.png", "d1": tmp_path / "blue circle.png"}
    for path, colour in zip(pictures.values(), ("red", "blue"), strict=True):
        Image.new("RGB", (20, 20), colour).save(path)
    dataset = Retrieval(
        "shapes", {"q0": "red square"}, pictures, {"q0": {"d0": 1}}, document_modality="image"
    )
    rows = evaluate(model, dataset)
    assert [(row.system, row.kind) for row in rows] == [
        ("fake", "image"),
        ("fake, no mapper", "image"),
        ("random features", "image"),
        ("chance", "image"),
    ]
    assert rows[0].scores["MRR@10"].value == 1
    assert "MRR@10" not in rows[3].scores


def test_sts_set_is_searched_symmetrically(model):
    sts = Sts("s", ["a b c", "a b c", "a b c"], ["a b c", "a b d", "d e f"], [1.0, 0.6, 0.0])
    rows = evaluate(model, sts)
    assert [(row.system, row.mode) for row in rows] == [
        ("fake", "symmetric"),
        ("fake, no mapper", None),
        ("all-MiniLM-L6-v2", None),
    ]
    assert all(row.scores["Spearman"].value == pytest.approx(1) for row in rows)
    assert model.encoded == [["a b c", "a b d", "d e f"]]


def test_limit_samples_the_queries(model):
    row = evaluate(model, BEES, limit=1, baselines=False)[0]
    assert (row.n_queries, row.n_documents) == (1, 3)


ROWS = [
    Row("bees", "text", "fake", "retrieval", 1200, 30000, {"nDCG@10": Score(0.5, 0.25, 0.75)}, 1234.5),
    Row("stsb", "sts", "chance", None, 2, 2, {"Spearman": Score(math.nan, math.nan, math.nan)}),
]


def test_table_is_aligned_and_leaves_out_absent_metrics():
    lines = table(ROWS).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "bees", "fake", "retrieval", "0.500 (0.250–0.750)", "", "1,200", "30,000", "1,234",
    ]  # fmt: skip
    assert "MRR" not in lines[0]
    assert table([]).count("\n") == 1


def test_json_is_one_object_a_line_with_null_for_nan():
    first, second = (json.loads(line) for line in to_json(ROWS).splitlines())
    assert first["scores"]["nDCG@10"] == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert second["scores"]["Spearman"]["value"] is None
    assert second["items_per_s"] is None


def test_import_loads_no_heavy_library():
    heavy = "{'torch', 'transformers', 'sentence_transformers', 'scipy', 'bm25s', 'ir_measures'}"
    code = f"import sys, unbraid.evaluation; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
