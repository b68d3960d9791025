import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unbraid.errors import StoreError
from unbraid.index.store.storage import NUMBERS, Storage

VECTORS = hnp.arrays(np.float32, (3, 8), elements=st.floats(-1, 1, width=32))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(VECTORS, st.integers(1, 8), st.sampled_from(NUMBERS))
def test_what_is_stored_is_stored_again_unchanged(vectors: np.ndarray, dim: int, numbers: str) -> None:
    storage = Storage(dim, numbers)  # type: ignore[arg-type]
    kept = storage.widen(storage.narrow(vectors), 8)
    assert kept.shape == vectors.shape and not kept[:, dim:].any()
    np.testing.assert_allclose(kept[:, :dim], vectors[:, :dim], atol=5e-4)
    np.testing.assert_array_equal(storage.widen(storage.narrow(kept), 8), kept)


@pytest.mark.parametrize("wrong", [(8, "int8", "exact"), (8, "float32", "hnsw"), (0, "float32", "exact")])
def test_other_storages_are_refused(wrong: tuple[int, str, str]) -> None:
    with pytest.raises(
        StoreError, match="expected 1 or more, one of float32, float16, one of auto, exact, int8, binary"
    ):
        Storage(*wrong)  # type: ignore[arg-type]
