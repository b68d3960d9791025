import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.distill.space.base_space import (
    DIM,
    PREFIXES,
    fit_base_space,
    load_base_space,
    stack,
)
from unbraid.distill.space.task_space import task_target
from unbraid.vectors import normalize


def task_vectors(n, *dims, seed=0):
    """Random unit vectors for routes "a", "b", … of `dims`, their energy falling along the axes."""
    rng = np.random.default_rng(seed)
    return {
        route: normalize(rng.standard_normal((n, dim)) / np.arange(1, dim + 1) ** 0.5).astype(np.float32)
        for route, dim in zip("abcd", dims, strict=False)
    }


@pytest.fixture(scope="module")
def wide():
    """Two routes of 320 dimensions: more than a base vector holds."""
    return task_vectors(800, 320, 320)


@pytest.fixture(scope="module")
def energy_of_axes(wide):
    """Energy along each principal axis, largest first, from numpy's own SVD."""
    return np.linalg.svd(stack(wide, ("a", "b")).astype(np.float64), compute_uv=False) ** 2


@pytest.fixture(scope="module")
def wide_space(wide):
    return fit_base_space([wide], seed=1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_the_projection_keeps_every_cosine_when_all_dimensions_fit(first, second, seed):
    vectors = task_vectors(60, first, second, seed=seed)
    base = fit_base_space([vectors], seed=seed).project(vectors)
    stacked = normalize(stack(vectors, ("a", "b")).astype(np.float64))
    np.testing.assert_allclose(base @ base.T, stacked @ stacked.T, atol=2e-6)


def test_base_vectors_are_float32_of_512_dimensions_and_unit_length():
    vectors = {"a": task_vectors(5, 8)["a"].astype(np.float16)}
    base = fit_base_space([vectors], seed=0).project(vectors)
    assert (base.dtype, base.shape) == (np.float32, (5, DIM))
    np.testing.assert_allclose(np.linalg.norm(base, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_holds_as_much_energy_as_that_many_principal_axes(wide, wide_space, energy_of_axes, prefix):
    found = ((stack(wide, ("a", "b")) @ wide_space.projection[:prefix].T) ** 2).sum()
    assert found == pytest.approx(energy_of_axes[:prefix].sum(), rel=1e-5)


def test_kept_is_the_share_of_energy_that_512_axes_hold(wide_space, energy_of_axes):
    assert wide_space.kept == pytest.approx(energy_of_axes[:DIM].sum() / energy_of_axes.sum(), rel=1e-9)
    assert 0.5 < wide_space.kept < 1


def test_inside_a_block_every_dimension_carries_a_like_share(wide, wide_space):
    energy = ((stack(wide, ("a", "b")) @ wide_space.projection.T) ** 2).sum(0)
    for first, last in zip((0, *PREFIXES), PREFIXES, strict=False):
        block = energy[first:last]
        assert block.max() < 2.5 * block.mean()  # the first principal axis holds 6.7 times its block's mean


def test_fewer_dimensions_than_512_are_kept_whole_and_spread_over_all_of_the_last_block():
    vectors = task_vectors(500, 150, 150)
    space = fit_base_space([vectors], seed=0)
    energy = (space.project(vectors) ** 2).sum(0)
    assert space.kept == pytest.approx(1)
    assert energy.min() > 0


def test_the_same_seed_gives_the_same_space():
    vectors = task_vectors(50, 20)
    first, second = (fit_base_space([vectors], seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.projection, second.projection)


def test_another_seed_turns_the_space_and_keeps_its_cosines():
    vectors = task_vectors(50, 20)
    first, second = (fit_base_space([vectors], seed=seed) for seed in (3, 4))
    one, other = first.project(vectors), second.project(vectors)
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_allclose(one[:, :64] @ one[:, :64].T, other[:, :64] @ other[:, :64].T, atol=1e-5)


def test_the_order_of_the_routes_does_not_matter():
    vectors = task_vectors(50, 20, 10)
    turned = dict(reversed(vectors.items()))
    one, other = fit_base_space([vectors], seed=0), fit_base_space([turned], seed=0)
    assert one.routes == other.routes == ("a", "b")
    np.testing.assert_array_equal(one.project(turned), other.project(vectors))


def test_save_and_load_give_the_same_space(tmp_path):
    space = fit_base_space([task_vectors(30, 12, 6)], seed=0)
    space.save(tmp_path / "space.safetensors")
    loaded = load_base_space(tmp_path / "space.safetensors")
    np.testing.assert_array_equal(loaded.projection, space.projection)
    assert loaded.routes == space.routes
    assert loaded.kept == pytest.approx(space.kept, abs=1e-6)


# -- task space --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 384, 511, 512, 513, 2048])
def test_a_task_target_is_the_teachers_first_512_dimensions_or_its_vector_with_zeros_behind(dim):
    vectors = task_vectors(7, dim)["a"].astype(np.float16)
    target = task_target(vectors)
    assert (target.dtype, target.shape) == (np.float32, (7, 512))
    cut = vectors[:, :512].astype(np.float64)
    np.testing.assert_allclose(target[:, : cut.shape[1]], normalize(cut), atol=1e-6)
    assert not target[:, cut.shape[1] :].any()


def test_targets_of_a_small_teacher_keep_its_cosines():
    vectors = task_vectors(20, 384)["a"]
    target = task_target(vectors)
    np.testing.assert_allclose(target @ target.T, vectors @ vectors.T, atol=1e-6)


@pytest.mark.parametrize("dim", [384, 512, 640])
def test_the_base_space_is_that_of_the_task_vectors(dim):
    vectors = task_vectors(90, dim, dim)
    targets = {route: task_target(found)[:, :dim] for route, found in vectors.items()}
    space = fit_base_space([vectors], seed=0)
    base, stacked = space.project(vectors), np.concatenate(list(targets.values()), axis=1)
    assert space.projection.shape == (DIM, 2 * min(dim, 512))
    np.testing.assert_allclose(base @ base.T, stacked @ stacked.T / 2, atol=1e-5)


@pytest.mark.parametrize("sizes", [(800,), (300, 1, 499), (100,) * 8])
def test_shard_by_shard_gives_the_space_of_the_whole(wide, wide_space, sizes, monkeypatch):
    monkeypatch.setattr("unbraid.distill.space.base_space.BLOCK", 128)
    ends = np.cumsum(sizes)
    shards = [
        {route: vectors[end - size : end] for route, vectors in wide.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]
    found = fit_base_space(iter(shards), seed=1)
    assert found.kept == pytest.approx(wide_space.kept, rel=1e-12)
    one, other = found.project(wide), wide_space.project(wide)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-5)


def test_no_shard_is_refused():
    with pytest.raises(ValueError, match="no vectors"):
        fit_base_space([], seed=0)
