"""`adopt`: from a model of another library to a bundle, step by step."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unbraid.adopt.identity_mapper import write_identity
from unbraid.adopt.models import AdoptedModel, TextModel
from unbraid.adopt.read_model import read_model
from unbraid.adopt.text_graphs import write_text_graphs
from unbraid.bundle import FORMAT
from unbraid.export.bundle_writer import bundle_folder, graphs_and_tokenizers, seal
from unbraid.export.parity import Parity
from unbraid.export.text_tiers import file_hash
from unbraid.tasks import SEARCH_MODES, TASKS

IDENTITY = "identity.mapper.fp32.onnx"


def adopt(model: str | Path, out: Path) -> list[Parity]:
    """Write `model`, a folder or hub id, as the bundle `out`; returns the parity of every graph.

    Raises AdoptError, which names the file or module, for a model that cannot become a bundle.
    """
    found = read_model(model)
    text = found.text
    assert text is not None
    with bundle_folder(out) as folder:
        graphs, parities = write_text_graphs(text, folder, "text")
        text.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        entry = {
            "id": identity(text),
            "graphs": graphs,
            "tokenizer": "tokenizer.json",
            "max_tokens": text.max_tokens,
            "split_identifiers": False,
        }
        write_identity(folder / IDENTITY, text.dim)
        mapper = {"id": file_hash(folder / IDENTITY), "kind": "identity", "graphs": {"fp32": IDENTITY}}
        (folder / "parity.json").write_text(json.dumps([asdict(one) for one in parities], indent=1))
        about = _manifest(
            found, folder, text.dim, {"text": entry, "code": entry}, {task: mapper for task in TASKS}
        )
        seal(folder, about, f"# {about['name']} {about['version']}\n")
    return parities


def identity(text: TextModel) -> str:
    """Short hash of all that decides a vector: weights, tokenizer, length, prompts, and what the reader says."""
    tensors = sorted(
        hashlib.sha256(f"{one.dtype} {list(one.shape)}".encode() + one.numpy().tobytes()).hexdigest()
        for one in text.encoder.state_dict().values()
    )
    rest = {
        "tokenizer": text.tokenizer.to_str(),
        "max_tokens": text.max_tokens,
        "prompts": dict(text.prompts),
        "about": dict(text.about),
    }
    return hashlib.sha256(json.dumps([tensors, rest], sort_keys=True).encode()).hexdigest()[:16]


def _manifest(
    found: AdoptedModel, folder: Path, dim: int, modalities: Mapping[str, Any], mappers: Mapping[str, Any]
) -> dict[str, Any]:
    base_ids = "".join(spec["id"] for spec in modalities.values())
    base_id = hashlib.sha256(base_ids.encode()).hexdigest()[:16]
    return {
        "format": FORMAT,
        "name": found.name,
        "version": base_id[:8],
        "id": file_hash(*graphs_and_tokenizers(folder)),
        "base_id": base_id,
        "dim": dim,
        "dims": [dim],
        "modalities": modalities,
        "mappers": mappers,
        "search_modes": SEARCH_MODES,
        "licences": {found.name: found.licence},
        "scores": {},
    }
