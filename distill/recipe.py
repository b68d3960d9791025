"""A recipe: the typed contents of one TOML file, saved whole beside everything it made."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from unbraid.errors import DataError


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
    epochs: int = 2
    learning_rate: float = 5e-4
    projection_learning_rate: float = 1e-3
    warmup: float = 0.03  # share of all steps
    kl_weight: float = 0.5  # in-batch score distribution, temperature 0.05
    prefix_weight: float = 0.25  # cosine at each Matryoshka prefix
    code_anchor: float = 0.5  # share of the description's vector in the target of a code snippet


@dataclass(frozen=True)
class ImageTraining:
    """How the image tower is trained."""

    tower: str = "timm:mobilenetv4_conv_small"
    size: int = 128  # pixels, square, the whole picture padded with white
    photos: tuple[str, ...] = ()  # NAME for NAME.tar beside NAME.jsonl.gz
    drawings: int = 0  # pictures from distill/drawings.py
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

    kind: str  # "linear" or "low-rank"
    loss: str  # "ranking" (pairs) or "cosent" (graded pairs)
    files: tuple[str, ...]
    rank: int = 32
    steps: int = 400
    batch: int = 512
    learning_rate: float = 1e-3
    recovery: float = 1.0  # weight of (1 - cos(mapped, base))
    modality: str = "text"  # of the positives


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a bundle, but the data files themselves."""

    name: str
    version: str
    seed: int
    teacher: str
    items: int  # label and train on this many of the sources' items, a seeded sample; 0 = all
    precision: str  # "float32" or "bfloat16": the matrix products of teacher and training
    source: tuple[Source, ...]
    text: TextTraining
    image: ImageTraining
    mapper: dict[str, MapperTraining]  # for each search mode


def _build(kind: type, values: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise DataError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(hints)}")
    tidy = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return kind(**tidy)
    except TypeError as error:
        raise DataError(f"{where}: {error}") from error


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at `path`; a bare name such as "starter" means the one shipped in distill/recipes.

    Raises DataError for a file that is not TOML, an unknown key or a missing one.
    """
    shipped = Path(__file__).parent / "recipes" / f"{path}.toml"
    path = path if path.exists() or not shipped.exists() else shipped
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not a readable recipe: {error}") from error
    values["source"] = tuple(
        _build(Source, source, f"{path}: source {number}")
        for number, source in enumerate(values.get("source", []), 1)
    )
    values["text"] = _build(TextTraining, values.get("text", {}), f"{path}: text")
    values["image"] = _build(ImageTraining, values.get("image", {}), f"{path}: image")
    values["mapper"] = {
        task: _build(MapperTraining, fields, f"{path}: mapper.{task}")
        for task, fields in values.get("mapper", {}).items()
    }
    recipe: Recipe = _build(Recipe, values, str(path))
    return recipe


def recipe_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, for the record beside a checkpoint and for the bundle's card."""
    return dataclasses.asdict(recipe)
