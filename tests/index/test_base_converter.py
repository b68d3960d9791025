import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.index.transfer.base_converter import (
    LEAST,
    convert,
    fit_converter,
    fit_ridge,
    fit_rotation,
    quality,
)
from unbraid.vectors import normalize

seeds = st.integers(0, 10_000)
few = settings(max_examples=20, deadline=None)


def unit(seed: int, count: int, dim: int) -> np.ndarray:
    return normalize(np.random.default_rng(seed).standard_normal((count, dim)))


def turn(seed: int, dim: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]


@few
@given(seeds, st.integers(2, 12))
def test_a_rotation_between_spaces_is_found(seed: int, dim: int) -> None:
    old, rotation = unit(seed, 4 * dim, dim), turn(seed, dim)
    new = normalize(old @ rotation.T)
    np.testing.assert_allclose(fit_rotation(old, new), rotation, atol=1e-5)
    for ridge in (0.1, 3.0):  # nothing is left for the ridge to add
        matrix = fit_ridge(old, new, ridge, fit_rotation(old, new))
        np.testing.assert_allclose(convert(matrix, old), new, atol=1e-5)


@few
@given(seeds, st.sampled_from([(4, 7), (7, 4)]))
def test_a_rotation_between_dims_keeps_lengths_in_the_smaller(seed: int, dims: tuple[int, int]) -> None:
    rotation = fit_rotation(unit(seed, 50, dims[0]), unit(seed + 1, 50, dims[1]))
    assert rotation.shape == dims[::-1]
    small = rotation @ rotation.T if dims[1] < dims[0] else rotation.T @ rotation
    np.testing.assert_allclose(small, np.eye(4), atol=1e-6)


@few
@given(seeds)
def test_no_rotation_is_nearer_than_the_one_found(seed: int) -> None:
    old, new = unit(seed, 30, 5), unit(seed + 1, 30, 5)
    best = np.linalg.norm(old @ fit_rotation(old, new).T - new)
    for other in range(5):
        assert best <= np.linalg.norm(old @ turn(seed + other, 5).T - new) + 1e-9


@few
@given(seeds, st.floats(0.01, 10))
def test_ridge_is_the_minimum(seed: int, ridge: float) -> None:
    old, new, towards = unit(seed, 20, 4), unit(seed + 1, 20, 3), unit(seed + 2, 3, 4)
    pull = ridge * np.mean(np.linalg.eigvalsh(old.T.astype(np.float64) @ old))

    def cost(matrix: np.ndarray) -> float:
        return float(np.square(old @ matrix.T - new).sum() + pull * np.square(matrix - towards).sum())

    matrix = fit_ridge(old, new, ridge, towards)
    step = np.random.default_rng(seed).standard_normal(matrix.shape) * 1e-3
    assert cost(matrix) <= min(cost(matrix + step), cost(matrix - step))


def test_without_evidence_ridge_stays_where_it_is_pulled() -> None:
    old, new, towards = unit(0, 20, 4), unit(1, 20, 4), turn(2, 4)
    np.testing.assert_allclose(fit_ridge(old, new, 1e9, towards), towards, atol=1e-6)


def test_converted_vectors_have_unit_length_and_are_float32() -> None:
    converted = convert(unit(0, 6, 4) * 3, unit(1, 10, 4))
    assert converted.dtype == np.float32 and converted.shape == (10, 6)
    np.testing.assert_allclose(np.linalg.norm(converted, axis=1), 1, atol=1e-6)


def test_a_converter_says_of_each_kind_what_holds_on_items_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    old, rotation = unit(0, 2400, 16), turn(1, 16)
    noise = np.repeat([0.05, 0.4], 1200)[:, None]  # the old space tells half of what code is
    new = normalize(old @ rotation.T + noise * rng.standard_normal((2400, 16)) / 4)
    kinds = ["text"] * 1200 + ["code"] * 1200
    rows = np.concatenate([np.arange(200), np.arange(1200, 1400)])
    matrix, ridge, said = fit_converter(old[rows], new[rows], [kinds[row] for row in rows])
    assert matrix.dtype == np.float32 and matrix.shape == (16, 16) and ridge > 0
    assert said["text"].nearest > 0.95 > said["code"].recall + 0.1
    for kind, start in (("text", 200), ("code", 1400)):
        others = slice(start, start + 200)
        found = quality(new[others], convert(matrix, old[others]))
        assert found.items == said[kind].items == 200
        assert found.cosine == pytest.approx(said[kind].cosine, abs=0.02)
        assert found.recall == pytest.approx(said[kind].recall, abs=0.05)


def test_a_kind_with_few_items_is_fitted_on_and_not_judged() -> None:
    old = unit(0, LEAST + 5, 8)
    _, _, said = fit_converter(old, old, ["text"] * LEAST + ["image"] * 5)
    assert set(said) == {"text"}
    with pytest.raises(ValueError, match="54 pairs, expected 50 of one kind"):
        fit_converter(old[:54], old[:54], ["text"] * 27 + ["image"] * 27)


def test_the_same_pairs_give_the_same_converter() -> None:
    old, new = unit(0, 80, 6), unit(1, 80, 6)
    left, right = (fit_converter(old, new, ["text"] * 80)[0] for _ in range(2))
    assert left.tobytes() == right.tobytes()


def test_quality_of_vectors_that_did_not_change_is_full() -> None:
    vectors = unit(0, 60, 8)
    found = quality(vectors, vectors)
    assert (found.items, found.recall, found.nearest) == (60, 1.0, 1.0)
    assert found.cosine == pytest.approx(1)
    chance = quality(vectors, unit(1, 60, 8))
    assert chance.recall < 0.4 and chance.nearest < 0.5


def test_quality_counts_neighbours_by_hand() -> None:
    """Twelve points on an arc, each nearest to the one before it; the first is converted to the other side."""
    angles = np.cumsum(np.arange(12)) / 60
    new = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    converted = new.copy()
    converted[0] = -new[0]  # it was among the ten nearest of most others, and now is of none
    found = quality(new, converted)
    lost = sum(0 in np.argsort(np.abs(angles - angle))[1:11] for angle in angles[1:])
    assert found.recall == pytest.approx(1 - lost / 120)
    assert found.nearest == pytest.approx(11 / 12)
