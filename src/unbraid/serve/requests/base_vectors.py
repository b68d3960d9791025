"""Base vectors that a client stored and sends back."""

import base64

import numpy as np

from unbraid.serve.http.errors import ApiError


def read_vectors(value: object, dim: int, most: int, *, field: str = "base") -> np.ndarray:
    """float32 [n, dim] from lists of numbers or base64 strings in `field` of a request. Raises ApiError 400."""

    def refusal(why: str) -> ApiError:
        expected = f"expected up to {most:,} base vectors of {dim} numbers"
        return ApiError(400, "invalid_base", f"{why}: {expected}", param=field)

    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise refusal(f"{field} is not a list of vectors, or is empty or too long")
    rows = np.empty((len(value), dim), dtype=np.float32)
    for row, one in enumerate(value):
        try:
            if isinstance(one, str):
                vector = np.frombuffer(base64.b64decode(one, validate=True), dtype="<f4")
            elif isinstance(one, list) and all(type(number) in (int, float) for number in one):
                vector = np.array(one, dtype=np.float64)
            else:
                raise refusal(f"vector {row} is neither a list of numbers nor base64")
        except (ValueError, OverflowError) as error:
            raise refusal(f"vector {row} cannot be read ({error})") from error
        if vector.shape != (dim,):
            raise refusal(f"vector {row} has {vector.size} numbers")
        if not (np.abs(vector) < 1e18).all() or not vector.any():  # their squares have to fit into float32
            raise refusal(f"vector {row} is all zeros, or holds a number that is not finite or over 1e18")
        rows[row] = vector
    return rows
