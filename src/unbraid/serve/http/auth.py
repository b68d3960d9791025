"""API keys: read, kept as hashes, compared in constant time."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from unbraid.errors import DataError

SHORTEST = 16  # characters: shorter ones can be guessed


class Keys:
    """The keys that open the server; an empty set opens it to everybody who can reach it."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Raises DataError for a key that is too short."""
        keys = list(keys)
        if short := [key for key in keys if len(key) < SHORTEST]:
            raise DataError(f"an API key of {len(short[0])} characters: expected at least {SHORTEST}")
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._digests)

    def accept(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries one of the keys.

        Bearer, or Basic with the key as the password: that is what a browser asks its user for.
        """
        given = hashlib.sha256(_key_of(authorization or "").encode("utf-8", "replace")).digest()
        # All of them, so that the time does not tell which one was near.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


def read_keys(file: Path | None, listed: str | None) -> Keys:
    """Keys from a file, one a line, `#` for remarks, and from a list separated by commas (UNBRAID_API_KEYS).

    Raises DataError for a file that cannot be read or holds none.
    """
    keys = [key.strip() for key in (listed or "").split(",") if key.strip()]
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read as a file of API keys: {error}") from error
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise DataError(f"{file}: holds no API key: expected one a line")
        keys += found
    return Keys(keys)


def _key_of(authorization: str) -> str:
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            pass
    return ""
