"""Multi-vectors by the embedder: what they are, what is refused."""

import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.errors import ItemError

TEXTS = ["the cat in the red house", "", "...", "a dog"]


def test_each_text_and_code_has_a_unit_vector_for_each_word(embedder):
    found = embedder.encode([*TEXTS, unbraid.Code("def return_self(model): return model")], multi_vector=True)
    assert [one.shape[1] for one in found] == [8] * 5
    assert len(found[1]) == 0
    assert len(found[0]) == 3  # cat, red, house
    assert all(np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5) for one in found)


def test_a_budget_is_kept(embedder):
    whole, few = (embedder.encode(TEXTS, multi_vector=True, vectors=most) for most in (None, 2))
    assert [len(one) for one in few] == [min(len(one), 2) for one in whole]


def test_a_pickled_embedder_gives_the_same(embedder):
    import pickle

    again = pickle.loads(pickle.dumps(embedder))
    assert (again.encode(TEXTS, multi_vector=True)[0] == embedder.encode(TEXTS, multi_vector=True)[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "query"}, "leave task, dim, numbers out"),
        ({"dim": 64}, "leave task, dim, numbers out"),
        ({"numbers": "int8"}, "leave task, dim, numbers out"),
        ({"vectors": 0}, "expected how many"),
        ({"vectors": 2.5}, "expected how many"),
        ({"vectors": True}, "expected how many"),
        ({"on_truncate": "foo"}, "on_truncate is 'foo'"),
    ],
)
def test_options_that_mean_nothing_are_refused(embedder, options, message):
    with pytest.raises(ItemError, match=message):
        embedder.encode(TEXTS, multi_vector=True, **options)


def test_items_without_multi_vectors_are_named(embedder, tiers_folder):
    with pytest.raises(ItemError, match="item 1: pictures"):
        embedder.encode(["a", Image.new("RGB", (8, 8))], multi_vector=True)
    with pytest.raises(ItemError, match="item 1: a Mix"):
        embedder.encode(["a", unbraid.Mix(["a", "b"])], multi_vector=True)
    with pytest.raises(ItemError, match="needs multi_vector=True"):
        embedder.encode(["a"], vectors=3)
    foreign = "das ist ein langer deutscher Satz über den Mond und den Fluss"
    with pytest.raises(ItemError, match="item 1: tier multi of .* has no multi-vectors: choose tier small"):
        unbraid.load(tiers_folder).encode(["the cat in the red house", foreign], multi_vector=True)
