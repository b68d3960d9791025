"""JSON responses. msgspec writes the structs, orjson the arrays in them.

orjson writes a float32 in as few digits as it needs: half the bytes of the same number as a Python float, three times as
fast.
"""

import base64
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import orjson
from starlette.responses import Response

from unbraid.serve.requests.schemas import Embedding, EmbeddingsResponse, MultiVector, Usage

_encoder = msgspec.json.Encoder(
    enc_hook=lambda array: msgspec.Raw(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))
)


def json_response(value: object, headers: Mapping[str, str] | None = None) -> Response:
    """The response that holds `value`, a struct or a dictionary. It may contain numpy arrays."""
    return Response(_encoder.encode(value), media_type="application/json", headers=headers)


def embeddings_response(
    vectors: np.ndarray, encoding: str, model: str, tokens: int, headers: Mapping[str, str] | None = None
) -> Response:
    """float32 [n, dim] as numbers ("float"), base64 or bits ("binary", "ubinary"), or n arrays [tokens, D] ("multi")."""
    rows: Iterable[object] = np.ascontiguousarray(vectors)
    if encoding == "base64":
        rows = (base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f4", copy=False))
    elif encoding in ("binary", "ubinary"):
        bits = np.packbits(vectors > 0, axis=1)
        # Jina's signed form is the byte minus 128, not its two's complement.
        rows = bits if encoding == "ubinary" else (bits ^ 128).view(np.int8)
    kind = MultiVector if encoding == "multi" else Embedding
    data = [kind(number, row) for number, row in enumerate(rows)]
    return json_response(EmbeddingsResponse(data, model, Usage(tokens, tokens)), headers)
