"""The JSON that requests and responses hold, in OpenAI's and Jina's forms; /openapi.json is made from it."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.serve.http.errors import ApiError
from unbraid.serve.limits import Limits

# -- requests. Unknown fields are refused: a misspelt one would silently do nothing.

_TEXT = {"type": "string", "minLength": 1, "pattern": r"\S"}
_PICTURE = {
    "type": "string",
    "minLength": 1,
    "description": "data URL or base64 of a PNG, JPEG, WebP or GIF; an https URL where the server allows it",
}
_OBJECTS = [
    {"type": "object", "properties": {kind: schema}, "required": [kind], "additionalProperties": False}
    for kind, schema in (("text", _TEXT), ("code", _TEXT), ("image", _PICTURE))
]
_ITEM = [_TEXT, {"anyOf": _OBJECTS}]
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_LIST = {"type": "array", "items": {"anyOf": [*_ITEM, _IDS]}, "minItems": 1}
_VECTOR = {"anyOf": [{"type": "array", "items": {"type": "number"}, "minItems": 1}, {"type": "string"}]}

# Items and vectors stay as JSON gives them; input_items.py and base_vectors.py read them, and name the row in an error.
Items = Annotated[
    Any,
    Meta(
        description="A text, a data URL of a picture, token ids (of the model's own tokenizer with its special tokens "
        "around them, else read as OpenAI's cl100k_base), an object with text, code or image; or a list of those",
        extra_json_schema={"anyOf": [*_ITEM, _IDS, _LIST]},
    ),
]
Query = Annotated[
    Any,
    Meta(
        description="A text, or an object with text, code or image; or a list of these, which are one query together",
        extra_json_schema={"anyOf": [*_ITEM, {"type": "array", "items": {"anyOf": _ITEM}, "minItems": 1}]},
    ),
]
BaseVector = Annotated[
    Any,
    Meta(description="A list of numbers, or base64 of little-endian float32", extra_json_schema=_VECTOR),
]
BaseVectors = Annotated[Any, Meta(extra_json_schema={"type": "array", "minItems": 1, "items": _VECTOR})]
Positive = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
# At most six runs of stars, as more make a pattern slow to compare. No run can be split over two groups, so that the
# expression itself takes linear time.
Term = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00*]*(\*+[^\x00*]+){0,5}(\*+[^\x00*]*)?$")]
Terms = Annotated[list[Term], Meta(max_length=20)]


class EmbeddingsRequest(Struct, forbid_unknown_fields=True):
    """POST /v1/embeddings."""

    input: Items
    model: str | None = None
    task: str | None = None
    tier: str | None = None  # which text encoder; by default each text's language chooses
    language: str | None = None  # of the texts, such as "de"; by default found in each
    dimensions: Positive | None = None
    encoding_format: Literal["float", "base64"] | None = None
    embedding_type: Literal["float", "base64", "binary", "ubinary"] | None = None  # Jina's name for it
    encoding_type: Literal["float", "base64", "binary", "ubinary"] | None = None  # LlamaIndex's JinaEmbedding
    normalized: Annotated[bool, Meta(extra_json_schema={"const": True})] | None = None
    truncate: bool | None = None
    return_multivector: bool | None = None
    late_chunking: Annotated[bool, Meta(extra_json_schema={"const": False})] | None = None
    user: str | None = None


class MapRequest(Struct, forbid_unknown_fields=True):
    """POST /v1/map."""

    base: BaseVectors
    task: str
    model: str | None = None
    dimensions: Positive | None = None
    encoding_format: Literal["float", "base64"] | None = None


class SearchRequest(Struct, forbid_unknown_fields=True):
    """POST /v1/search: a `query`, or the base vector of one as `base`; beside it only the words of `query` are read."""

    query: Query = None
    # One number for each item of a query that is a list, less than 0 for "not like this"; without them, items count the
    # same, but words .6 together and pictures .4 where there are both.
    weights: list[float] | None = None
    base: BaseVector = None
    own: BaseVector = None  # beside `base`: the `own` of the answer that gave it
    mode: str = "retrieval"
    k: Positive = 10
    modality: Literal["text", "code", "image"] | None = None
    paths: Terms | None = None  # files, folders or patterns, of which one has to match; so with languages
    languages: Terms | None = None
    where: Terms | None = None  # conditions on fields, such as "year>=2024"; all have to hold
    tier: str | None = None  # which encoder reads a query of words; by default its language chooses
    query_language: str | None = None
    vectors_only: bool = False  # leaves the words of the query out
    min_score: Probability = 0.0  # leaves out hits that are less likely relevant
    # A second look at the first hits of one text: "on", "off", how many, or a time such as "30ms".
    rerank: Annotated[str, Meta(max_length=20)] | None = None
    explain: bool = False  # fills `why` of the hits of one text


# -- responses


class Usage(Struct):
    """Encoded tokens, special tokens and prompts included. A bundle's pictures have none."""

    prompt_tokens: int
    total_tokens: int


class Embedding(Struct, tag_field="object", tag="embedding"):
    """The vector of an item: numbers, or base64 of little-endian float32."""

    index: int
    embedding: Annotated[Any, Meta(extra_json_schema=_VECTOR)]


class MultiVector(Struct, tag_field="object", tag="embeddings"):
    """The vectors of an item's tokens, for return_multivector."""

    index: int
    embeddings: Annotated[Any, Meta(extra_json_schema={"type": "array", "items": _VECTOR})]


class EmbeddingsResponse(Struct, tag_field="object", tag="list"):
    """Answer of /v1/embeddings and /v1/map."""

    data: Sequence[Embedding | MultiVector]
    model: str
    usage: Usage


class Place(Struct):
    """Lines of a file; pages of a PDF; what `unit` says."""

    path: str
    first_line: int | None
    last_line: int | None
    unit: str = ""


class WordPair(Struct):
    """A word of the query, and the word of a hit that answers it best."""

    query: str
    passage: str
    cosine: float


class SearchHit(Struct):
    """A result of a search."""

    rank: int
    score: float
    path: str
    modality: Literal["text", "code", "image"]
    first_line: int | None
    last_line: int | None
    snippet: str
    cosine: float
    bm25: float | None  # where words count
    # Where each line of `snippet` stands, if it was read in a picture: left, top, right, bottom, as shares of its sides.
    boxes: list[list[float]] = []
    # First character and the one after the last, as Unicode counts them, of each of the query's words in `snippet`.
    marks: list[tuple[int, int]] = []
    match: str = ""  # the line or sentence of `snippet` that answers the query best
    within: str = ""  # the headings or definitions around it, outermost first
    copies: list[Place] = []  # where else the same text was found
    picture: str | None = None  # where a thumbnail is served
    unit: str = ""  # what the lines are if they are no lines: "slide", "sheet Sales, row"
    why: list[WordPair] = []  # where it was asked for


class SearchResponse(Struct, tag_field="object", tag="list"):
    """Answer of /v1/search; `base` is the query's base vector, for another search in another mode."""

    mode: str
    data: list[SearchHit]
    base: str
    encoded: bool  # false for a search by `base`
    usage: Usage
    # The query as the tier of many languages encodes it, where texts of that tier are searched too. Goes with `base`.
    own: str | None = None


class FacetsRequest(Struct, forbid_unknown_fields=True):
    """POST /v1/facets: what is counted, as in a search; and the folder whose subfolders are listed."""

    modality: Literal["text", "code", "image"] | None = None
    folder: Term | None = None  # by default the one in which all files lie
    languages: Terms | None = None


class Facet(Struct):
    """A value, and how many chunks have it."""

    value: str
    count: int


class FacetsResponse(Struct):
    """Answer of /v1/facets, the most frequent first. Each list leaves its own filter out, so that another can be chosen."""

    top: str  # the folder in which all files lie
    folder: str
    folders: list[Facet]
    languages: list[Facet]


class UnderWay(Struct):
    """How far the process is that brings the index up to date."""

    what: str  # "indexing", "reading words"
    unit: str  # of `done` and `total`: "files", "pictures"
    done: int
    total: int
    rate: float | None  # units a second; None before the first one is done
    seconds_left: float | None


class Status(Struct):
    """Answer of /v1/status: chunks in the index now, which another process may be changing."""

    items: int
    modalities: dict[str, int]
    hits: int  # the most that a search gives
    under_way: UnderWay | None = None  # None where nothing is being indexed that takes long


class Model(Struct, tag_field="object", tag="model"):
    """A served model, or the model under one task."""

    id: str
    created: int
    owned_by: str = "unbraid"


class ModelsResponse(Struct, tag_field="object", tag="list"):
    """Answer of /v1/models."""

    data: list[Model]


class Health(Struct):
    """Answer of /health and /ready."""

    status: str


class ErrorObject(Struct):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(Struct):
    """Every refusal."""

    error: ErrorObject
    detail: str


# -- reading a request

_CODES = {  # how msgspec's message begins -> the code of the refusal
    "Object missing": "missing",
    "Object contains unknown": "unknown_field",
    "Expected `int` >=": "greater_than_equal",
    "Expected `str` of length": "string_too_long",
    "Expected `str` matching": "string_pattern_mismatch",
    "Expected `array` of length": "too_long",
    "Expected `int": "int_type",
    "Expected `str": "string_type",
    "Expected `bool": "bool_type",
    "Expected `array": "list_type",
}

RequestT = TypeVar("RequestT", bound=Struct)


def _decode(body: bytes) -> Any:
    """The JSON of a body. Half of a surrogate pair, as clients send that cut a text within an emoji, is U+FFFD."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        try:
            whole = json.dumps(json.loads(body), ensure_ascii=False)
        except ValueError:
            raise error from None
    return msgspec.json.decode(replace_lone_surrogates(whole))


def read_request(schema: type[RequestT], body: bytes, limits: Limits) -> RequestT:
    """`body` as a `schema`. Raises ApiError 400."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > limits.values:  # before it takes memory
        message = f"the body holds over {limits.values:,} values: send less at a time"
        raise ApiError(400, "too_many_values", message)
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ApiError(400, "invalid_json", f"the body is a JSON {type(value).__name__}, expected an object")
    try:
        return msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        code = next((code for start, code in _CODES.items() if message.startswith(start)), "invalid_field")
        param = (
            message.split("`")[1]
            if code in ("missing", "unknown_field")
            else place[:-1].replace("[", ".").replace("]", "")
        )
        kind = get_args(get_type_hints(schema).get(param))
        if kind and get_origin(kind[0]) is Literal:
            code, message = "literal_error", f"expected one of {', '.join(get_args(kind[0]))}"
        if code == "missing":
            message = "this field is required"
        if code == "unknown_field":
            near = get_close_matches(param, schema.__struct_fields__, n=1)
            message = f"unknown field{f', did you mean {near[0]}?' if near else ''}"
        raise ApiError(400, code, f"{param}: {message}", param=param) from None
