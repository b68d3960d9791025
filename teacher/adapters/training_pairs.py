"""Pairs to train or evaluate on: read, tokenized, and encoded once by the unadapted backbone."""

import hashlib
import json
import random
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from unbraid.errors import DataError
from unbraid.io.atomic import atomic_file
from unbraid.io.jsonl import Line, read_rows
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.items import Code, Item
from unbraid.teacher.adapters.adapter_recipe import Source
from unbraid.teacher.adapters.adapter_vectors import vectors_of
from unbraid.teacher.inputs import Input, Reader
from unbraid.teacher.model import Backbone
from unbraid.teacher.routes import Route
from unbraid.training.data_split import is_dev


@dataclass(frozen=True)
class RawPairs:
    """Pairs of one source as items; `grades` only where people graded them."""

    name: str
    left: list[Item]
    right: list[Item]
    grades: list[float] | None


@dataclass(frozen=True)
class Side:
    """The distinct items of one side. Pictures are read when a batch needs them: one takes megabytes as patches."""

    items: list[Item]
    texts: list[Input] | None  # None for pictures
    reader: Reader
    vectors: Tensor  # float32 [n, H] of the unadapted backbone, unit length

    def inputs(self, places: Sequence[int]) -> list[Input]:
        """Inputs of the items at `places`."""
        if self.texts is None:
            return [self.reader.read_picture(self.items[place]) for place in places]
        return [self.texts[place] for place in places]


@dataclass(frozen=True)
class PairSet:
    """Pairs of one source: `rows` int64 [n, 2] are places in `left` and `right`."""

    name: str
    left: Side
    right: Side
    rows: Tensor
    grades: Tensor | None  # float [n]
    positives: list[set[int]]  # known right places of each left item
    negatives: Tensor  # int64 [left items, m] right places, -1 for none


def read_pairs(source: Source, data: Path, *, seed: int, train: bool, pictures: Path) -> RawPairs:
    """Pairs of one source; with `train` without its dev rows. Pictures are unpacked below `pictures`.

    Raises DataError that names the line for a row without the fields that the source names.
    """
    lines = [line for line in read_rows(data / source.file) if not (train and is_dev(line.row))]
    if source.sets:
        lines = [line for line in lines if line.row.get("set") in source.sets]
    if 0 < source.limit < len(lines):
        lines = random.Random(seed).sample(lines, source.limit)
    left_field, right_field = ("a", "b") if source.kind == "graded" else (source.anchor, source.positive)
    if source.kind == "picture":
        right_field, name = "file", source.file.removesuffix(".jsonl.gz")
        pictures /= name
        _unpack(data / f"{name}.tar", pictures)
    left: list[Item] = []
    right: list[Item] = []
    grades = []
    for line in lines:
        a, b = _text(line, left_field), _text(line, right_field)
        if a and b:
            left.append(a)
            right.append(
                Code(b) if source.kind == "code" else pictures / b if source.kind == "picture" else b
            )
            grades.append(_grade(line) if source.kind == "graded" else 1.0)
    if not left:
        raise DataError(f"{source.file}: no pair with text in {left_field!r} and {right_field!r}")
    return RawPairs(source.name, left, right, grades if source.kind == "graded" else None)


def without(pairs: RawPairs, known: set[str]) -> RawPairs:
    """The pairs that hold none of the `known` texts (see `texts_of`). Raises DataError when there are none."""
    keep = [
        row
        for row, (a, b) in enumerate(zip(pairs.left, pairs.right, strict=True))
        if _key(a) not in known and _key(b) not in known
    ]
    if not keep:
        raise DataError(f"{pairs.name}: every pair has a text that is held out")
    grades = None if pairs.grades is None else [pairs.grades[row] for row in keep]
    return RawPairs(pairs.name, [pairs.left[row] for row in keep], [pairs.right[row] for row in keep], grades)


def texts_of(pairs: RawPairs) -> set[str]:
    """Every text of both sides, in lower case and single spaces: what no other split may hold."""
    return {_key(item) for item in (*pairs.left, *pairs.right)}


def some_pairs(pairs: RawPairs, count: int, seed: int) -> RawPairs:
    """A seeded sample of at most `count` pairs."""
    keep = random.Random(seed).sample(range(len(pairs.left)), min(count, len(pairs.left)))
    grades = None if pairs.grades is None else [pairs.grades[row] for row in keep]
    return RawPairs(pairs.name, [pairs.left[row] for row in keep], [pairs.right[row] for row in keep], grades)


def encode_pairs(
    pairs: RawPairs,
    model: Backbone | PeftModel,
    reader: Reader,
    routes: tuple[Route, Route],
    *,
    batch_tokens: int,
    cache: Path,
) -> PairSet:
    """Pairs tokenized under the routes of their two sides, with the vectors of `model` as it is now.

    The vectors are kept in the folder `cache`, which belongs to one backbone.
    """
    left, left_place = _side(
        pairs.left, model, reader, routes[0], batch_tokens, cache, f"encode {pairs.name}"
    )
    right, right_place = _side(
        pairs.right, model, reader, routes[1], batch_tokens, cache, f"encode {pairs.name}"
    )
    positives: list[set[int]] = [set() for _ in left.items]
    for a, b in zip(left_place, right_place, strict=True):
        positives[a].add(b)
    return PairSet(
        pairs.name,
        left,
        right,
        torch.tensor([left_place, right_place]).T,
        None if pairs.grades is None else torch.tensor(pairs.grades),
        positives,
        torch.empty((len(left.items), 0), dtype=torch.long),
    )


def _side(
    items: list[Item],
    model: Backbone | PeftModel,
    reader: Reader,
    route: Route,
    batch_tokens: int,
    cache: Path,
    what: str,
) -> tuple[Side, list[int]]:
    distinct = {(type(item), item): item for item in items}
    place = {key: number for number, key in enumerate(distinct)}
    unique = list(distinct.values())
    strings = [
        item for item in unique if isinstance(item, str)
    ]  # all of them, or none: then they are pictures
    texts = reader.read_texts(strings, [route] * len(strings)) if strings else None

    def inputs() -> list[Input]:
        return texts if texts is not None else [reader.read_picture(item) for item in unique]

    vectors = _cached(
        cache,
        [repr(item) if isinstance(item, Code) else str(item) for item in unique],
        route,
        lambda: vectors_of(model, inputs(), batch_tokens=batch_tokens, what=what),
    )
    return Side(unique, texts, reader, vectors), [place[type(item), item] for item in items]


def _cached(folder: Path, names: list[str], route: Route, compute: Callable[[], Tensor]) -> Tensor:
    """What `compute` gives, kept in `folder` under a hash of the items and their prompt.

    Stages share sources, and an interrupted run should not encode them again.
    """
    digest = hashlib.sha256(json.dumps([names, route.prompt, route.code_prompt]).encode()).hexdigest()[:16]
    path = folder / f"{digest}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        vectors = compute()
        with atomic_file(path, many_writers=True) as unfinished:  # several processes may train tasks at once
            save_file({"vectors": vectors}, unfinished)
    return load_file(path)["vectors"]


def _value(line: Line, field: str) -> object:
    if field not in line.row:
        raise line.wrong(f"no field {field!r}, only {', '.join(line.row)}", "it in every row")
    return line.row[field]


def _grade(line: Line) -> float:
    score = _value(line, "score")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise line.wrong(f"the score {score!r}", "a number")
    return float(score)


def _text(line: Line, field: str) -> str:
    return replace_lone_surrogates(str(_value(line, field) or "").strip())


def _key(item: Item) -> str:
    return " ".join(str(item).lower().split())


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{archive}: cannot be read: {error}") from error
