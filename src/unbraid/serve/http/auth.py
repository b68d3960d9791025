"""API keys: read from a file or a variable, kept as hashes, checked in constant time."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from unbraid.errors import DataError
from unbraid.serve.http.errors import ApiError

SHORTEST = 16  # characters; shorter keys can be guessed


class ApiKeys:
    """The server's API keys. Without any, every client may use the server."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Raises DataError for a key that is too short."""
        keys = list(keys)
        if short := [key for key in keys if len(key) < SHORTEST]:
            raise DataError(f"an API key of {len(short[0])} characters: expected at least {SHORTEST}")
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        """Whether a request needs a key."""
        return bool(self._digests)

    def check(self, authorization: str, path: str) -> None:
        """Raise ApiError 401 unless an Authorization header carries one of the keys."""
        given = hashlib.sha256(_key_of(authorization).encode("utf-8", "replace")).digest()
        # Compare with all keys, so that the time does not tell which one was near.
        if self._digests and not sum(hmac.compare_digest(given, digest) for digest in self._digests):
            # Basic makes a browser ask its user for the key, as a password.
            wanted = 'Basic realm="unbraid"' if path in ("/", "/docs") else "Bearer"
            raise ApiError(
                401,
                "invalid_api_key",
                "a valid API key is needed: Authorization: Bearer KEY",
                headers={"www-authenticate": wanted},
            )


def read_keys(file: Path | None, listed: str | None) -> ApiKeys:
    """Keys from a file, one a line, where `#` begins a comment, and from a list separated by commas.

    Raises DataError for a file that cannot be read or holds no key.
    """
    keys = [key.strip() for key in (listed or "").split(",") if key.strip()]
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{file}: cannot be read as a file of API keys: {reason}") from error
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise DataError(f"{file}: holds no API key: expected one a line")
        keys += found
    return ApiKeys(keys)


def _key_of(authorization: str) -> str:
    """The key in a Bearer header, or the password of a Basic one."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            pass
    return ""
