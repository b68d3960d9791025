"""Captioned pictures: those of a data folder, NAME.tar with NAME.jsonl.gz beside it, and drawings."""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.drawings import draw
from unbraid.distill.labels.label_shard import item_key
from unbraid.distill.recipe import ImageTraining
from unbraid.errors import DataError
from unbraid.io.atomic import write_atomic
from unbraid.io.jsonl import read_rows
from unbraid.progress import track
from unbraid.runtime.preprocess import decode
from unbraid.training.data_split import is_dev

CAPTIONS = ("caption", "alt", "title")
LABEL = "label"  # the field that names what a picture shows: a caption of any length
# Longer side of the copies in memory: a crop of one still has the pixels of a tower's input.
KEPT_PIXELS = 224
DRAWN = "drawings"  # the source of drawings
UNSEEN = "unseen"  # first word of the source of a picture from a file that is never trained on
SEEDS_OF_KINDS = 10_000_000  # where those of the drawings of a kind begin
DEV_DRAWINGS = 300  # drawings of seeds that training never uses
SHORTEST = 12  # characters of a caption; shorter ones say too little


@dataclass(frozen=True)
class Picture:
    """A picture in memory (uint8 [H, W, 3], longer side 224), its captions, and where it comes from."""

    pixels: np.ndarray
    captions: tuple[str, ...]
    source: str
    dev: bool
    key: str = ""  # under which it may be labelled; a drawing has none
    kind: str = ""  # of a drawing that only the second stage of the training sees


@dataclass(frozen=True)
class Member:
    """The file of a picture and its captions, best first."""

    name: str  # where it came from
    content: bytes
    captions: tuple[str, ...]
    dev: bool

    @property
    def key(self) -> str:
        """The key under which its vectors are labelled."""
        return item_key("image", self.content)


def recipe_pictures(config: ImageTraining, data: Path) -> list[Picture]:
    """Every picture of a recipe, dev pictures included. Raises DataError as `photographs` does."""
    pictures = list(photographs(data, config.photos))
    pictures += [
        replace(one, dev=True, source=f"{UNSEEN} {one.source}") for one in photographs(data, config.unseen)
    ]
    if config.drawings:
        pictures += drawn(config.drawings)
    if config.second:
        pictures += drawn_of(config.second.kinds)
    return pictures


def members(data: Path, name: str) -> Iterator[Member]:
    """Captioned pictures of `name`.tar below `data`. Raises DataError when it cannot be read."""
    about = {line.text("file"): line.row for line in read_rows(data / f"{name}.jsonl.gz")}
    try:
        with tarfile.open(data / f"{name}.tar") as archive:
            for member in track(archive.getmembers(), name, unit="pictures"):
                row, file = about.get(member.name), archive.extractfile(member)
                if row is None or file is None:
                    continue
                if captions := _captions(row):
                    yield Member(f"{name}.tar/{member.name}", file.read(), captions, is_dev(row))
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{data / name}.tar: cannot be read: {error}") from error


def photographs(data: Path, names: tuple[str, ...]) -> Iterator[Picture]:
    """Pictures of NAME.tar with the captions in NAME.jsonl.gz, for each of `names` below `data`."""
    for name in names:
        for member in members(data, name):
            try:
                pixels = _small(Image.open(io.BytesIO(member.content)))
            except OSError as error:
                raise DataError(f"{data / member.name}: cannot be read: {error}") from error
            yield Picture(pixels, member.captions, name, member.dev, member.key)


def drawn(count: int) -> Iterator[Picture]:
    """`count` drawings for training, and dev drawings of other seeds."""
    for seed in track(range(-DEV_DRAWINGS, count), "draw", unit="pictures"):
        drawing = draw(seed if seed >= 0 else 1_000_000 - seed)
        yield Picture(_small(drawing.image), drawing.captions, DRAWN, seed < 0)


def drawn_of(kinds: Mapping[str, int]) -> Iterator[Picture]:
    """So many drawings of each of `kinds`, for training, with the two captions that say most."""
    for number, kind in enumerate(kinds):
        for seed in track(range(kinds[kind]), f"draw: {kind}", unit="pictures"):
            drawing = draw(SEEDS_OF_KINDS * (number + 1) + seed, kind)
            yield Picture(_small(drawing.image), drawing.captions[-2:], DRAWN, dev=False, kind=kind)


def picture_items(data: Path, names: Sequence[str], folder: Path) -> list[TrainingItem]:
    """The training pictures of `names` as items to label.

    A teacher reads files, so each picture is written to `folder` under its key, once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = {}
    for name in names:
        for member in members(data, name):
            if member.dev:
                continue
            path = folder / f"{member.key}{Path(member.name).suffix.lower()}"
            if not path.exists():
                write_atomic(path, member.content)
            items[member.key] = TrainingItem(member.name, "image", picture=path)
    return list(items.values())


def _captions(row: dict[str, Any]) -> tuple[str, ...]:
    texts = [str(row.get(field) or "").strip() for field in CAPTIONS]
    label = str(row.get(LABEL) or "").strip()
    return tuple(
        dict.fromkeys([*(text for text in texts if len(text) >= SHORTEST), *([label] if label else [])])
    )


def _small(image: Image.Image) -> np.ndarray:
    small = decode(image).copy()
    small.thumbnail((KEPT_PIXELS, KEPT_PIXELS), Image.Resampling.BICUBIC)
    return np.asarray(small)
