"""The text tiers of a run as graphs and tokenizers, and what the manifest says of them.

Each tier serves text and code: one graph and one tokenizer, two entries. Tiers with equal embeddings share them as a
graph of their own, so that nothing is stored twice.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from unbraid.base_encoders.graph_states import open_with_states
from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, MultiVectorHead, load_multi_vector_head
from unbraid.base_encoders.static_encoder import load_static_encoder
from unbraid.base_encoders.text_encoder import TextEncoder, load_text_encoder
from unbraid.bundle import SMALL, MultiVectorSpec, TextSpec
from unbraid.errors import DataError
from unbraid.export.multi_vector_graph import export_head
from unbraid.export.onnx_graphs import (
    Embeddings,
    WithoutEmbeddings,
    export_layers,
    export_static,
    export_text,
    export_tokens,
    quantize,
)
from unbraid.export.parity import Parity, compare
from unbraid.export.parity_samples import text_cases
from unbraid.runtime.onnx_session import Session, run_graph

# Padded tokens in one run of a static graph: 12.9 us a text of 16 tokens, 24.2 with 512, 14.5 with 4,096.
STATIC_BATCH = 2048
LEAST_ITEMS = 100  # labelled items of a language that a tier is said to be trained on

Cases = Sequence[tuple[Tensor, ...]]  # ids and mask int64 [B, T]


def transformer_tiers(
    run: Path, folder: Path, tiers: Sequence[str], precisions: Sequence[str]
) -> tuple[dict[str, Any], list[Parity]]:
    """Write the graphs of `tiers` in `run` to `folder`; their manifest entries by tier, and the graphs' parity."""
    encoders = {tier: load_text_encoder(run / tier).eval() for tier in tiers}
    groups: dict[str, list[str]] = {}
    for tier, encoder in encoders.items():
        groups.setdefault(_reads(run / tier, encoder), []).append(tier)
    entries: dict[str, Any] = {}
    parities: list[Parity] = []
    for group in groups.values():
        first = "" if SMALL in group else f"{group[0]}."
        tokenizer, max_tokens = _copy_tokenizer(run / group[0], folder / f"{first}tokenizer.json")
        cases = text_cases(tokenizer)
        shared = {precision: f"{first}tokens.{precision}.onnx" for precision in precisions if len(group) > 1}
        if shared:
            module = Embeddings(encoders[group[0]])
            parities += _write(
                folder,
                shared,
                partial(export_tokens, module),
                partial(
                    compare,
                    module,
                    names=["input_ids"],
                    cases=[case[:1] for case in cases],
                    output="token_vectors",
                ),
            )
        for tier in group:
            name = "text" if tier == SMALL else tier
            graphs = {precision: f"{name}.{precision}.onnx" for precision in precisions}
            inputs = _inputs(encoders[tier], cases, from_tokens=bool(shared))
            parities += _encoder(encoders[tier], folder, graphs, inputs)
            files = {"graphs": graphs, "token_graphs": shared, "tokenizer": f"{first}tokenizer.json"}
            if (run / tier / HEAD_FOLDER).exists():
                head = load_multi_vector_head(run / tier / HEAD_FOLDER)
                made, parities_of_head = head_entry(head, folder, graphs, inputs)
                files["multi_vector"] = made | look_counts(head_recipe(run, tier), tier)
                parities += parities_of_head
            limits = {"max_tokens": max_tokens, "batch_tokens": TextSpec.batch_tokens}
            weights = file_hash(
                *sorted((run / tier).rglob("*.safetensors")), folder / f"{first}tokenizer.json"
            )
            entries[tier] = _entries(weights, files | limits, run / tier, tier)
    return entries, parities


def nano_tier(run: Path, folder: Path, precisions: Sequence[str]) -> tuple[dict[str, Any], list[Parity]]:
    """The static tier, as `transformer_tiers`. It shares the tokenizer file of small if the tokenizers are equal."""
    encoder = load_static_encoder(run / "nano")
    of_nano, of_small = (Tokenizer.from_file(str(run / tier / "tokenizer.json")) for tier in ("nano", SMALL))
    name = "tokenizer.json" if of_nano.to_str() == of_small.to_str() else "nano.tokenizer.json"
    tokenizer, max_tokens = _copy_tokenizer(run / "nano", folder / name)
    names, cases = ["input_ids", "attention_mask"], text_cases(tokenizer)
    graphs = {precision: f"nano.{precision}.onnx" for precision in precisions}
    parities = []
    for precision, file in graphs.items():
        int8 = precision == "int8"
        export_static(encoder, folder / file, int8=int8)
        parities.append(compare(encoder, folder / file, names, cases, "base_vector", rounded=int8))
    files = {"graphs": graphs, "tokenizer": name, "max_tokens": max_tokens, "batch_tokens": STATIC_BATCH}
    weights = file_hash(run / "nano" / "static.safetensors", folder / name)
    return _entries(weights, files, run / "nano", SMALL), parities


def head_entry(
    head: MultiVectorHead, folder: Path, graphs: Mapping[str, str], inputs: Sequence[Mapping[str, np.ndarray]]
) -> tuple[dict[str, Any], list[Parity]]:
    """Write the multi-vector head of the encoder with these `graphs` in `folder`; what the manifest says, and the parity.

    A head is compared with torch on the states that the graph gives for `inputs`.
    """
    files, parities = {}, []
    for precision, file in graphs.items():
        files[precision] = f"{file.split('.')[0]}.multi_vector.{precision}.onnx"
        path = folder / files[precision]
        export_head(head, folder / file, path, int8=precision == "int8")
        session, states = open_with_states(folder / file)

        def vectors(given: Tensor, mask: Tensor, session: Session = session, states: str = states) -> Tensor:
            name = next(one.name for one in session.get_inputs() if one.name != "attention_mask")
            found = run_graph(session, states, {name: given.numpy(), "attention_mask": mask.numpy()})
            return head(torch.from_numpy(found), mask)[0]

        cases = [tuple(map(torch.from_numpy, one.values())) for one in inputs]
        parities.append(
            compare(vectors, folder / file, list(inputs[0]), cases, "multi_vectors", rounded=True, head=path)
        )
    ident = file_hash(*(folder / one for one in files.values()))
    return {"id": ident, "graphs": files, "dim": head.projection.out_features}, parities


def head_recipe(run: Path, tier: str) -> dict[str, Any]:
    """The recipe that trained the head of a tier; empty where no record says so."""
    path = run / tier / HEAD_FOLDER / "record.json"
    recipe: dict[str, Any] = json.loads(path.read_text()).get("recipe", {}) if path.exists() else {}
    return recipe


def look_counts(recipe: Mapping[str, Any], tier: str) -> dict[str, float]:
    """What a second look by the head of a tier counts, as a manifest has it (MultiVectorSpec)."""
    look = recipe.get("look", {}).get(tier, {})
    return {
        "look": look.get("tokens", MultiVectorSpec.look),
        "whole": look.get("whole", MultiVectorSpec.whole),
    }


def file_hash(*paths: Path) -> str:
    """Short sha256 over the contents of `paths`."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _reads(folder: Path, encoder: TextEncoder) -> str:
    """What tiers that share token vectors have in common: a hash of tokenizer and embeddings."""
    digest = hashlib.sha256((folder / "tokenizer.json").read_bytes())
    embeddings = getattr(encoder.backbone, "embeddings", encoder.backbone)
    for name, weight in sorted(embeddings.named_parameters()):
        digest.update(name.encode() + weight.detach().numpy().tobytes())
    return digest.hexdigest()


def _inputs(encoder: TextEncoder, cases: Cases, *, from_tokens: bool) -> list[dict[str, np.ndarray]]:
    """What the graph of an encoder is given for `cases`: token ids, or the token vectors that it shares, and the mask."""
    name = "token_vectors" if from_tokens else "input_ids"
    read = Embeddings(encoder) if from_tokens else nn.Identity()
    with torch.no_grad():
        return [{name: read(ids).numpy(), "attention_mask": mask.numpy()} for ids, mask in cases]


def _encoder(
    encoder: TextEncoder, folder: Path, graphs: Mapping[str, str], inputs: Sequence[Mapping[str, np.ndarray]]
) -> list[Parity]:
    """The graph of one tier, on token ids or on the token vectors that it shares."""
    names = list(inputs[0])
    if names[0] == "input_ids":
        export, module = export_text, encoder
    else:
        export, module = export_layers, WithoutEmbeddings(encoder)
    cases = [tuple(map(torch.from_numpy, one.values())) for one in inputs]
    check = partial(compare, module, names=names, cases=cases, output="base_vector")
    return _write(folder, graphs, partial(export, encoder), check, inputs)


def _write(
    folder: Path,
    graphs: Mapping[str, str],
    export: Callable[[Path], None],
    check: Callable[..., Parity],
    inputs: Sequence[Mapping[str, np.ndarray]] = (),
) -> list[Parity]:
    """Write the graph in the precisions asked for. The float32 graph is always compared: int8 is made from it.

    `inputs` tell which products int8 has to store in blocks.
    """
    exact = folder / (graphs["fp32"] if "fp32" in graphs else f"fp32.{graphs['int8']}")
    export(exact)
    parities = [check(path=exact)]
    if "int8" in graphs:
        quantize(exact, folder / graphs["int8"], inputs)
        parities.append(check(path=folder / graphs["int8"], rounded=True))
    if "fp32" not in graphs:
        exact.unlink()
    return parities


def _entries(weights: str, files: Mapping[str, Any], trained: Path, tier: str) -> dict[str, Any]:
    """The manifest's entries of the encoder in the folder `trained`; `tier` is the recipe's whose texts it reads."""
    config = json.loads((trained / "record.json").read_text())["recipe"]["text"][tier]
    languages = (
        ["en"] if config["english"] else _labelled_languages(trained.parent / "labels" / "record.json")
    )
    shared = {**files, "languages": languages}
    split: bool = config["split_identifiers"]
    return {
        "text": {"id": weights, **shared, "split_identifiers": False},
        "code": {"id": f"{weights}-split" if split else weights, **shared, "split_identifiers": split},
    }


def _labelled_languages(record: Path) -> list[str]:
    """The languages that a run has enough labelled texts of; none where its items do not say their language."""
    if not record.exists():
        return []
    seen = json.loads(record.read_text())["results"].get("languages", {})
    return sorted(language for language, items in seen.items() if items >= LEAST_ITEMS)


def _copy_tokenizer(source: Path, target: Path) -> tuple[Tokenizer, int]:
    """Copy the tokenizer of a trained encoder, without the spaces that make half of its JSON.

    Returns the tokenizer and the length it cuts at. Raises DataError for none.
    """
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.save(str(target), pretty=False)
    if not tokenizer.truncation:
        raise DataError(f"{source / 'tokenizer.json'}: sets no truncation length")
    return tokenizer, int(tokenizer.truncation["max_length"])
