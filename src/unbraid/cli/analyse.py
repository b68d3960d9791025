"""`unbraid analyse`: the geometry of the space that texts and pictures share, for several models side by side."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import typer

from unbraid.cli.analyse_multi_vectors import analyse_multi_vectors
from unbraid.cli.options import Device, one_of
from unbraid.errors import DataError, require
from unbraid.items import Item
from unbraid.loading import load
from unbraid.runtime.routing import query_side
from unbraid.tasks import SEARCH_MODES

STARTER = "starter"
TEACHER, CLIP = "teacher:", "open_clip:"
PAPER_PAIRS = 1000  # of each data set in the paper

Views: TypeAlias = Mapping[str | None, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class _Model:
    """`encode` maps queries and documents to vectors by search mode; `about` is what decides the vectors."""

    name: str
    about: Mapping[str, object]
    encode: Callable[[Sequence[Item], Sequence[Item]], Views]


def analyse(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="starter, a bundle folder or hub id org/name; teacher:NAME, as `unbraid train label --teacher` takes it; "
            "open_clip:ARCH:PRETRAINED, or open_clip:ARCH with random weights. Default: the starter.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DATASET",
            help="Captioned pictures: a .jsonl[.gz] beside a .tar or a folder of that name.",
        ),
    ] = None,
    multi_vectors: Annotated[
        Path | None,
        typer.Option(
            "--multi-vectors",
            metavar="DATASET",
            help="In place of pictures a retrieval set: how many vectors a document carry the score of late interaction.",
        ),
    ] = None,
    tier: Annotated[
        str | None, typer.Option("--tier", help="With --multi-vectors: the tier of both sides.")
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="PAIRS", help="A file of pairs of matched texts; default: two captions of one picture."
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="Search mode: captions are the queries, pictures the documents.",
            callback=one_of(tuple(SEARCH_MODES)),
        ),
    ] = "retrieval",
    split: Annotated[str | None, typer.Option(help="Only rows of this split.")] = None,
    limit: Annotated[
        int, typer.Option(help="At most this many pairs, a seeded sample.", min=2)
    ] = PAPER_PAIRS,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for analysis.json and analysis.png.")
    ] = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each row.")] = False,
) -> None:
    """Measure modality gap, alignment, cone effect, effective rank and recall of models that encode pictures.

    The analysis of section 8 of the jina-embeddings-v4 paper; a bundle is shown with and without its mapper. With
    --multi-vectors: what fewer vectors of each document keep of the score of late interaction.
    """
    if (images is None) == (multi_vectors is None):
        raise typer.BadParameter("give either --images or --multi-vectors")
    if multi_vectors is not None:
        if texts is not None:
            raise typer.BadParameter("--texts goes with --images")
        analyse_multi_vectors(
            models or [STARTER],
            multi_vectors,
            tier=tier,
            mode=mode,
            split=split,
            limit=limit,
            out=out,
            device=device,
            as_json=as_json,
        )
        return
    assert images is not None
    if tier is not None:
        raise typer.BadParameter("--tier goes with --multi-vectors")
    require("scipy", "evaluate")
    if out:
        require("matplotlib", "train")
    from unbraid import __version__
    from unbraid.evaluation.geometry.captioned_pairs import SEED, read_captioned
    from unbraid.evaluation.geometry.report import Report
    from unbraid.evaluation.geometry.report import analyse as measure

    # Load data and all models before the first vector, so that a fault of the last model shows at once.
    data = read_captioned(images, split=split, limit=limit, texts=texts)
    given = models or [STARTER]
    loaded = [_model(name, mode, device) for name in given]
    names = [one.name for one in loaded]
    # An old and a new tower may stand in two bundles of one name and version.
    names = [
        f"{name} ({one})" if names.count(name) > 1 else name for name, one in zip(names, given, strict=True)
    ]
    rows = [
        row
        for name, one in zip(names, loaded, strict=True)
        for row in measure(name, one.encode, data, about=one.about)
    ]
    report = Report(data, {"split": split, "limit": limit, "sample seed": SEED, "unbraid": __version__}, rows)
    typer.echo(report.json_rows() if as_json else report.tables())
    if out:
        report.write(out)
        typer.echo(f"analysis.json and analysis.png in {out}", err=True)


def _model(name: str, mode: str, device: str | None) -> _Model:
    """The model called `name`. Raises DataError for an unknown name and for a model that encodes no pictures."""
    if name.startswith(TEACHER):
        return _teacher(name.removeprefix(TEACHER), mode, device)
    if name.startswith(CLIP):
        return _clip(name.removeprefix(CLIP), device)
    kind, colon, _ = name.partition(":")
    if colon and not os.path.exists(name):
        raise DataError(
            f"{name}: no such bundle, and {kind!r} is no kind of model: expected {TEACHER}NAME, {CLIP}ARCH, a bundle "
            "folder or a hub id org/name"
        )
    return _bundle(name, mode)


def _bundle(name: str, mode: str) -> _Model:
    embedder = load(name)
    _check_pictures(embedder.name, embedder.modalities)
    if mode not in embedder.search_modes:
        raise DataError(
            f"{embedder.name} has no search mode {mode!r}: expected one of {', '.join(embedder.search_modes)}"
        )
    query, document = embedder.search_modes[mode]

    def encode(queries: Sequence[Item], documents: Sequence[Item]) -> Views:
        base_q = embedder.encode(queries, side=query_side((query, document)))
        base_d = embedder.encode(documents)
        mapped = embedder.map(base_q, query), embedder.map(base_d, document)
        return {mode: mapped, None: (base_q, base_d)}

    about = {"bundle": embedder.bundle.id, "base": embedder.base_id, "tasks": [query, document]}
    return _Model(embedder.name, about, encode)


def _teacher(name: str, mode: str, device: str | None) -> _Model:
    require("torch", "teacher")
    from unbraid.teacher import load as load_teacher

    teacher = load_teacher(name, device=device)
    _check_pictures(f"the teacher {name}", teacher.modalities)
    query, document = SEARCH_MODES[mode]

    def encode(queries: Sequence[Item], documents: Sequence[Item]) -> Views:
        return {mode: (teacher.encode(queries, query), teacher.encode(documents, document))}

    about = {"teacher": teacher.id, **teacher.about, "tasks": [query, document]}
    return _Model(f"teacher {name}", about, encode)


def _clip(name: str, device: str | None) -> _Model:
    require("open_clip", "train")
    from unbraid.evaluation.geometry.open_clip_model import Clip

    clip = Clip(name, device)

    def encode(queries: Sequence[Item], documents: Sequence[Item]) -> Views:
        return {None: (clip.encode(queries), clip.encode(documents))}

    return _Model(clip.name, {"open_clip": name, "weights": clip.weights}, encode)


def _check_pictures(name: str, modalities: Sequence[str]) -> None:
    if "image" not in modalities:
        raise DataError(
            f"{name} encodes {', '.join(modalities)} and no pictures: expected a bundle with an image encoder, "
            f"{TEACHER}NAME of a teacher that reads pictures such as jinaai/jina-embeddings-v4, or {CLIP}ARCH"
        )
