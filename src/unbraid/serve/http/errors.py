"""Errors as clients read them: OpenAI's nested object, and beside it `detail`, where Jina's clients look.

`as_api_error` is the one place where an exception becomes a status and a code.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from unbraid.errors import ItemError
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.serve.engine.errors import (
    EncodingFailed,
    NoMultiVector,
    Overloaded,
    ShuttingDown,
    TextTooLong,
    VocabularyLoading,
)

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A refusal: a status, a stable `code`, a message that says what to do, and the field it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`headers` go into the response."""
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, dict(headers or {})

    def response(self) -> Response:
        """The JSON response."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        message = replace_lone_surrogates(str(self))
        error = {"message": message, "type": kind, "param": self.param, "code": self.code}
        body = msgspec.json.encode({"error": error, "detail": message})
        return Response(body, self.status, self.headers, media_type="application/json")


def as_api_error(error: Exception) -> ApiError | None:
    """The refusal that answers `error`; None for a defect of the server."""
    match error:
        case ApiError():
            return error
        case HTTPException():  # of Starlette's routing: 404 and 405
            phrase = HTTPStatus(error.status_code).phrase
            code = phrase.lower().replace(" ", "_")
            return ApiError(error.status_code, code, error.detail or phrase, headers=error.headers)
        case TextTooLong():
            return ApiError(400, "text_too_long", str(error), param="input")
        case NoMultiVector():
            return ApiError(400, "unsupported", str(error), param="return_multivector")
        case ItemError():
            return ApiError(400, "invalid_input", str(error), param="input")
        case Overloaded():
            wait = min(60, max(1, math.ceil(error.seconds)))
            message = f"too much is waiting ({error.reason}); try again in {wait} s"
            return ApiError(429, "overloaded", message, headers={"retry-after": str(wait)})
        case VocabularyLoading():
            message = "the vocabulary of token ids is loading; try again in 1 s"
            return ApiError(503, "loading", message, headers={"retry-after": "1"})
        case ShuttingDown():
            message = "the server is shutting down"
            return ApiError(503, "shutting_down", message, headers={"retry-after": "1"})
        case EncodingFailed():
            return ApiError(500, "encoding_failed", str(error))
    return None
