"""A bundle runs in mteb unchanged: its tasks are chosen by what mteb asks for."""

import numpy as np
import pytest
from PIL import Image

from unbraid import Code, Mix
from unbraid.errors import BundleError, ItemError

mteb = pytest.importorskip("mteb")

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.types import PromptType

from unbraid.embedder import Embedder
from unbraid.integrations.mteb import BundleEncoder, get_model, rows_of, task_of

TEXTS = {"d1": "the cat is in the house", "d2": "a red river", "d3": "green moon and dog"}
CODES = {"c1": "def searchVector(self): return catHouse", "c2": "def redRiver(): return moon"}
COLOURS = {"p1": "red", "p2": "green", "p3": "blue"}


def about(kind, category="t2t", modalities=("text",), languages=("eng-Latn",)):
    return TaskMetadata(
        name="Tiny",
        dataset={"path": "nowhere/tiny", "revision": "1"},
        description="Made by the test.",
        type=kind,
        category=category,
        modalities=list(modalities),
        eval_splits=["test"],
        eval_langs=list(languages),
        main_score="ndcg_at_10" if kind != "STS" else "cosine_spearman",
        task_subtypes=[],
    )


def retrieval(metadata_, queries, documents, answers):
    class Tiny(AbsTaskRetrieval):
        metadata = metadata_

        def load_data(self, **_):
            split = {
                "queries": Dataset.from_list(queries),
                "corpus": Dataset.from_list(documents),
                "relevant_docs": {query: {document: 1} for query, document in answers.items()},
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Tiny()


@pytest.fixture(scope="module")
def asked(tiny):
    """The tiny bundle as a model, and what it was asked to encode: (items, task, side)."""
    model = get_model(tiny.bundle)
    calls = []
    inner = model.model.encode

    def encode(items, **options):
        calls.append((list(items), options.get("task"), options.get("side")))
        return inner(items, **options)

    model.model.encode = encode
    return model, calls


@pytest.fixture
def run(asked):
    """`run(task)`: its scores, and what was encoded for it."""
    model, calls = asked

    def evaluate(task):
        calls.clear()
        result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
        return result.task_results[0].scores["test"][0], list(calls)

    return evaluate


def test_retrieval_takes_the_tasks_query_and_document(run):
    task = retrieval(
        about("Retrieval"),
        [{"id": f"q-{key}", "text": text} for key, text in TEXTS.items()],
        [{"id": key, "text": text, "title": ""} for key, text in TEXTS.items()],
        {f"q-{key}": key for key in TEXTS},
    )
    scores, calls = run(task)
    assert {call[1:] for call in calls} == {("query", "query"), ("document", "document")}
    assert scores["ndcg_at_10"] == 1  # the same texts


def test_code_is_searched_with_the_task_code(run):
    task = retrieval(
        about("Retrieval", languages=("eng-Latn", "python-Code")),
        [{"id": "q1", "text": "search vector in cat house"}, {"id": "q2", "text": "red river moon"}],
        [{"id": key, "text": text, "title": ""} for key, text in CODES.items()],
        {"q1": "c1", "q2": "c2"},
    )
    _, calls = run(task)
    assert {task for _, task, _ in calls} == {"code"}
    kinds = {side: {type(item) for item in items} for items, _, side in calls}
    assert kinds == {"query": {str}, "document": {Code}}


def test_texts_search_pictures(run):
    pictures = [{"id": key, "image": Image.new("RGB", (40, 40), colour)} for key, colour in COLOURS.items()]
    task = retrieval(
        about("DocumentUnderstanding", "t2i", ("text", "image")),
        [{"id": f"q-{key}", "text": colour} for key, colour in COLOURS.items()],
        pictures,
        {f"q-{key}": key for key in COLOURS},
    )
    scores, calls = run(task)
    assert 0 <= scores["ndcg_at_10"] <= 1
    assert all(
        isinstance(item, Image.Image) for items, _, side in calls if side == "document" for item in items
    )


def test_sts_is_symmetric_and_its_score_is_that_of_the_vectors(run, tiny):
    pairs = [
        ("a red house", "the red house"),
        ("cat", "the river of green"),
        ("moon", "bright moon"),
        ("a", "z"),
    ]

    class Tiny(AbsTaskSTS):
        metadata = about("STS")

        def load_data(self, **_):
            a, b = zip(*pairs, strict=True)
            rows = {"sentence1": list(a), "sentence2": list(b), "score": [4.0, 0.0, 5.0, 1.0]}
            self.dataset = {"test": Dataset.from_dict(rows)}
            self.data_loaded = True

    scores, calls = run(Tiny())
    assert {call[1:] for call in calls} == {("symmetric", None)}
    from scipy.stats import spearmanr

    plain = BundleEncoder(_embedder(tiny)).model
    left, right = (plain.encode(list(side), task="symmetric") for side in zip(*pairs, strict=True))
    expected = spearmanr((left * right).sum(1), [4.0, 0.0, 5.0, 1.0]).statistic
    assert scores["cosine_spearman"] == pytest.approx(expected)


def _embedder(tiny):
    from unbraid.bundle import read_bundle

    return Embedder(read_bundle(tiny.bundle))


def test_what_mteb_writes_of_the_model(tiny):
    model = get_model(tiny.bundle, tier="nano", dim=64)
    meta = model.mteb_model_meta
    assert (meta.name, meta.revision) == ("unbraid/starter", model.model.bundle.id)
    assert (meta.embed_dim, meta.max_tokens) == (64, model.model.max_tokens)
    assert meta.modalities == ["text", "image"]
    assert meta.experiment_kwargs == {"tier": "nano", "dim": 64}
    with pytest.raises(ItemError, match="dim 65"):
        get_model(tiny.bundle, dim=65)
    with pytest.raises(BundleError, match="no tier 'huge'"):
        get_model(tiny.bundle, tier="huge")


@pytest.mark.parametrize(
    ("kind", "languages", "prompt", "task"),
    [
        ("Retrieval", ["eng-Latn"], PromptType.query, "query"),
        ("Reranking", ["deu-Latn"], PromptType.document, "document"),
        ("Clustering", ["eng-Latn"], None, "symmetric"),
        ("Classification", ["eng-Latn"], None, "symmetric"),
        ("Retrieval", ["python-Code", "go-Code"], PromptType.document, "code"),
        ("Retrieval", ["eng-Latn", "sql-Code"], PromptType.query, "code"),
    ],
)
def test_the_task_follows_from_what_is_asked(kind, languages, prompt, task):
    assert task_of(about(kind, languages=languages), prompt) == task


def test_a_row_with_words_and_a_picture_is_one_item():
    picture = Image.new("RGB", (4, 4))
    assert rows_of({"text": ["a", ""], "image": [picture, picture]}, as_code=False) == [
        Mix(["a", picture]),
        picture,
    ]
    assert rows_of({"image": [picture]}, as_code=False) == [picture]
    with pytest.raises(ItemError, match="mteb with audio"):
        rows_of({"audio": [object()]}, as_code=False)


def test_a_task_that_a_bundle_does_not_have_takes_base_vectors(tiny):
    model = BundleEncoder(_embedder(tiny))
    few = {"query": model.model.bundle.mappers["query"], "document": model.model.bundle.mappers["document"]}
    object.__setattr__(model.model.bundle, "mappers", few)
    found = model.encode(
        [{"text": ["a cat"]}], task_metadata=about("STS"), hf_split="test", hf_subset="default"
    )
    assert np.array_equal(found, model.model.encode(["a cat"]))
