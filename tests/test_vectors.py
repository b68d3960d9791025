import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unbraid.errors import ItemError
from unbraid.vectors import NUMBERS, candidates, normalize, store_as, truncate

DIMS = (512, 256, 128, 64)
QUICK = settings(max_examples=60, deadline=None)
FLOATS = st.floats(-1e3, 1e3, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
ROWS = arrays.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 64)), elements=FLOATS)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    result: np.ndarray = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return result


@QUICK
@given(ROWS)
def test_normalize_gives_length_one_or_keeps_zeros(vectors):
    lengths = np.linalg.norm(normalize(vectors), axis=1)
    np.testing.assert_allclose(lengths, (vectors != 0).any(axis=1), atol=1e-5)


def test_normalize_gives_float32_of_other_types():
    assert normalize(np.array([[3, 4]])).dtype == np.float32
    np.testing.assert_allclose(normalize(np.array([[3, 4]])), [[0.6, 0.8]], rtol=1e-6)


def test_normalize_keeps_an_empty_array_empty():
    assert normalize(np.empty((0, 8), np.float32)).shape == (0, 8)


@pytest.mark.parametrize("dim", DIMS)
def test_truncating_keeps_unit_length(dim, unit):
    cut = truncate(unit(7), dim, DIMS)
    assert cut.shape == (7, dim)
    assert cut.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dim", DIMS)
def test_truncating_keeps_the_direction_of_the_prefix(dim, unit):
    vectors = unit(7)
    np.testing.assert_allclose(cosine(truncate(vectors, dim, DIMS), vectors[:, :dim]), 1, atol=1e-6)


@pytest.mark.parametrize("dim", [-64, 0, 1, 63, 511, 513])
def test_truncating_to_an_unsupported_dim_names_the_supported_ones(dim, unit):
    with pytest.raises(ItemError, match=f"dim {dim} .*512, 256, 128, 64"):
        truncate(unit(1), dim, DIMS)


def test_float32_is_kept_as_it_is(unit):
    vectors = unit(3)
    assert store_as(vectors, "float32") is vectors


def test_int8_is_int8_of_the_same_shape_and_uses_the_full_range(unit):
    stored = store_as(unit(9), "int8")
    assert stored.dtype == np.int8
    assert stored.shape == (9, 512)
    assert (np.abs(stored.astype(int)).max(axis=1) == 127).all()


@QUICK
@given(ROWS)
def test_int8_keeps_the_cosine(vectors):
    vectors = normalize(vectors[(vectors != 0).any(axis=1)])
    # Rounding moves each of d numbers by at most half a step of largest/127: the vector turns by at most the
    # angle whose sine is that distance (the lengths are 1).
    sine = np.sqrt(vectors.shape[1]) * np.abs(vectors).max(axis=1, initial=0) / 254
    least = np.sqrt(1 - sine**2)
    assert (cosine(store_as(vectors, "int8"), vectors) >= least - 1e-6).all()


def test_int8_keeps_the_cosine_of_pairs(unit):
    a, b = unit(50), normalize(unit(50) + unit(100)[50:] / 2)
    error = cosine(store_as(a, "int8"), store_as(b, "int8")) - cosine(a, b)
    assert np.abs(error).max() < 2e-3  # the spread of a random pair's cosine is 1/sqrt(512) = 0.044


def test_binary_packs_eight_signs_into_a_byte():
    vectors = np.array([[0.5, -0.5, 0.1, 0, -0.1, 0.2, 0.3, -0.2]], np.float32)
    stored = store_as(vectors, "binary")
    assert stored.dtype == np.uint8
    assert stored.tolist() == [[0b10100110]]


@pytest.mark.parametrize("dim", DIMS)
def test_binary_takes_one_bit_a_dimension(dim, unit):
    assert store_as(unit(4, dim), "binary").shape == (4, dim // 8)


def test_binary_distance_orders_like_the_angle(unit):
    anchor = unit(1)
    near, far = normalize(anchor + 0.3 * unit(2)[1:]), unit(3)[2:]
    stored = [store_as(vectors, "binary") for vectors in (anchor, near, far)]
    distances = [int(np.unpackbits(stored[0] ^ other).sum()) for other in stored[1:]]
    assert distances[0] < 80  # 512 · angle/π: 48 and 256 bits on average
    assert distances[1] > 200


@pytest.mark.parametrize("numbers", NUMBERS)
def test_zero_vectors_stay_zero(numbers):
    assert not store_as(np.zeros((2, 64), np.float32), numbers).any()


@pytest.mark.parametrize(
    ("numbers", "width"), [("float32", 64), ("float16", 64), ("int8", 64), ("binary", 8)]
)
def test_no_vectors_stay_no_vectors(numbers, width):
    assert store_as(np.empty((0, 64), np.float32), numbers).shape == (0, width)


def test_float16_keeps_cosines_to_a_thousandth(unit):
    vectors = unit(9)
    stored = store_as(vectors, "float16")
    assert stored.dtype == np.float16
    assert (cosine(stored.astype(np.float32), vectors) >= 0.999).all()


def test_an_unknown_precision_names_the_known_ones(unit):
    with pytest.raises(ItemError, match="'float8' .*float32, float16, int8, binary"):
        store_as(unit(1), "float8")  # type: ignore[arg-type]


@QUICK
@given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_candidates_are_the_rows_whose_signs_agree_best(rows, count, seed):
    rng = np.random.default_rng(seed)
    vectors, query = rng.standard_normal((rows, 16)), rng.standard_normal(16)
    found = candidates(query, store_as(vectors, "binary"), count)
    agree = ((vectors > 0) == (query > 0)).sum(1)
    assert len(found) == len(set(found.tolist())) == min(count, rows)
    # Rows that agree equally well may stand for each other.
    assert sorted(agree[found], reverse=True) == sorted(agree, reverse=True)[:count]


@pytest.mark.parametrize(
    ("query", "codes", "count"),
    [((64,), (3, 64), 1), ((1, 64), (3, 8), 1), ((64,), (8,), 1), ((64,), (3, 8), 0)],
)
def test_candidates_of_shapes_that_do_not_fit_are_refused(query, codes, count):
    with pytest.raises(ItemError, match=r"expected 1 or more, \[n, d/8\] and \[d\]"):
        candidates(np.zeros(query), np.zeros(codes, np.uint8), count)
