"""Pictures in requests, and of an index: bounded by bytes and by the header's pixels before anything is decoded."""

import base64
import binascii
import hashlib
import re
from io import BytesIO
from pathlib import Path

from unbraid.errors import ImageError
from unbraid.runtime.preprocess import MAX_BYTES, decode, picture_size
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.limits import Limits

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)
THUMBNAIL = 512  # pixels of the longer side, as the page shows it


def is_data_url(text: str) -> bool:
    """Whether a string of a request stands for a picture."""
    return text.startswith("data:image/")


def read_base64(text: str, limits: Limits) -> bytes:
    """Bytes of a data URL or of plain base64. Raises ApiError 400."""
    if text.startswith("data:"):
        head = _DATA_URL.match(text, 0, 200)
        if head is None:
            raise ApiError(400, "invalid_picture", "a data URL must begin like data:image/png;base64,")
        text = text[head.end() :]
    if len(text) > limits.picture_bytes // 3 * 4 + 8:
        raise picture_too_large(limits)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, "invalid_picture", f"a picture is not base64: {error}") from error


def check_size(content: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height by the header. Raises ApiError 400 for what is no picture or has too many pixels."""
    try:
        width, height = picture_size(content)
    except ImageError as error:
        raise ApiError(400, "invalid_picture", str(error)) from error
    if width * height > limits.picture_pixels:
        raise ApiError(
            400,
            "picture_too_large",
            f"a picture has {width} x {height} = {width * height:,} pixels, at most {limits.picture_pixels:,} are "
            "taken: scale it down",
        )
    return width, height


def picture_too_large(limits: Limits) -> ApiError:
    """The refusal of a picture with too many bytes."""
    return ApiError(
        400, "picture_too_large", f"a picture is over {limits.picture_bytes:,} bytes: scale it down"
    )


def thumbnail(path: Path, sha256: str) -> bytes:
    """JPEG of a picture file as it was when `sha256` was taken of it.

    Raises ApiError 404 for a file that is gone or another one by now: an index vouches for what it has seen.
    """
    gone = ApiError(404, "not_found", "this picture is not in the index, or the file has changed since")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise gone
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise gone
        image = decode(content, at_least=2 * THUMBNAIL)
    except (OSError, ImageError) as error:
        raise gone from error
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    out = BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
