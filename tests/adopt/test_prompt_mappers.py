"""Prompts as mappers, and the tier that keeps two passes."""

import numpy as np
import pytest

import unbraid
from unbraid.adopt import adopt
from unbraid.adopt.prompt_mappers import fit_prompt, nearest_kept, what_is_kept
from unbraid.errors import AdoptError
from unbraid.vectors import normalize

DIM = 8


def vectors(count, seed=0):
    return normalize(np.random.default_rng(seed).standard_normal((count, DIM)))


def test_a_prompt_that_turns_every_vector_is_learned():
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((DIM, DIM)))[0].astype(np.float32)
    base = vectors(400)
    found = fit_prompt(base, base @ turn.T)
    np.testing.assert_allclose(found.matrix, turn, atol=0.02)
    assert found.cosine > 0.999 and found.agreement > 0.95 and found.without < 0.5


def test_a_prompt_that_changes_nothing_gives_the_identity():
    base = vectors(200)
    found = fit_prompt(base, base)
    np.testing.assert_allclose(found.matrix, np.eye(DIM), atol=1e-4)
    assert found.agreement == found.without == 1


def test_what_cannot_be_learned_is_said_on_texts_that_were_not_fitted():
    found = fit_prompt(vectors(100), vectors(100, seed=5))
    assert found.cosine < 0.4 and found.agreement < 0.5
    (line,) = what_is_kept({"query": found})
    assert (
        line.startswith("query: its prompt is computed from base vectors, which keeps")
        and f"{found.cosine:.4f}" in line
    )


def test_the_nearest_that_are_kept_are_counted_by_hand():
    documents = np.eye(24, DIM, dtype=np.float32)
    documents[DIM:, 0] = np.linspace(0.1, 0.9, 24 - DIM)
    one = np.eye(1, DIM, dtype=np.float32)
    assert nearest_kept(one, one, documents) == 1
    assert nearest_kept(one, -one, documents) < 0.5


PROMPTS = {"query": "the cat of ", "document": "read: ", "sts": "the cat of "}
TEXTS = ["write a file", "the house", "a river of stone"]


@pytest.fixture(scope="module")
def prompted(bert, tmp_path_factory):
    """The folder of a model with three prompts, of which two are the same."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    modules = [
        Transformer(str(bert), model_kwargs={"attn_implementation": "eager"}),
        Pooling(64, "mean"),
        Normalize(),
    ]
    folder = tmp_path_factory.mktemp("prompted") / "model"
    SentenceTransformer(modules=modules, device="cpu", prompts=PROMPTS).save(str(folder))
    return folder


@pytest.fixture(scope="module")
def mapped(prompted, tmp_path_factory):
    """What was adopted, and its embedder."""
    out = tmp_path_factory.mktemp("mapped") / "bundle"
    return adopt(prompted, out), unbraid.load(out, precision="fp32")


@pytest.fixture(scope="module")
def exact(prompted, tmp_path_factory):
    """The embedder of the bundle with exact prompts."""
    out = tmp_path_factory.mktemp("exact") / "bundle"
    adopt(prompted, out, exact_prompts=True)
    return unbraid.load(out, precision="fp32")


def original(folder, name):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(TEXTS, prompt_name=name, normalize_embeddings=True)


def test_documents_keep_their_prompt_and_the_others_become_mappers(prompted, mapped):
    made, model = mapped
    np.testing.assert_allclose(
        model.encode(TEXTS, task="document"), original(prompted, "document"), atol=1e-4
    )
    kinds = {task: spec.kind for task, spec in model.bundle.mappers.items()}
    assert kinds == {"query": "linear", "document": "identity", "symmetric": "linear", "code": "identity"}
    np.testing.assert_array_equal(model.matrix("query"), model.matrix("symmetric"))
    queries, wanted = model.encode(TEXTS, task="query"), original(prompted, "query")
    before = (model.encode(TEXTS) * wanted).sum(axis=1).mean()
    assert (queries * wanted).sum(axis=1).mean() > before
    assert [note for note in made.notes if note.startswith("query: its prompt is computed")]
    assert model.query_tier == "small"


def test_exact_prompts_keep_two_passes_through_one_graph(prompted, exact):
    queries = original(prompted, "query")
    np.testing.assert_allclose(exact.encode(TEXTS, task="query"), queries, atol=1e-4)
    np.testing.assert_allclose(exact.encode(TEXTS, side="query"), queries, atol=1e-4)
    np.testing.assert_allclose(
        exact.encode(TEXTS, task="document"), original(prompted, "document"), atol=1e-4
    )
    small, query = exact.bundle.tiers["small"]["text"], exact.bundle.tiers["query"]["text"]
    assert small.graphs == query.graphs and small.id != query.id
    kinds = {task: spec.kind for task, spec in exact.bundle.mappers.items()}
    assert kinds == {"query": "identity", "document": "identity", "symmetric": "linear", "code": "identity"}


def test_exact_prompts_share_the_base_with_approximated_ones(mapped, exact):
    assert mapped[1].base_id == exact.base_id


def test_a_text_is_nearest_to_itself_in_mode_symmetric(exact, tmp_path):
    for number, text in enumerate([*TEXTS, "the cat of the house"]):
        (tmp_path / f"{number}.txt").write_text(text)
    with unbraid.open_index(tmp_path / "index", model=exact) as index:
        index.add([tmp_path])
        best = index.search(TEXTS[1], mode="symmetric", vectors_only=True)[0]
    assert best.path.endswith("1.txt") and best.cosine == pytest.approx(1, abs=1e-3)


def test_exact_prompts_of_a_model_without_prompts_are_refused(published, tmp_path):
    with pytest.raises(
        AdoptError, match=r"--exact-prompts: queries of .* have no prompt of their own: leave it out"
    ):
        adopt(published, tmp_path / "bundle", exact_prompts=True)
    assert not (tmp_path / "bundle").exists()
