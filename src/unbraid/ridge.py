"""Ridge regression, solved exactly: every linear map that is fitted in closed form."""

import numpy as np


def ridge(
    inputs: np.ndarray, targets: np.ndarray, penalty: float, towards: np.ndarray | None = None
) -> np.ndarray:
    """W float64 [B, A] that minimizes |inputs Wᵀ - targets|² + penalty · |W - towards|².

    inputs [n, A], targets [n, B]; `towards` [B, A] is what W is without evidence, zero if None. Solves the normal
    equations in float64 (Hoerl & Kennard 1970).
    """
    left = inputs.T.astype(np.float64)
    gram, moment = left @ inputs, left @ targets
    if towards is not None:
        moment = moment + penalty * towards.T
    return solve_ridge(gram, moment, penalty)


def solve_ridge(gram: np.ndarray, moment: np.ndarray, penalty: float) -> np.ndarray:
    """W float64 [B, A] of the summed products gram [A, A] = inputsᵀ inputs and moment [A, B] = inputsᵀ targets.

    For rows that do not fit into memory together.
    """
    weight: np.ndarray = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment).T
    return weight
