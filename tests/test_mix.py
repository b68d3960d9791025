"""Several items as one query."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

import unbraid
from unbraid import Code, ItemError, Mix
from unbraid.mix import NOT, WORDS, check_weights, mix_vectors, shared_weights, words_of
from unbraid.vectors import normalize

RED, BLUE = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
NEAR = 1e-5  # float32

weights_of = st.lists(st.floats(-4, 4).filter(lambda one: abs(one) > 1e-3), min_size=1, max_size=5)


def vectors(count, dim=16, seed=0):
    return normalize(np.random.default_rng(seed).normal(size=(count, dim)))


def mixed(weights):
    """A mix of that many vectors, unless they cancel out or none is wanted."""
    assume(max(weights) > 0)
    return mix_vectors(vectors(len(weights)), weights)


# -- the algebra -----------------------------------------------------------------------------------------


def test_the_vector_is_the_weighted_sum_at_unit_length():
    base = np.eye(3, dtype=np.float32)
    assert mix_vectors(base, [2, 0, -1]) == pytest.approx(np.array([2, 0, -1]) / math.sqrt(5), abs=NEAR)
    assert mix_vectors(base, [2, 0, -1]).dtype == np.float32


@given(st.floats(1e-300, 1e300))
def test_one_part_is_that_part(weight):
    base = vectors(1)
    assert mix_vectors(base, [weight]) == pytest.approx(base[0], abs=NEAR)


@given(weights_of, st.randoms())
def test_the_order_of_parts_does_not_matter(weights, random):
    order = list(range(len(weights)))
    random.shuffle(order)
    turned = (
        mix_vectors(vectors(len(weights))[order], [weights[row] for row in order])
        if max(weights) > 0
        else None
    )
    assert turned is None or turned == pytest.approx(mixed(weights), abs=NEAR)


@given(weights_of, st.floats(1e-200, 1e200))
def test_only_the_ratios_of_weights_matter(weights, factor):
    scaled = [factor * weight for weight in weights]
    assert mixed(weights) == pytest.approx(mix_vectors(vectors(len(weights)), scaled), abs=NEAR)


@given(weights_of)
def test_a_mix_has_unit_length_and_a_part_of_weight_0_is_nothing(weights):
    found = mixed(weights)
    assert np.linalg.norm(found) == pytest.approx(1, abs=NEAR)
    assert mix_vectors(vectors(len(weights) + 1), [*weights, 0]) == pytest.approx(found, abs=NEAR)


@given(weights_of)
def test_the_same_part_twice_counts_twice(weights):
    base = vectors(len(weights))
    twice = (
        mix_vectors(np.vstack([base, base[:1]]), [weights[0] / 2, *weights[1:], weights[0] / 2])
        if max(weights) > 0
        else None
    )
    assert twice is None or twice == pytest.approx(mixed(weights), abs=NEAR)


@pytest.mark.parametrize("scale", [1e-300, 1, 1e300])
def test_parts_that_cancel_out_are_an_error_at_any_scale(scale):
    base = vectors(2)[[0, 0, 1]]
    with pytest.raises(ItemError, match="the parts cancel out: .* length of 0.0000"):
        mix_vectors(base, [scale, -scale, 0])
    mix_vectors(base, [scale, -scale, scale])


# -- weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1.0], "2 parts have 1 weights"),
        ([], "2 parts have 0 weights"),
        ([1, math.nan], "weight 1 is nan: expected a finite number"),
        ([-math.inf, 1], "weight 0 is -inf"),
        ([10**400, 1], "weight 0 is 1000"),
        ([1, "2"], "weight 1 is '2'"),
        ([1, True], "weight 1 is True"),
        ([1, None], "weight 1 is None"),
        ([1, 1j], "weight 1 is 1j"),
        ("12", "weight 0 is '1'"),
        (0.7, "Mix takes a list of weights, got float"),
        ([0, 0], "no weight of 0, 0 is positive: say what you look for too"),
        ([-1, 0.0], "no weight of -1, 0 is positive"),
    ],
)
def test_weights_that_mean_nothing_are_refused_with_their_position(weights, says):
    with pytest.raises(ItemError, match=says):
        Mix(["a", "b"], weights)
    with pytest.raises(ItemError, match=says):
        mix_vectors(vectors(2), weights)


@pytest.mark.parametrize("weights", [np.array([1, 2]), np.float32([1, 2]), (1, 2.0), iter([1, 2])])
def test_weights_are_numbers_of_any_kind(weights):
    assert Mix(["a", "b"], weights).weights == (1.0, 2.0)


def test_no_parts_are_no_weights():
    with pytest.raises(ItemError, match="at least one part"):
        check_weights([], 0)


def test_parts_of_one_sort_weigh_the_same_and_words_have_their_share_beside_pictures():
    assert Mix(["a", "b"]).weights == (0.5, 0.5)
    assert Mix([RED, Path("b.png")]).weights == (0.5, 0.5)
    assert Mix([RED, Path("b.png"), "a", Code("b")]).weights == pytest.approx((0.2, 0.2, 0.3, 0.3))
    assert shared_weights([False, True], 1, unwanted=2) == [1, 0, -0.3, -0.3]
    assert shared_weights([True], 0.9) == [1]


# -- items -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ("a text", r"got one str: wrap it as \[item\]"),
        (RED, "got one Image"),
        (5, "Mix takes a list of items, got int"),
        ([], "at least one part"),
        (["a", 5], "part 1: cannot encode int"),
        (["a", Mix(["b"])], "part 1: cannot encode Mix"),
    ],
)
def test_parts_are_items(parts, says):
    with pytest.raises(ItemError, match=says):
        Mix(parts)


def test_words_are_those_of_wanted_texts():
    assert Mix([RED, "at night", Code("f()"), "rain", "snow"], [1, 0.5, 0.1, -1, 0]).words == "at night\nf()"
    assert Mix([RED, "rain"], [1, -1]).words is None
    assert [words_of(one) for one in ("a", Code("b"), RED, Path("a.txt"), Mix(["c"]))] == [
        "a",
        "b",
        None,
        None,
        "c",
    ]


def test_a_mix_stays_as_it_is():
    mix = Mix(["a", "b"], [1, -1])
    with pytest.raises(AttributeError):
        mix.weights = (1,)
    assert repr(mix) == "Mix(parts=('a', 'b'), weights=(1.0, -1.0))"
    assert mix == Mix(("a", "b"), (1, -1)) != Mix(["b", "a"], [-1, 1])


# -- an embedder -----------------------------------------------------------------------------------------


def test_a_mix_is_encoded_as_the_sum_of_its_parts(exact):
    parts = ["a red house", RED, Code("red()")]
    base = exact.encode(parts)
    expected = mix_vectors(base, [0.5, 0.3, -0.2])
    assert exact.encode([Mix(parts, [0.5, 0.3, -0.2])]) == pytest.approx(expected[None], abs=NEAR)
    assert exact.encode([Mix(parts[:1], [3])]) == pytest.approx(base[:1], abs=NEAR)


def test_mixes_among_items_keep_their_place_and_do_not_change_with_the_batch(exact):
    items = ["rain", Mix([RED, "at night"]), BLUE, Mix(["snow", BLUE, "rain"], [1, 1, -0.5]), Code("f()")]
    together = exact.encode(items)
    assert together == pytest.approx(np.vstack([exact.encode([item]) for item in items]), abs=NEAR)
    assert exact.encode(items, task="query", dim=64).shape == (5, 64)
    assert exact.encode(items, task="query") == pytest.approx(exact.map(together, "query"), abs=NEAR)


def test_errors_name_the_item_and_its_part(exact, tmp_path):
    with pytest.raises(ItemError, match=r"item 1, part 1: .*gone\.txt"):
        exact.encode(["a", Mix(["b", tmp_path / "gone.txt"])])
    with pytest.raises(ItemError, match="item 2: the parts cancel out"):
        exact.encode([Mix(["a", "b"]), "c", Mix(["a", "a"], [1, -1])])
    with pytest.raises(ItemError, match="item 3: cannot encode int"):
        exact.encode([Mix(["a", "b"]), "c", "d", 5])
    with pytest.raises(ItemError, match="encode takes a list of items, got Mix"):
        exact.encode(Mix(["a"]))


# -- an index --------------------------------------------------------------------------------------------


@pytest.fixture
def index(exact, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    RED.save(folder / "red.png")
    BLUE.save(folder / "blue.png")
    (folder / "rain.md").write_text("It rained at night.\n")
    with unbraid.open_index(tmp_path / "ix", model=exact) as index:
        index.add(folder)
        yield index


def test_a_search_by_a_mix_is_one_by_its_vector_and_its_words(index, exact):
    mix = Mix([RED, "night", "rained"], [0.5, 0.5, -0.1])
    expected = index.search_vectors(exact.encode([mix], side="query"), ["night"])[0]
    assert index.search(mix) == expected and max(hit.bm25 for hit in expected) > 0
    assert index.search([mix, "rain"])[0] == expected
    assert all(hit.bm25 is None for hit in index.search(mix, vectors_only=True))


def test_a_picture_that_is_not_wanted_comes_last(index):
    names = [Path(hit.path).name for hit in index.search(Mix([BLUE, RED], [1, -0.5]), modality="image")]
    assert names == ["blue.png", "red.png"]


def test_the_page_and_the_docs_weigh_as_a_mix_does():
    root = Path(__file__).parents[1]
    page = root / "src" / "unbraid" / "serve" / "page"
    assert f"const NOT = {NOT};" in (page / "query.js").read_text()
    assert f"const SHARE = {WORDS};" in (page / "address.js").read_text()
    assert f'id="share" min="0.1" max="0.9" step="0.1" value="{WORDS}"' in (page / "index.html").read_text()
    assert f"words {WORDS} together" in str(Mix.__init__.__doc__)
