"""Pictures in requests, bounded by bytes and by the header's pixels before anything is decoded."""

import base64
import binascii
import re

from unbraid.errors import ImageError
from unbraid.runtime.preprocess import picture_size
from unbraid.serve.engine.engine import RequestItem
from unbraid.serve.http.errors import ApiError
from unbraid.serve.limits import Limits

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)


def read_base64(text: str, limits: Limits) -> bytes:
    """Bytes of a data URL or of plain base64. Raises ApiError 400."""
    if text.startswith("data:"):
        head = _DATA_URL.match(text, 0, 200)
        if head is None:
            raise ApiError(400, "invalid_picture", "a data URL must begin like data:image/png;base64,")
        text = text[head.end() :]
    if len(text) > limits.picture_bytes // 3 * 4 + 8:
        raise _too_many_bytes(limits)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, "invalid_picture", f"a picture is not base64: {error}") from error


def image_item(content: bytes, limits: Limits) -> RequestItem:
    """The item of a picture file. Raises ApiError 400 for a file that is no picture or too large."""
    if len(content) > limits.picture_bytes:
        raise _too_many_bytes(limits)
    try:
        width, height = picture_size(content)
    except ImageError as error:
        raise ApiError(400, "invalid_picture", str(error)) from error
    if width * height > limits.picture_pixels:
        raise ApiError(
            400,
            "picture_too_large",
            f"a picture has {width} x {height} = {width * height:,} pixels, at most {limits.picture_pixels:,} are "
            "allowed: scale it down",
        )
    return RequestItem("image", content, (width, height))


def _too_many_bytes(limits: Limits) -> ApiError:
    message = f"a picture is over {limits.picture_bytes:,} bytes: scale it down"
    return ApiError(400, "picture_too_large", message)
