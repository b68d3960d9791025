"""What requests and answers look like: OpenAI's and Jina's forms, read into the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import from_json

from unbraid.items import MODALITIES, Modality
from unbraid.serve.engine.engine import Engine, Given, text_too_long
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.limits import Limits
from unbraid.serve.requests.image_input import check_size, is_data_url, picture_too_large, read_base64
from unbraid.serve.settings import Settings

# Jina's names of tasks -> (ours, the modality of plain strings where the name says it).
JINA_TASKS: Mapping[str, tuple[str, Modality | None]] = {
    "retrieval": ("query", None),
    "retrieval.query": ("query", None),
    "retrieval.passage": ("document", None),
    "text-matching": ("symmetric", None),
    "code.query": ("code", None),
    "code.passage": ("code", "code"),
}

_TEXT = {"type": "string", "minLength": 1, "pattern": r"\S"}
_PICTURE = {
    "type": "string",
    "minLength": 1,
    "description": "data URL or base64 of a PNG, JPEG, WebP or GIF; an https URL where the server allows it",
}
_PICTURES = ("image", "url", "bytes")  # the last two as Jina's CLIP models take them
_OBJECT = {
    "anyOf": [
        {"type": "object", "properties": {kind: schema}, "required": [kind], "additionalProperties": False}
        for kind, schema in (("text", _TEXT), ("code", _TEXT), ("image", _PICTURE))
    ]
}
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_ONE = {"anyOf": [_TEXT, _OBJECT]}
_INPUT = {
    "description": "A text, a data URL of a picture, token ids (of the model's own tokenizer with its special tokens "
    "around them, else read as OpenAI's cl100k_base), an object with text, code or image; or a list of those",
    "anyOf": [
        *_ONE["anyOf"],
        _IDS,
        {"type": "array", "items": {"anyOf": [*_ONE["anyOf"], _IDS]}, "minItems": 1},
    ],
}
_VECTORS = {
    "description": "Base vectors: lists of numbers, or base64 of little-endian float32",
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [{"type": "array", "items": {"type": "number"}, "minItems": 1}, {"type": "string"}]},
}

# What is read by hand below, since a union of these shapes gives an error for each branch and each element.
Input = Annotated[Any, WithJsonSchema(_INPUT)]
Query = Annotated[
    Any, WithJsonSchema({"description": "A text, or an object with text, code or image", **_ONE})
]
BaseVectors = Annotated[Any, WithJsonSchema(_VECTORS)]
# Many stars make a pattern slow to compare.
Term = Annotated[str, Field(max_length=300, pattern=r"^[^\x00*]*(\*+[^\x00*]*){0,6}$")]
Terms = Annotated[list[Term], Field(max_length=20)] | None


class Form(BaseModel):
    """A request's JSON object; fields that are not known are left alone, as OpenAI-compatible servers do."""

    model_config = ConfigDict(strict=True, extra="ignore")


class EmbeddingsForm(Form):
    """POST /v1/embeddings."""

    input: Input
    model: str | None = None
    task: str | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    # Jina's name for it, and what LlamaIndex's JinaEmbedding calls it.
    embedding_type: Literal["float", "base64", "binary", "ubinary"] | None = Field(
        None, validation_alias=AliasChoices("embedding_type", "encoding_type")
    )
    normalized: Literal[True] | None = None
    truncate: bool | None = None
    return_multivector: bool | None = None
    late_chunking: Literal[False] | None = None
    user: str | None = None


class MapForm(Form):
    """POST /v1/map."""

    base: BaseVectors
    task: str
    model: str | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class SearchForm(Form):
    """POST /v1/search: a `query`, or the base vector of one as `base`."""

    query: Query = None
    base: Annotated[Any, WithJsonSchema(_VECTORS["items"])] = None
    mode: str = "retrieval"
    k: Annotated[int, Field(ge=1)] = 10
    modality: Literal["text", "code", "image"] | None = None
    paths: Terms = None  # files, folders or patterns, of which one is enough; so with languages
    languages: Terms = None
    where: Terms = None  # conditions on fields, such as "year>=2024"; all have to hold
    hybrid: bool = False  # BM25 of the query's words mixed in; `base` may stand beside them


FormT = TypeVar("FormT", bound=Form)


def read_form(form: type[FormT], body: bytes, limits: Limits) -> FormT:
    """`body` as a `form`. Raises ApiError 400."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > limits.values:
        raise ApiError(
            400, "too_many_values", f"the body holds over {limits.values:,} values: send less at a time"
        )
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ApiError(400, "invalid_json", f"the body is a JSON {type(value).__name__}, expected an object")
    try:
        return form.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"])
        raise ApiError(400, first["type"], f"{param}: {first['msg']}", param=param) from None


def choose_task(
    engine: Engine, settings: Settings, model: str | None, task: str | None
) -> tuple[str, str, Modality]:
    """(model, task, modality of plain strings) that a request asks for, the task in `task` or as `model:task`.

    Raises ApiError 404 for another model, 400 for another task.
    """
    names = (engine.name, *settings.aliases)
    if model is not None and model not in names:
        name, _, suffix = model.rpartition(":")
        if name not in names:
            raise ApiError(
                404,
                "model_not_found",
                f"the model {model[:100]!r} is not served here: expected {', '.join(names)}, or one of them with :task; "
                "the server's --alias NAME adds a name",
                param="model",
            )
        if task is not None and task != suffix:
            raise ApiError(
                400, "invalid_task", f"the model says {suffix[:50]!r}, task {task[:50]!r}", param="task"
            )
        task = suffix
    wanted, kind = JINA_TASKS.get(task or "", (task, None))
    wanted = wanted or engine.default_task
    if wanted not in engine.tasks:
        raise ApiError(
            400,
            "invalid_task",
            f"unknown task {wanted[:50]!r}: expected one of {', '.join((*engine.tasks, *JINA_TASKS))}",
            param="task",
        )
    return model or engine.name, wanted, kind or "text"


def check_dimensions(engine: Engine, dimensions: int | None) -> int | None:
    """`dimensions` itself. Raises ApiError 400 for a length that vectors were not trained for."""
    if dimensions is not None and dimensions not in engine.dims:
        raise ApiError(
            400,
            "invalid_dimensions",
            f"dimensions is {dimensions}: expected one of {', '.join(map(str, engine.dims))}",
            param="dimensions",
        )
    return dimensions


@dataclass(frozen=True)
class Remote:
    """A picture that is still to be fetched."""

    url: str


def read_input(value: object, plain: Modality, engine: Engine, limits: Limits) -> list[Given | Remote]:
    """The items of an `input`: one of them, or a list; strings are of modality `plain`.

    Raises ApiError 400 for any other shape and for what is over a limit.
    """
    several = value if isinstance(value, list) and not _are_ids(value) else [value]
    if not several:
        raise ApiError(
            400, "invalid_input", "input is an empty list: expected at least one item", param="input"
        )
    if len(several) > limits.items:
        raise ApiError(
            400,
            "too_many_items",
            f"input has {len(several):,} items, at most {limits.items:,} are taken",
            param="input",
        )
    items = [_read_item(one, row, plain, limits) for row, one in enumerate(several)]
    ids = sum(
        len(item.content) for item in items if isinstance(item, Given) and isinstance(item.content, list)
    )
    if ids > limits.tokens:  # before they are decoded
        raise too_many_tokens(ids, limits)
    pictures = sum(isinstance(item, Remote) or item.kind == "image" for item in items)
    if pictures > limits.pictures:
        raise ApiError(
            400,
            "too_many_pictures",
            f"input has {pictures} pictures, at most {limits.pictures} are taken",
            param="input",
        )
    for row, item in enumerate(items):
        kind = "image" if isinstance(item, Remote) else item.kind
        if kind not in engine.modalities:
            raise ApiError(
                400,
                "invalid_input",
                f"item {row} is of modality {kind}; {engine.name} encodes {', '.join(engine.modalities)}",
                param="input",
            )
    return items


def _read_item(value: object, row: int, plain: Modality, limits: Limits) -> Given | Remote:
    if isinstance(value, str):
        if is_data_url(value):
            return picture(read_base64(value, limits), limits)
        return _text(value, row, plain, limits)
    if isinstance(value, list) and _are_ids(value):
        return Given(plain, value, characters=limits.characters)
    if isinstance(value, dict) and len(value) == 1:
        kind, content = next(iter(value.items()))
        if kind in _PICTURES and isinstance(content, str) and content:
            if content.startswith(("https://", "http://")):
                return Remote(content)
            return picture(read_base64(content, limits), limits)
        if kind in MODALITIES and isinstance(content, str):
            return _text(content, row, kind, limits)  # type: ignore[arg-type]
    raise ApiError(
        400,
        "invalid_input",
        f"item {row} is a {_shape(value)}: expected a string, a list of token ids, or an object with one of "
        f"{', '.join(MODALITIES)}",
        param="input",
    )


def _text(text: str, row: int, kind: Modality, limits: Limits) -> Given:
    if not text.strip():
        raise ApiError(400, "invalid_input", f"item {row} is an empty text", param="input")
    if len(text) > limits.characters:
        raise text_too_long(row, len(text), limits.characters)
    return Given(kind, text)


def picture(content: bytes, limits: Limits) -> Given:
    """The item of a picture file's bytes. Raises ApiError 400."""
    if len(content) > limits.picture_bytes:
        raise picture_too_large(limits)
    return Given("image", content, check_size(content, limits))


def too_many_tokens(count: int, limits: Limits) -> ApiError:
    """The refusal of a request over the token limit."""
    return ApiError(
        400,
        "too_many_tokens",
        f"the request has {count:,} tokens, at most {limits.tokens:,} are taken: send fewer items at a time",
        param="input",
    )


def _are_ids(value: Sequence[object]) -> bool:
    """Whether a list is one item's token ids: whole numbers, the first of them telling."""
    if not value or type(value[0]) is not int:
        return False
    return all(type(one) is int and -1 < one < 1 << 31 for one in value)


def _shape(value: object) -> str:
    if isinstance(value, dict):
        return f"object with {len(value)} fields"
    names = {str: "string", list: "list", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


# -- answers, written out for the OpenAPI document; the server makes them by hand, which is several times as fast


class Usage(BaseModel):
    """Tokens that were encoded, special tokens and prompts among them. A bundle's pictures have none."""

    prompt_tokens: int
    total_tokens: int


class Embedding(BaseModel):
    """One item's vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding", "embeddings"]
    index: int
    embedding: list[float] | str | None = None
    embeddings: list[list[float]] | None = None  # one vector a token, with return_multivector


class EmbeddingsAnswer(BaseModel):
    """Answer of /v1/embeddings and /v1/map."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Hit(BaseModel):
    """A result of a search."""

    rank: int
    score: float
    path: str
    modality: Literal["text", "code", "image"]
    first_line: int | None
    last_line: int | None
    snippet: str
    cosine: float | None  # both in a hybrid search only, whose score they make up
    bm25: float | None
    picture: str | None


class SearchAnswer(BaseModel):
    """Answer of /v1/search; `base` is the query's base vector, to search again by in another mode."""

    object: Literal["list"]
    mode: str
    data: list[Hit]
    base: str
    encoded: bool  # false for a search by `base`
    usage: Usage


class ModelAnswer(BaseModel):
    """A model that is served, or one under a task."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsAnswer(BaseModel):
    """Answer of /v1/models."""

    object: Literal["list"]
    data: list[ModelAnswer]


class Health(BaseModel):
    """Answer of /health and /ready."""

    status: str


class ErrorAbout(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Every refusal."""

    error: ErrorAbout
    detail: str
