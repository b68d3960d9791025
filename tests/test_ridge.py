import numpy as np
import pytest

from unbraid.ridge import ridge

RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((40, 5)), RNG.standard_normal((40, 3))


@pytest.mark.parametrize(
    "towards", [None, np.eye(3, 5), 2 * np.ones((3, 5))], ids=["zero", "identity", "other"]
)
def test_ridge_is_least_squares_with_the_penalty_as_extra_rows(towards):
    rows = 12**0.5 * np.eye(5)
    pulled = rows @ (np.zeros((5, 3)) if towards is None else towards.T)
    solution, *_ = np.linalg.lstsq(np.vstack([INPUTS, rows]), np.vstack([TARGETS, pulled]), rcond=None)
    np.testing.assert_allclose(ridge(INPUTS, TARGETS, 12, towards), solution.T, atol=1e-12)


def test_a_large_penalty_gives_what_is_pulled_towards():
    np.testing.assert_allclose(ridge(INPUTS, TARGETS, 1e12, 3 * np.eye(3, 5)), 3 * np.eye(3, 5), atol=1e-7)


def test_a_small_penalty_finds_the_map_that_made_the_targets():
    true = RNG.standard_normal((3, 5)).astype(np.float32)
    found = ridge(INPUTS.astype(np.float32), INPUTS.astype(np.float32) @ true.T, 1e-9)
    np.testing.assert_allclose(found, true, atol=1e-5)
    assert found.dtype == np.float64
