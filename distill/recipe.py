"""A recipe: the typed contents of one TOML file, saved whole beside everything it made."""

import dataclasses
import inspect
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from unbraid.errors import DataError

SearchMode: TypeAlias = Literal["retrieval", "symmetric", "code"]


@dataclass(frozen=True)
class Source:
    """One data file and which of its fields are texts and which are code."""

    file: str  # below the data folder
    licence: str
    text: tuple[str, ...] = ()  # fields that hold a text
    code: tuple[str, ...] = ()  # fields that hold code; its target leans on the row's `anchor` text
    sentences: bool = False  # also use every sentence of the texts as an item
    limit: int = 0  # at most this many rows, a seeded sample; 0 = all


@dataclass(frozen=True)
class TextTraining:
    """How the text student is trained."""

    layers: tuple[int, ...] = (0, 2, 5)  # backbone layers kept
    max_tokens: int = 256
    batch_tokens: int = 4096  # padded tokens in one step
    epochs: tuple[int, ...] = (2,)  # of each cosine cycle; a cycle starts from half the last one's rate
    learning_rate: float = 5e-4
    projection_learning_rate: float = 1e-3
    warmup: float = 0.03  # share of a cycle's steps
    kl_weight: float = 0.5  # in-batch score distribution, temperature 0.05
    prefix_weight: float = 0.25  # cosine at each Matryoshka prefix
    code_anchor: float = 0.5  # share of the description's vector in the target of a code snippet


@dataclass(frozen=True)
class ImageTraining:
    """How the image tower is trained."""

    tower: str = "timm:mobilenetv4_conv_small"
    size: int = 128  # pixels, square, the whole picture padded with white
    photos: tuple[str, ...] = ()  # NAME for NAME.tar beside NAME.jsonl.gz
    drawings: int = 0  # pictures made by unbraid.drawings
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    contrastive_weight: float = 1.0
    temperature: float = 0.07
    queue: int = 4096  # caption vectors kept as negatives


@dataclass(frozen=True)
class MapperTraining:
    """How the mappers of one search mode are fitted on cached base vectors."""

    kind: Literal["linear", "low-rank"]
    loss: Literal["ranking", "cosent"]  # of pairs, of graded pairs
    files: tuple[str, ...]
    rank: int = 32
    steps: int = 400
    batch: int = 512
    learning_rate: float = 1e-3
    recovery: float = 1.0  # weight of (1 - cos(mapped, base))
    modality: Literal["text", "code"] = "text"  # of the positives


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a bundle, but the data files themselves."""

    name: str
    version: str
    seed: int
    teacher: str
    items: int  # label and train on this many of the sources' items, a seeded sample; 0 = all
    precision: Literal["float32", "bfloat16"]  # of the matrix products of teacher and training
    source: tuple[Source, ...]
    text: TextTraining
    image: ImageTraining
    mapper: dict[SearchMode, MapperTraining]
    backbone_licence: str = (
        ""  # for the card: name and licence of the pre-trained weights the students start from
    )
    limits: tuple[str, ...] = ()  # for the card: what a user should not expect


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at `path`; a bare name such as "starter" means the one shipped in distill/recipes.

    Raises DataError for a file that is not TOML, an unknown key, a missing one, a value of another type, or a
    data file that is used without a source that states its licence.
    """
    shipped = Path(__file__).parent / "recipes" / f"{path}.toml"
    path = path if path.is_file() or not shipped.exists() else shipped
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable recipe: {error}") from error
    recipe: Recipe = _read({"source": [], "text": {}, "image": {}, "mapper": {}} | values, Recipe, str(path))
    used = {file for mapper in recipe.mapper.values() for file in mapper.files}
    used |= {f"{name}.jsonl.gz" for name in recipe.image.photos}
    if unlicensed := sorted(used - {source.file for source in recipe.source}):
        raise DataError(f"{path}: {', '.join(unlicensed)} used without a [[source]] that states its licence")
    return recipe


def _read(value: Any, hint: Any, where: str) -> Any:
    """The TOML `value` as a `hint`, the type of a field above. Raises DataError that begins with `where`."""
    origin, parts = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise DataError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(hints)}")
        fields = {key: _read(one, hints[key], f"{where}: {key}") for key, one in value.items()}
        try:
            return hint(**fields)
        except TypeError as error:
            raise DataError(f"{where}: {error}") from error
    if origin is tuple and isinstance(value, list):
        return tuple(_read(one, parts[0], f"{where} {number}") for number, one in enumerate(value, 1))
    if origin is dict and isinstance(value, dict):
        return {
            _read(key, parts[0], where): _read(one, parts[1], f"{where}.{key}") for key, one in value.items()
        }
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is hint or (origin is Literal and value in parts):
        return value
    raise DataError(f"{where}: {value!r} where {inspect.formatannotation(hint, __name__)} is expected")


def recipe_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, for the record beside a checkpoint and for the bundle's card."""
    return dataclasses.asdict(recipe)
