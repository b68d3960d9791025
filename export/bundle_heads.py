"""Write a copy of a bundle with multi-vector heads beside its text encoders."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, load_multi_vector_head
from unbraid.bundle import MANIFEST, SMALL
from unbraid.embedder import Embedder
from unbraid.errors import DataError
from unbraid.export.bundle_card import card_with_heads
from unbraid.export.bundle_writer import bundle_folder, graphs_and_tokenizers, seal
from unbraid.export.parity import Parity
from unbraid.export.parity_samples import docstrings
from unbraid.export.text_tiers import file_hash, head_entry, look_counts
from unbraid.runtime.text import TextRuntime

SAMPLES = 64  # texts that a head is compared with torch on


def export_heads(
    recipe: Mapping[str, Any], run: Path, model: Embedder, out: Path, *, scores: dict[str, Any] | None = None
) -> list[Parity]:
    """Write the bundle of `model` with the heads in run/TIER/multi_vector, in place of its own, as the bundle `out`.

    Every other graph, the tokenizers and the ids of the base space stay the same byte for byte, so stored vectors stay
    valid. `recipe` is the table of the recipe that trained them; its name and version become the bundle's. Returns the
    parity of the heads. Raises DataError when no head is trained, one was trained on another encoder, or `out` is something
    else.
    """
    named = recipe["head"]["tiers"]
    tiers = [tier for tier in sorted(named) if (run / tier / HEAD_FOLDER / "record.json").exists()]
    if not tiers:
        raise DataError(f"{run}: no trained head: finish `unbraid train heads` before exporting")
    for tier in tiers:
        _check_encoder(run / tier / HEAD_FOLDER, model, tier)
    bundle = model.bundle.folder
    origin = json.loads((bundle / MANIFEST).read_text())
    with bundle_folder(out) as folder:
        for name in origin["files"]:
            shutil.copyfile(bundle / name, folder / name)
        new: list[Parity] = []
        about = json.loads(json.dumps(origin))  # entries below it are changed
        for tier in tiers:
            entries = about["modalities"] if tier == SMALL else about["tiers"][tier]
            old = entries["text"].get("multi_vector", {"graphs": {}})
            for file in old["graphs"].values():
                (folder / file).unlink()
            runtime = TextRuntime(folder, model.bundle.tiers[tier]["text"], None)
            head = load_multi_vector_head(run / tier / HEAD_FOLDER)
            made, parities = head_entry(head, folder, entries["text"]["graphs"], _inputs(runtime))
            new += parities
            for kind in ("text", "code"):
                entries[kind]["multi_vector"] = made | look_counts(recipe, tier)
        kept = {path.name for path in folder.glob("*.onnx")} - {one.graph for one in new}
        old_parities = [Parity(**one) for one in json.loads((folder / "parity.json").read_text())]
        parities = [one for one in old_parities if one.graph in kept] + new
        (folder / "parity.json").write_text(json.dumps([asdict(one) for one in parities], indent=1))
        graphs = graphs_and_tokenizers(folder)
        about |= {"name": recipe["name"], "version": recipe["version"], "id": file_hash(*graphs)}
        about |= {"scores": scores or origin["scores"]}
        if recipe["look_tier"] in tiers:
            about["look_tier"] = recipe["look_tier"]
        about["licences"] |= {one["file"]: one["licence"] for one in recipe["source"]}
        sizes = {path.name: path.stat().st_size for path in graphs}
        card = card_with_heads(
            (bundle / "README.md").read_text(encoding="utf-8"), origin, about, recipe, parities, sizes
        )
        seal(folder, about, card)
    return new


def _check_encoder(head: Path, model: Embedder, tier: str) -> None:
    """Raise DataError unless the head was trained on the text encoder of this tier, as far as its record says."""
    found = model.bundle.tiers[tier]["text"].id
    wanted = json.loads((head / "record.json").read_text())["results"].get("encoder", found)
    if found != wanted:
        raise DataError(
            f"{head}: trained on text encoder {wanted}, and that of tier {tier} of {model.bundle.folder} is {found}: train with "
            "this bundle in another --run"
        )


def _inputs(runtime: TextRuntime) -> list[dict[str, np.ndarray]]:
    """What the graph of an encoder is given for some texts, a batch of eight at a time."""
    ids, _ = runtime.tokenize(docstrings()[:SAMPLES])
    return [runtime.feed(ids[start : start + 8]) for start in range(0, len(ids), 8)]
