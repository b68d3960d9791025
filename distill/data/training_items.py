"""Training items: what the teacher labels and the students train on, from a recipe's sources or from a file."""

import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from unbraid.distill.data.item_sources import ENGLISH, language_tag
from unbraid.distill.recipe import Recipe, Source
from unbraid.errors import DataError
from unbraid.io.jsonl import Line, read_rows
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.items import MODALITIES, Modality
from unbraid.training.data_split import train_rows

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


@dataclass(frozen=True)
class TrainingItem:
    """A text, code snippet or picture to label.

    `anchor` is the description of a code snippet, `english` the English side of a text in another language where there
    is one. The text of a picture is its path as the data file gives it; `picture` is its path on this machine.
    """

    text: str
    modality: Modality
    anchor: str = ""
    picture: Path | None = None
    language: str = ENGLISH
    english: str = ""

    def in_english(self) -> "TrainingItem | None":
        """What a teacher that reads English alone labels: the item, its English side, or nothing."""
        if self.modality == "code" or self.language == ENGLISH:
            return self
        return TrainingItem(self.english, "text") if self.english else None


def sentences(text: str) -> list[str]:
    """Sentences of `text` that have at least 25 characters."""
    return [part for part in _SENTENCE_END.split(text) if len(part) >= 25]


def field_text(row: Mapping[str, Any], name: str) -> str:
    """A field as stripped text, with lone surrogates replaced as they are when encoding."""
    return replace_lone_surrogates(str(row.get(name) or "").strip())


def training_items(sources: tuple[Source, ...], folder: Path, *, seed: int) -> list[TrainingItem]:
    """Distinct items of all `sources` below `folder`, shuffled by `seed`."""
    items: dict[tuple[str, str], TrainingItem] = {}
    for source in sources:
        for row in train_rows(folder / source.file, limit=source.limit, seed=seed):
            for field in source.text:
                text = field_text(row, field)
                for part in [text, *(sentences(text) if source.sentences else [])]:
                    if part:
                        items.setdefault(("text", part), TrainingItem(part, "text"))
            for field in source.code:
                text = field_text(row, field)
                anchor = field_text(row, "anchor") if field == "positive" else ""
                if text:
                    items.setdefault(("code", text), TrainingItem(text, "code", anchor))
    shuffled = list(items.values())
    random.Random(seed).shuffle(shuffled)
    return shuffled


def recipe_items(recipe: Recipe, folder: Path, *, most: int | None = None) -> list[TrainingItem]:
    """The first `most` of the recipe's items below `folder`; the recipe's own number of them if None.

    The recipe's seed shuffles them, so any first part is a fair sample.
    """
    return training_items(recipe.source, folder, seed=recipe.seed)[: most or recipe.items or None]


def file_items(path: Path, *, most: int | None = None) -> list[TrainingItem]:
    """The first `most` items of a .jsonl or .jsonl.gz file (all if None), one a row, in order.

    A row is {"text": ...}, {"code": ..., "anchor": its description, if any} or {"image": path from the file's folder}.
    Text in another language has "lang", its code, and may have "english", its translation. Other fields are ignored.
    Raises DataError that names the line for any other row.
    """
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{path}: expected a folder, or items in a .jsonl or .jsonl.gz file")
    return [_item(line) for line in islice(read_rows(path), most)]


def _item(line: Line) -> TrainingItem:
    expected = f"one of the fields {', '.join(MODALITIES)}"
    kinds = [modality for modality in MODALITIES if modality in line.row]
    if len(kinds) != 1:
        raise line.wrong(
            " and ".join(kinds) or f"only {', '.join(sorted(line.row)) or 'an empty object'}", expected
        )
    modality = kinds[0]
    text = replace_lone_surrogates(line.text(modality))
    anchor = replace_lone_surrogates(line.text("anchor", default=""))
    if not text.strip():
        raise line.wrong(f"an empty {modality}", "text in it")
    if anchor and modality != "code":
        raise line.wrong(f"an anchor beside {modality}", "an anchor beside code only, which it describes")
    picture = line.path.parent / text if modality == "image" else None
    if picture is not None and not os.path.isfile(picture):  # Path.is_file raises for a name that is too long
        raise line.wrong(f"no picture {text!r} in {line.path.parent}", "the path of a picture")
    language = language_tag(line.text("lang", default="")) or ENGLISH
    english = replace_lone_surrogates(line.text("english", default=""))
    return TrainingItem(text, modality, anchor, picture, language, english)
