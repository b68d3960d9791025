"""Base vectors that clients send back."""

import base64

import numpy as np

from unbraid.serve.http.errors import ApiError


def read_vectors(value: object, dim: int, most: int) -> np.ndarray:
    """float32 [n, dim] of lists of numbers or base64 strings. Raises ApiError 400."""

    def refuse(why: str) -> ApiError:
        return ApiError(
            400, "invalid_base", f"{why}: expected up to {most:,} base vectors of {dim} numbers", param="base"
        )

    if not isinstance(value, list) or not value or len(value) > most:
        raise refuse("base is no list of vectors, an empty or a longer one")
    rows = np.empty((len(value), dim), dtype=np.float32)
    for row, one in enumerate(value):
        try:
            if isinstance(one, str):
                vector = np.frombuffer(base64.b64decode(one, validate=True), dtype="<f4")
            elif isinstance(one, list) and all(type(number) in (int, float) for number in one):
                vector = np.array(one, dtype=np.float64)
            else:
                raise refuse(f"vector {row} is neither a list of numbers nor base64")
        except (ValueError, OverflowError) as error:
            raise refuse(f"vector {row} cannot be read ({error})") from error
        if vector.shape != (dim,):
            raise refuse(f"vector {row} has {vector.size} numbers")
        if not (np.abs(vector) < 1e18).all() or not vector.any():  # squares have to fit into float32 too
            raise refuse(f"vector {row} holds nothing but zeros, or a number that is not finite or over 1e18")
        rows[row] = vector
    return rows
