"""The items of a recipe: what the teacher labels and the text student is trained on."""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbraid.distill.recipe import Source
from unbraid.training.rows import train_rows

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


@dataclass(frozen=True)
class TrainingItem:
    """A text or code snippet to label; `anchor` is the description of a code snippet."""

    text: str
    modality: str
    anchor: str = ""


def sentences(text: str, *, least: int = 25) -> list[str]:
    """Sentences of `text` that have at least `least` characters."""
    return [part for part in _SENTENCE_END.split(text) if len(part) >= least]


def _field(row: dict[str, Any], name: str) -> str:
    """A field as stripped text; lone surrogates, which JSON can hold, become U+FFFD as they do when encoding."""
    text = str(row.get(name) or "").strip()
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
