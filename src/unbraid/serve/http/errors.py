"""Errors as clients read them: OpenAI's nested object, and beside it `detail`, where Jina's clients look."""

import math
from http import HTTPStatus

import orjson
from starlette.responses import Response

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A refusal: the status, a stable `code`, a message that says what to do, and the field it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """`retry_after` is in seconds."""
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """The answer."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        message = str(self).encode("utf-8", "replace").decode()
        error = {"message": message, "type": kind, "param": self.param, "code": self.code}
        headers = dict(headers or {})
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        body = orjson.dumps({"error": error, "detail": message})
        return Response(body, self.status, headers, media_type="application/json")


class ClientGone(Exception):
    """The client closed its connection; nobody waits for an answer."""


def overloaded(reason: str, seconds: float) -> ApiError:
    """429 because of `reason` (tokens, items, seconds, bytes or requests), to be tried again after `seconds`."""
    wait = min(60, max(1, math.ceil(seconds)))
    return ApiError(
        429, "overloaded", f"too much is waiting ({reason}); try again in {wait} s", retry_after=wait
    )


def of_status(status: int, message: str | None = None) -> ApiError:
    """The error for a bare status, as routing raises 404 and 405."""
    phrase = HTTPStatus(status).phrase
    return ApiError(status, phrase.lower().replace(" ", "_"), message or phrase)
