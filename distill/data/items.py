"""Items: what the teacher labels and the students are trained on, from a recipe's sources or a file of their own."""

import os
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbraid.distill.recipe import Recipe, Source
from unbraid.errors import DataError
from unbraid.items import MODALITIES, Modality
from unbraid.training.data_rows import rows, train_rows

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


@dataclass(frozen=True)
class TrainingItem:
    """A text, code snippet or picture to label.

    `anchor` is the description of a code snippet. The text of a picture is where its row says it is; `picture` is
    where it is on this machine.
    """

    text: str
    modality: Modality
    anchor: str = ""
    picture: Path | None = None


def sentences(text: str, *, least: int = 25) -> list[str]:
    """Sentences of `text` that have at least `least` characters."""
    return [part for part in _SENTENCE_END.split(text) if len(part) >= least]


def _field(row: dict[str, Any], name: str) -> str:
    """A field as stripped text; lone surrogates, which JSON can hold, become U+FFFD as they do when encoding."""
    return _mended(str(row.get(name) or "").strip())


def _mended(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def training_items(sources: tuple[Source, ...], folder: Path, *, seed: int) -> list[TrainingItem]:
    """Distinct items of all `sources` below `folder`, shuffled by `seed`."""
    items: dict[tuple[str, str], TrainingItem] = {}
    for source in sources:
        for row in train_rows(folder / source.file, limit=source.limit, seed=seed):
            for field in source.text:
                text = _field(row, field)
                for part in [text, *(sentences(text) if source.sentences else [])]:
                    if part:
                        items.setdefault(("text", part), TrainingItem(part, "text"))
            for field in source.code:
                text = _field(row, field)
                anchor = _field(row, "anchor") if field == "positive" else ""
                if text:
                    items.setdefault(("code", text), TrainingItem(text, "code", anchor))
    shuffled = list(items.values())
    random.Random(seed).shuffle(shuffled)
    return shuffled


def recipe_items(recipe: Recipe, folder: Path, *, most: int | None = None) -> list[TrainingItem]:
    """The first `most` of the recipe's items below `folder`, the recipe's own number of them if None.

    They are in the recipe's shuffled order, so that any first part of them is a fair sample of the whole.
    """
    return training_items(recipe.source, folder, seed=recipe.seed)[: most or recipe.items or None]


def in_data(name: str, data: Path) -> str:
    """A recipe's `name` of a teacher or backbone: the folder below `data` where there is one, else as it is.

    Raises DataError for a recipe that names none.
    """
    if not name:
        raise DataError("the recipe names no teacher, and only `unbraid tower` needs none: add teacher = ...")
    return str(data / name) if os.path.isdir(data / name) else name


def file_items(path: Path) -> list[TrainingItem]:
    """Items of a .jsonl or .jsonl.gz file, in order, each once for every row that holds it.

    A row is {"text": ...}, {"code": ..., "anchor": description or nothing} or {"image": path from the file's folder};
    other fields are passed over. Raises DataError naming the line of any other row.
    """
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{path}: expected a folder, or items in a .jsonl or .jsonl.gz file")
    items = []
    for number, row in enumerate(rows(path), 1):
        try:
            items.append(_item(row, path.parent))
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: line {number}: {error}") from error
    return items


def _item(row: dict[str, Any], folder: Path) -> TrainingItem:
    """The item of a row. Raises ValueError or TypeError with what is wrong."""
    kinds = [modality for modality in MODALITIES if modality in row]
    if len(kinds) != 1:
        found = " and ".join(kinds) or f"only {', '.join(sorted(row)) or 'nothing'}"
        raise ValueError(f"has {found}; expected one of {', '.join(MODALITIES)}")
    modality = kinds[0]
    for name in (modality, "anchor"):
        value = row.get(name, "")
        if not isinstance(value, str):
            raise TypeError(f"{name} is a {type(value).__name__}, expected a string")
    text, anchor = _mended(row[modality]), _mended(row.get("anchor", ""))
    if not text.strip():
        raise ValueError(f"{modality} is empty")
    if anchor and modality != "code":
        raise ValueError(f"an anchor describes code, and this is {modality}")
    if modality == "image" and not os.path.isfile(folder / text):  # Path.is_file raises for a name too long
        raise ValueError(f"no picture {text!r} in {folder}")
    return TrainingItem(text, modality, anchor, folder / text if modality == "image" else None)
