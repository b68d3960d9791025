"""The items of an `input` or a `query`: strings, token ids, objects with text, code or image, data URLs."""

from collections.abc import Sequence
from dataclasses import dataclass

from unbraid.items import MODALITIES, Modality
from unbraid.serve.engine.engine import Engine, RequestItem
from unbraid.serve.engine.errors import TextTooLong
from unbraid.serve.http.errors import ApiError
from unbraid.serve.limits import Limits
from unbraid.serve.requests.image_input import image_item, read_base64

_PICTURES = ("image", "url", "bytes")  # the last two are the names of Jina's CLIP models


@dataclass(frozen=True)
class RemoteImage:
    """A picture that is still to be fetched."""

    url: str


def read_input(
    value: object, plain: Modality, engine: Engine, limits: Limits
) -> list[RequestItem | RemoteImage]:
    """The items of an `input`: one item, or a list. Strings are of modality `plain`.

    Raises ApiError 400 and TextTooLong for any other shape and for what is over a limit.
    """
    several = value if isinstance(value, list) and not _are_ids(value) else [value]
    if not several:
        raise _refusal("invalid_input", "input is an empty list: expected at least one item")
    if len(several) > limits.items:
        message = f"input has {len(several):,} items, at most {limits.items:,} are allowed"
        raise _refusal("too_many_items", message)
    items = [_read_item(one, row, plain, limits) for row, one in enumerate(several)]
    kinds = [item.kind if isinstance(item, RequestItem) else "image" for item in items]
    contents = [item.content for item in items if isinstance(item, RequestItem)]
    check_tokens(sum(len(ids) for ids in contents if isinstance(ids, list)), limits)  # before decoding them
    if (pictures := kinds.count("image")) > limits.pictures:
        message = f"input has {pictures} pictures, at most {limits.pictures} are allowed"
        raise _refusal("too_many_pictures", message)
    for row, kind in enumerate(kinds):
        if kind not in engine.modalities:
            message = (
                f"item {row} is of modality {kind}; {engine.name} encodes {', '.join(engine.modalities)}"
            )
            raise _refusal("invalid_input", message)
    return items


def check_tokens(count: int, limits: Limits, *, multi: bool = False) -> None:
    """Raise ApiError 400 for a request of too many tokens; `multi` asks for a vector of each."""
    most = min(limits.tokens, limits.multi_vector_tokens) if multi else limits.tokens
    if count > most:
        raise _refusal(
            "too_many_tokens",
            f"the request has {count:,} tokens, at most {most:,} are allowed: send fewer items at a time",
        )


def _read_item(value: object, row: int, plain: Modality, limits: Limits) -> RequestItem | RemoteImage:
    kind: str = plain
    received = type(value).__name__
    if isinstance(value, list) and _are_ids(value):
        return RequestItem(plain, value)
    if isinstance(value, str) and value.startswith("data:image/"):
        return image_item(read_base64(value, limits), limits)
    if isinstance(value, dict) and len(value) == 1:
        ((kind, value),) = value.items()
        if kind in _PICTURES and isinstance(value, str) and value:
            if value.startswith(("https://", "http://")):
                return RemoteImage(value)
            return image_item(read_base64(value, limits), limits)
    if isinstance(value, str) and kind in MODALITIES:
        if not value.strip():
            raise _refusal("invalid_input", f"item {row} is an empty text")
        if len(value) > limits.characters:
            raise TextTooLong(row, len(value), limits.characters)
        return RequestItem(kind, value)  # type: ignore[arg-type]
    raise _refusal(
        "invalid_input",
        f"item {row} is of type {received}: expected a string, a list of token ids, or an object with one of "
        f"{', '.join(MODALITIES)}",
    )


def _are_ids(value: Sequence[object]) -> bool:
    """Whether a list holds the token ids of one item: whole numbers of at least 0."""
    if not value or type(value[0]) is not int:
        return False
    return all(type(one) is int and -1 < one < 1 << 31 for one in value)


def _refusal(code: str, message: str) -> ApiError:
    return ApiError(400, code, message, param="input")
