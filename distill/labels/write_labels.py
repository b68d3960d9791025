"""Label: write the teacher's vectors of every item once. Labelling can be stopped and resumed at any moment."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import Labels, item_key, text_key
from unbraid.distill.labels.label_store import (
    Description,
    LabelStore,
    check_same_store,
    open_labels,
    read_description,
)
from unbraid.errors import DataError
from unbraid.items import Code, Item
from unbraid.progress import counting
from unbraid.teacher import Teacher, load

# A kill loses what is not in a shard yet: at most this many items, or this many seconds of work and one chunk. Larger
# shards save no bytes (2.2 kB an item with three routes of 384, also in shards of 8,192).
SHARD = 2048
SHARD_SECONDS = 300.0
# Items between two steps of the progress. Over 8,192 of the starter's items in batches of 2,048 tokens, padding adds
# 5 % to whole shards, 14 % to chunks of like length, and 28 % to chunks as they come.
CHUNK = 256


@dataclass(frozen=True)
class Labelled:
    """The result of labelling: items `wanted` in the store, labelled `before` and `now`, and whether Ctrl-C ended it."""

    wanted: int
    before: int
    now: int
    interrupted: bool


def label(
    items: Sequence[TrainingItem], folder: Path, teacher: Teacher, *, tasks: Sequence[str] = ()
) -> Labelled:
    """Label those of `items` that are not in `folder` yet, each once, in order.

    One vector is stored for every distinct route of `tasks` (all tasks of the teacher if empty). After Ctrl-C or an
    error everything labelled so far is in the store, after a kill everything but the last shard.
    Raises DataError when there is no item, the teacher cannot read one, or the folder holds labels of another
    teacher or other routes; ItemError and TeacherError as the teacher does.
    """
    routes = routes_of(teacher, tasks)
    check_readable(items, teacher)
    if not items:
        raise DataError("nothing to label: the data hold no item")
    by_key = keyed(items)
    with open_labels(folder, describe(teacher, routes)) as store:
        before = len(store.keys)
        store.want(set(by_key))
        interrupted = False
        try:
            _label_missing(by_key, store, teacher, routes)
        except KeyboardInterrupt:
            interrupted = True
        return Labelled(store.wanted, before, len(store.keys) - before, interrupted)


def routes_of(teacher: Teacher, tasks: Sequence[str]) -> dict[str, str]:
    """Each distinct route of `tasks` (all if empty) with a task that it answers. Raises DataError for an unknown task."""
    if unknown := [task for task in tasks if task not in teacher.routes]:
        raise DataError(
            f"{', '.join(unknown)}: no task of {teacher.id}, which has {', '.join(teacher.routes)}"
        )
    return {route: task for task, route in teacher.routes.items() if not tasks or task in tasks}


def describe(teacher: Teacher, routes: Iterable[str]) -> Description:
    """The description of a store of `teacher`'s vectors by `routes`."""
    names = tuple(routes)
    tasks = {task: route for task, route in teacher.routes.items() if route in names}
    return Description(teacher.id, teacher.about, names, teacher.dim, tasks)


def teacher_of_store(name: str, folder: Path, *, device: str | None = None) -> Teacher:
    """The teacher `name`, in the dtype in which it made the store in `folder`. Raises DataError when another made it."""
    about = read_description(folder)
    teacher = load(name, device=device, dtype=about["about"].get("dtype"))
    check_same_store(folder, describe(teacher, about["routes"]))
    return teacher


def check_readable(items: Sequence[TrainingItem], teacher: Teacher) -> None:
    """Raise DataError when there are items of a modality that the teacher has not."""
    for modality in dict.fromkeys(item.modality for item in items):
        if modality not in teacher.modalities:
            count = sum(item.modality == modality for item in items)
            raise DataError(
                f"{count} items are {modality}, and {teacher.id} encodes {' and '.join(teacher.modalities)}"
                " alone: choose another teacher, or leave them out"
            )


def keyed(items: Sequence[TrainingItem]) -> dict[str, TrainingItem]:
    """The first item of each key, in order. Raises DataError for a picture that cannot be read."""
    by_key: dict[str, TrainingItem] = {}
    for item in items:
        by_key.setdefault(_key(item), item)
    return by_key


def as_item(modality: str, text: str, picture: Path | None) -> Item:
    """The item to encode. The teacher itself splits identifiers if its vocabulary needs that."""
    if modality == "image":
        assert picture is not None
        return picture
    return Code(text) if modality == "code" else text


def _key(item: TrainingItem) -> str:
    if item.picture is None:
        return text_key(item.modality, item.text)
    try:
        return item_key(item.modality, item.picture.read_bytes())
    except OSError as error:
        raise DataError(f"{item.picture}: cannot be read: {error.strerror or error}") from error


def _label_missing(
    items: Mapping[str, TrainingItem], store: LabelStore, teacher: Teacher, routes: Mapping[str, str]
) -> None:
    """Label missing items chunk by chunk; each shard takes SHARD of `items` and grows until it is full.

    Shards, chunks and their order depend on `items` alone, so a stop changes nothing: which items share a batch decides
    the last bits of a vector, and the order of rows decides the order of training.
    """
    keys = list(items)
    place = {key: row for row, key in enumerate(keys)}
    with counting("label", unit="items", total=store.wanted, done=len(store.keys)) as advance:
        for start in range(0, len(keys), SHARD):
            shard = {key: items[key] for key in keys[start : start + SHARD]}
            if not shard.keys() <= store.keys:
                _label_shard(shard, place, store, teacher, routes, advance)


def _label_shard(
    shard: Mapping[str, TrainingItem],
    place: Mapping[str, int],
    store: LabelStore,
    teacher: Teacher,
    routes: Mapping[str, str],
    advance: Callable[[int], None],
) -> None:
    """Label the missing items of one shard. It is written when it is full, every 300 seconds, and after an error."""
    begun = store.reopen(shard.keys())
    done = [begun] if begun else []
    written = len(done)
    began = time.monotonic()

    def write() -> None:
        nonlocal began, written
        if len(done) > written:
            written = len(done)
            store.grow(_joined(done, place))
        began = time.monotonic()

    try:
        for chunk in _chunks(shard):
            if missing := {key: item for key, item in chunk.items() if key not in store.keys}:
                done.append(_label_chunk(missing, teacher, routes))
                advance(len(missing))
                if time.monotonic() - began >= SHARD_SECONDS:
                    write()
    finally:
        write()


def _chunks(shard: Mapping[str, TrainingItem]) -> list[dict[str, TrainingItem]]:
    """The items of a shard in chunks of similar length, which need little padding.

    The chunks are shuffled: otherwise the time left would at first be estimated from short items only.
    """
    by_length = sorted(shard.items(), key=lambda pair: (pair[1].modality == "image", len(pair[1].text)))
    chunks = [dict(by_length[start : start + CHUNK]) for start in range(0, len(by_length), CHUNK)]
    random.Random(0).shuffle(chunks)
    return chunks


def _label_chunk(chunk: Mapping[str, TrainingItem], teacher: Teacher, routes: Mapping[str, str]) -> Labels:
    """A vector of each route for the items of `chunk`."""
    items = list(chunk.values())
    given = [as_item(item.modality, item.text, item.picture) for item in items]
    vectors = {route: teacher.encode(given, task).astype(np.float16) for route, task in routes.items()}
    return Labels(
        texts=[item.text for item in items],
        modalities=[item.modality for item in items],
        anchors=[item.anchor for item in items],
        vectors=vectors,
        keys=list(chunk),
    )


def _joined(chunks: Sequence[Labels], place: Mapping[str, int]) -> Labels:
    """`chunks` as one, in the order of `place`, so that the first rows are a fair sample of the rest."""
    joined = Labels(
        texts=[text for chunk in chunks for text in chunk.texts],
        modalities=[modality for chunk in chunks for modality in chunk.modalities],
        anchors=[anchor for chunk in chunks for anchor in chunk.anchors],
        vectors={
            route: np.concatenate([chunk.vectors[route] for chunk in chunks]) for route in chunks[0].vectors
        },
        keys=[key for chunk in chunks for key in chunk.keys],
    )
    return joined.take(sorted(range(len(joined.keys)), key=lambda row: place[joined.keys[row]]))
