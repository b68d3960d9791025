"""Write a bundle from a finished run, or a copy of a bundle with a new image tower."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unbraid.base_encoders.image_encoder import ImageEncoder, load_image_encoder
from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER
from unbraid.base_encoders.sample_pictures import load_samples
from unbraid.bundle import FORMAT, MANIFEST, PRECISIONS, SMALL, manifest_hash, read_bundle
from unbraid.errors import BundleError, DataError
from unbraid.export.bundle_card import card, card_with_tower
from unbraid.export.onnx_graphs import export_image, export_mapper, quantize, store_in_half
from unbraid.export.parity import Parity, ParityError, compare
from unbraid.export.parity_samples import image_cases, mapper_cases
from unbraid.export.static_int8 import is_convolutional, quantize_tower
from unbraid.export.text_tiers import file_hash, head_recipe, nano_tier, transformer_tiers
from unbraid.io.atomic import atomic_folder
from unbraid.mappers import load_mapper
from unbraid.tasks import SEARCH_MODES

DIMS = (512, 256, 128, 64)
SAMPLES = 48  # pictures that the ranges of an int8 tower are measured on; others check it


def export_bundle(
    run: Path, out: Path, *, precisions: Sequence[str] = PRECISIONS, scores: dict[str, Any] | None = None
) -> list[Parity]:
    """Export the encoders and mappers of `run` as the bundle `out`; returns the parity of every graph.

    `precisions` are those of the text and image graphs; the first is the default. `scores` go into the manifest and the card. An
    existing bundle is replaced, and only when the new one is complete. Raises BundleError for another precision, DataError when
    the run is not finished or `out` is something else, ParityError when a graph differs from torch.
    """
    if unknown := sorted(set(precisions) - set(PRECISIONS)):
        raise BundleError(f"{out}: graphs of precision {unknown[0]}, expected {' and '.join(PRECISIONS)}")
    image = ["image/record.json"] if (run / "image").exists() else []
    nano = ["nano/record.json"] if (run / "nano").exists() else []
    trained = list(_recipe(run)["text"]) if (run / "mappers" / "record.json").exists() else [SMALL]
    text = [f"{tier}/{file}" for tier in trained for file in ("encoder.json", "record.json")]
    for needed in (*text, "mappers/record.json", *image, *nano):
        if not (run / needed).exists():
            raise DataError(f"{run / needed}: not found: finish `unbraid train distill` before exporting")
    with bundle_folder(out) as folder:
        tiers, parities = transformer_tiers(run, folder, trained, precisions)
        if nano:
            tiers["nano"], parities_of_nano = nano_tier(run, folder, precisions)
            parities += parities_of_nano
        modalities = tiers.pop(SMALL)
        if image:
            modalities["image"], parities_of_tower = _image(run, folder, precisions)
            parities += parities_of_tower
        mappers, parity_of_mappers = _mappers(run, folder, dim=DIMS[0])
        parities += parity_of_mappers
        _manifest(run, folder, modalities, tiers, mappers, parities, scores or {})
    return parities


def export_tower(
    recipe: Mapping[str, Any], run: Path, bundle: Path, out: Path, *, scores: dict[str, Any] | None = None
) -> list[Parity]:
    """Write `bundle` with the image tower of `run` in place of its own, or beside its texts, as the bundle `out`.

    Every other graph, the tokenizers and the base id stay the same byte for byte, so text vectors stay valid. `recipe` is
    the table of the recipe that trained the tower; its name and version become the bundle's. `scores` are those of the
    new bundle. Returns the parity of the image graphs. Raises DataError when the tower is not trained, was trained with
    another bundle's captions, or `out` is something else, BundleError when `bundle` is no bundle.
    """
    if not (run / "image" / "record.json").exists():
        raise DataError(
            f"{run / 'image' / 'record.json'}: not found: finish `unbraid train tower` before exporting"
        )
    read_bundle(bundle)
    record = json.loads((run / "image" / "record.json").read_text())
    wanted = record["results"]["captions by"]
    origin = json.loads((bundle / MANIFEST).read_text())
    if (found := origin["modalities"]["text"]["id"]) != wanted:
        raise DataError(
            f"{run / 'image'}: trained against captions by text encoder {wanted}, and that of {bundle} is {found}: "
            "train with this bundle in another --run"
        )
    with bundle_folder(out) as folder:
        for name in origin["files"]:
            shutil.copyfile(bundle / name, folder / name)
        for file in origin["modalities"].get("image", {"graphs": {}})["graphs"].values():
            (folder / file).unlink()
        image, new = _image(run, folder, list(origin["modalities"]["text"]["graphs"]))
        parities = [Parity(**one) for one in json.loads((folder / "parity.json").read_text())]
        parities = [one for one in parities if not one.graph.startswith("image.")] + new
        (folder / "parity.json").write_text(json.dumps([asdict(one) for one in parities], indent=1))
        graphs = graphs_and_tokenizers(folder)
        about = origin | {
            "name": recipe["name"],
            "version": recipe["version"],
            "id": file_hash(*graphs),
            "modalities": origin["modalities"] | {"image": image},
            "licences": origin["licences"] | _tower_licences(recipe),
            "scores": scores or {},
        }
        sizes = {path.name: path.stat().st_size for path in graphs}
        card_of_bundle = (bundle / "README.md").read_text(encoding="utf-8")
        text = card_with_tower(card_of_bundle, origin, about, recipe, record["commit"], parities, sizes)
        seal(folder, about, text)
    return new


@contextmanager
def bundle_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes the bundle `out` when the block ends. Raises as the exports do."""

    def check() -> None:
        if out.exists() and not (out / MANIFEST).exists() and not (out.is_dir() and not any(out.iterdir())):
            raise DataError(f"{out}: exists and is no bundle: choose another folder")

    with atomic_folder(out, check) as folder:
        yield folder
        read_bundle(folder)


def _image(run: Path, folder: Path, precisions: Sequence[str]) -> tuple[dict[str, Any], list[Parity]]:
    """The graphs of the tower: fp32 with weights in float16, int8 where that keeps its vectors, else fp32 in its place."""
    encoder = load_image_encoder(run / "image")
    size = encoder.preprocess.size
    exact, cases = folder / "image.fp32.onnx", image_cases(size)
    export_image(encoder, exact, size)
    check = partial(compare, encoder, names=["pixel_values"], output="base_vector")
    check(path=exact, cases=cases)  # exact before its weights are rounded
    parities: dict[str, Parity] = {}
    if "int8" in precisions and (parity := _int8_tower(run, encoder, exact, folder / "image.int8.onnx")):
        parities["int8"] = parity
    if "fp32" in precisions or not parities:
        store_in_half(exact)
        parities["fp32"] = check(path=exact, cases=cases, rounded=True)
    else:
        exact.unlink()
    entry = {
        "id": file_hash(run / "image" / "image.safetensors", run / "image" / "encoder.json"),
        "graphs": {
            kind: f"image.{kind}.onnx" for kind in dict.fromkeys([*precisions, "fp32"]) if kind in parities
        },
        "size": size,
        "mean": encoder.preprocess.mean,
        "std": encoder.preprocess.std,
    }
    return entry, list(parities.values())


def _int8_tower(run: Path, encoder: ImageEncoder, exact: Path, target: Path) -> Parity | None:
    """Write the tower in int8; None where it has attention, where there are no pictures to measure, or too much is lost."""
    samples = load_samples(run / "image", encoder.preprocess)
    if samples is None or len(samples) < 2 * SAMPLES or not is_convolutional(exact):
        return None
    quantize_tower(exact, target, np.split(samples[:SAMPLES], SAMPLES // 8))
    others = [(torch.from_numpy(batch),) for batch in np.array_split(samples[SAMPLES:], 8)]
    try:
        return compare(encoder, target, ["pixel_values"], others, "base_vector", rounded=True)
    except ParityError as error:
        warnings.warn(f"the image tower stays in fp32: {error}", stacklevel=2)
        target.unlink()
        return None


def _mappers(run: Path, folder: Path, *, dim: int) -> tuple[dict[str, Any], list[Parity]]:
    """Mapper graphs. fp32 (float16 weights) is the default: int8 activations would make a mapper not quite linear."""
    entries: dict[str, Any] = {}
    parities: list[Parity] = []
    for path in sorted((run / "mappers").glob("*.safetensors")):
        mapper, task = load_mapper(path), path.stem
        graphs = {precision: f"{task}.mapper.{precision}.onnx" for precision in ("fp32", "int8")}
        export_mapper(mapper, folder / graphs["fp32"], dim)
        check = partial(
            compare,
            nn.Sequential(mapper, _Unit()),
            names=["base"],
            cases=mapper_cases(dim),
            output="task_vector",
        )
        check(path=folder / graphs["fp32"])  # exact before its weights are rounded
        quantize(folder / graphs["fp32"], folder / graphs["int8"])
        store_in_half(folder / graphs["fp32"])
        entries[task] = {"id": file_hash(path), "kind": mapper.kind, "graphs": graphs}
        parities += [check(path=folder / name, rounded=True) for name in graphs.values()]
    return entries, parities


class _Unit(nn.Module):
    def forward(self, vectors: Any) -> Any:
        return nn.functional.normalize(vectors, dim=-1)


def _manifest(
    run: Path,
    folder: Path,
    modalities: dict[str, Any],
    tiers: dict[str, Any],
    mappers: dict[str, Any],
    parities: list[Parity],
    scores: dict[str, Any],
) -> None:
    """Write parity.json, README.md and last bundle.json with the hash of every other file."""
    record = json.loads((run / SMALL / "record.json").read_text())
    recipe = _recipe(run)
    (folder / "parity.json").write_text(json.dumps([asdict(parity) for parity in parities], indent=1))
    graphs = graphs_and_tokenizers(folder)
    base_ids = "".join(spec["id"] for spec in modalities.values())  # a further tier lies in the same space
    about = {
        "format": FORMAT,
        "name": recipe["name"],
        "version": recipe["version"],
        "id": file_hash(*graphs),
        "base_id": hashlib.sha256(base_ids.encode()).hexdigest()[:16],
        "dim": DIMS[0],
        "dims": DIMS,
        "modalities": modalities,
        **({"tiers": tiers} if tiers else {}),
        "document_tier": recipe["document_tier"],
        "query_tier": recipe["query_tier"],
        **_look_tier(run),
        "mappers": mappers,
        "search_modes": {mode: tasks for mode, tasks in SEARCH_MODES.items() if set(tasks) <= set(mappers)},
        "licences": _licences(recipe, run / "labels" / "record.json"),
        "scores": scores,
    }
    sizes = {path.name: path.stat().st_size for path in graphs}
    seal(folder, about, card(about, recipe, record, parities, run, sizes))


def _look_tier(run: Path) -> dict[str, str]:
    """The entry `look_tier`, where a head in the run was trained to be it."""
    tiers = [head.parent.name for head in sorted(run.glob(f"*/{HEAD_FOLDER}"))]
    named = [tier for tier in tiers if head_recipe(run, tier).get("look_tier") == tier]
    return {"look_tier": named[0]} if named else {}


def graphs_and_tokenizers(folder: Path) -> list[Path]:
    """The files of a bundle that decide its vectors."""
    return sorted(
        path for path in folder.iterdir() if path.suffix == ".onnx" or path.name.endswith("tokenizer.json")
    )


def seal(folder: Path, about: dict[str, Any], text: str) -> None:
    """Write the card `text`, and last bundle.json with the hash of every other file."""
    (folder / "README.md").write_text(text, encoding="utf-8")
    about["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
    }
    about["sha256"] = manifest_hash(about)
    (folder / MANIFEST).write_text(json.dumps(about, indent=1))


def _recipe(run: Path) -> dict[str, Any]:
    """The recipe of a finished run, as its last stage recorded it."""
    recipe: dict[str, Any] = json.loads((run / "mappers" / "record.json").read_text())["recipe"]
    return recipe


def _licences(recipe: Mapping[str, Any], labels: Path) -> dict[str, str]:
    """Licence of every backbone, of a pre-trained tower, and of every data file that went into the weights.

    `labels` is the record of the labels, which names those of a joined teacher's members and sources.
    """
    backbone, _, licence = recipe["backbone_licence"].rpartition(": ")
    joined = json.loads(labels.read_text())["results"].get("licences", {}) if labels.exists() else {}
    sources = {source["file"]: source["licence"] for source in recipe["source"]}
    own = {} if joined and not licence else {backbone or "backbone": licence}
    return own | _published(recipe) | joined | sources


def _tower_licences(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Licence of a pre-trained tower and of the files with its pictures' captions."""
    files = {f"{name}.jsonl.gz" for name in recipe["image"]["photos"]}
    sources = {source["file"]: source["licence"] for source in recipe["source"] if source["file"] in files}
    return _published(recipe) | sources


def _published(recipe: Mapping[str, Any]) -> dict[str, str]:
    return {recipe["image"]["tower"]: recipe["tower_licence"]} if recipe.get("tower_licence") else {}
