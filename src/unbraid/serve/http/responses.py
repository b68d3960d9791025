"""JSON responses. msgspec writes the structs, orjson the arrays in them.

orjson writes a float32 in as few digits as it needs: half the bytes of the same number as a Python float, three times as
fast.
"""

import base64
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import orjson
from starlette.responses import Response

from unbraid.serve.requests.schemas import Embedding, EmbeddingsResponse, MultiVector, Usage


def _write_array(array: object) -> msgspec.Raw:
    return msgspec.Raw(orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY))


_encoder = msgspec.json.Encoder(enc_hook=_write_array)


def json_response(value: object, headers: Mapping[str, str] | None = None) -> Response:
    """`value`, a struct or a dictionary, in which numpy arrays may stand."""
    return Response(_encoder.encode(value), media_type="application/json", headers=headers)


def vectors_response(
    vectors: np.ndarray, encoding: str, model: str, tokens: int, headers: Mapping[str, str] | None = None
) -> Response:
    """float32 [n, dim] as numbers ("float"), as base64, or as bits ("binary", "ubinary")."""
    rows: Sequence[object] = vectors  # type: ignore[assignment]
    if encoding == "base64":
        rows = [base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f4", copy=False)]
    elif encoding in ("binary", "ubinary"):
        bits = np.packbits(vectors > 0, axis=1)
        # Jina's signed form is the byte minus 128, not its two's complement.
        rows = [row.tolist() for row in (bits if encoding == "ubinary" else bits.astype(np.int16) - 128)]
    data = [Embedding(index=n, embedding=row) for n, row in enumerate(rows)]
    return json_response(EmbeddingsResponse(data, model, Usage(tokens, tokens)), headers)


def multi_vectors_response(
    vectors: Sequence[np.ndarray], model: str, tokens: int, headers: Mapping[str, str] | None = None
) -> Response:
    """n arrays [tokens, 128], as numbers."""
    data = [MultiVector(index=n, embeddings=one) for n, one in enumerate(vectors)]
    return json_response(EmbeddingsResponse(data, model, Usage(tokens, tokens)), headers)
