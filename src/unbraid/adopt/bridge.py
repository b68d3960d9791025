"""`adopt --bridge starter`: a model as one more tier of a copy of the starter, in the starter's space.

A further tier lies in a bundle's space by being trained there; here a linear map takes the model there. What that keeps is
measured on texts apart, and a model of which too little is left is refused: its vectors would lie in an index as if they
belonged.
"""

import json
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from unbraid.adopt.adopt import encoder_entries, identity
from unbraid.adopt.adopted import Bridged, Recall
from unbraid.adopt.bridge_card import bridge_card, recall_table
from unbraid.adopt.bridge_map import AffineMap, fit_map, recall
from unbraid.adopt.models import AdoptedModel, TextModel
from unbraid.adopt.sample_texts import sample_texts, vocabulary_words
from unbraid.adopt.text_graphs import write_text_graphs
from unbraid.bundle import MANIFEST, STARTER
from unbraid.embedder import Embedder
from unbraid.errors import AdoptError
from unbraid.export.bundle_writer import bundle_folder, graphs_and_tokenizers, seal
from unbraid.export.parity import Parity
from unbraid.export.text_tiers import file_hash
from unbraid.loading import load
from unbraid.vectors import normalize

WORDS = 5000  # of the starter's vocabulary, fitted on beside the texts: short, and of everything
PARTS = 10  # of the sample, in its order, so that texts of a file stay together
APART = (1, 6)  # the parts that nothing but the recall sees
LEAST_QUESTION, MOST_QUESTION = 15, 200  # characters
LEAST_KEPT = 0.8  # of the starter's own recall, across: below, a model's vectors do not belong in its space


class BridgedEncoder(nn.Module):
    """An encoder, a linear layer with its constant, unit length."""

    def __init__(self, encoder: nn.Module, bridge: AffineMap) -> None:
        """Put `bridge` after `encoder`, whose weights are shared."""
        super().__init__()
        self.encoder = encoder
        self.bridge = nn.Linear(*reversed(bridge.weight.shape))
        with torch.no_grad():
            self.bridge.weight.copy_(torch.from_numpy(bridge.weight))
            self.bridge.bias.copy_(torch.from_numpy(bridge.constant))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Unit vectors [B, out] of what the encoder takes."""
        return nn.functional.normalize(self.bridge(self.encoder(*inputs)), dim=-1)


def write_bridged(found: AdoptedModel, out: Path, sample: Sequence[str], source: str) -> Bridged:
    """Write a copy of the starter with `found` as the tier that reads English texts and code, as the bundle `out`.

    The map is fitted on `sample`, texts in their order, and words of the tokenizer; `source` says what the texts are.
    Pictures are read by the starter. Raises AdoptError for a model that keeps too little of the starter's space.
    """
    if found.text is None or found.query is not None:
        raise AdoptError(
            f"{found.name}: --bridge takes a model with one text encoder for queries and documents"
        )
    starter, origin = load(), json.loads((STARTER / MANIFEST).read_text())
    # A tier's files have its name, and the starter's are to stay.
    taken = {*starter.bundle.tiers, *(name.partition(".")[0] for name in starter.bundle.sizes)}
    tier = tier_name(found.name, taken)
    rows = [*_parts(sample, [one for one in range(PARTS) if one not in APART]), *_words()]
    bridge = _fit(found.text, starter, rows)
    text = bridged(found.text, bridge)
    kept = _recall(found.text, starter, bridge, _parts(sample, APART))
    if min(kept.model_asks, kept.starter_asks) < LEAST_KEPT * kept.starter:
        raise AdoptError(
            f"{found.name}: a linear map does not bring it into the starter's space; across the two a search finds too "
            f"little, expected {LEAST_KEPT:.0%} of what the starter finds alone\n{recall_table(found.name, kept)}\n"
            "Name more texts with --sample, of the kind that you search, or adopt it without --bridge"
        )
    with bundle_folder(out) as folder:
        for name in origin["files"]:
            shutil.copyfile(STARTER / name, folder / name)
        graphs = write_text_graphs(text, identity(text), folder, tier, "document", sample_texts())
        parities = [
            Parity(**one) for one in json.loads((folder / "parity.json").read_text())
        ] + graphs.parities
        (folder / "parity.json").write_text(json.dumps([asdict(one) for one in parities], indent=1))
        notes = list(found.notes)
        if found.image is not None:
            notes.append(f"pictures are read by the starter's tower, not by that of {found.name}")
        made = Bridged(found.name, tier, graphs, len(rows), source, kept, graphs.parities, notes)
        about = _manifest(origin, folder, found, made)
        seal(folder, about, bridge_card(about, origin, made))
    return made


def bridged(text: TextModel, bridge: AffineMap) -> TextModel:
    """`text` with its vectors taken into the other space."""

    def original(texts: Sequence[str], prompt: str | None) -> np.ndarray:
        return bridge(text.original(texts, prompt))

    encoder = BridgedEncoder(text.encoder, bridge).eval().requires_grad_(False)
    return replace(text, encoder=encoder, dim=len(bridge.weight), original=original)


def tier_name(name: str, taken: Collection[str]) -> str:
    """The name of a tier for the model `name`: small letters, digits and dashes, and none that is `taken`."""
    tier = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "model"
    return f"{tier}-model" if tier in taken else tier


def question_of(text: str) -> tuple[str, str] | None:
    """The first sentence or line of a text and the rest, where both say something."""
    first, _, rest = re.sub(r"([.?!:])\s+|\n+", r"\1\0", text, count=1).partition("\0")
    if not LEAST_QUESTION <= len(first) <= MOST_QUESTION or len(rest) < LEAST_QUESTION:
        return None
    return first, rest


def _fit(text: TextModel, starter: Embedder, rows: Sequence[str]) -> AffineMap:
    return fit_map(text.original(rows, text.prompts.get("document")), _by_starter(starter, rows))


def _words() -> list[str]:
    tokenizer = Tokenizer.from_file(str(STARTER / load().bundle.text["text"].tokenizer))
    return vocabulary_words(tokenizer, WORDS)


def _recall(text: TextModel, starter: Embedder, bridge: AffineMap, texts: Sequence[str]) -> Recall:
    """What searches find among `texts`, as the bundle would search: bridged vectors through the starter's mappers."""
    prompt = text.prompts.get("document")
    questions, documents = _questions(texts)
    own, their = text.original(documents, prompt), _by_starter(starter, documents)
    asked, their_asked = text.original(questions, prompt), _by_starter(starter, questions)
    query, document = (
        starter.map(one, task) for one, task in ((bridge(asked), "query"), (bridge(own), "document"))
    )
    their_query, their_document = starter.map(their_asked, "query"), starter.map(their, "document")
    alone = text.original(questions, text.prompts.get("query"))
    return Recall(
        texts=len(documents),
        starter=recall(their_query, their_document),
        model=recall(alone, own),
        bridged=recall(query, document),
        model_asks=recall(query, their_document),
        starter_asks=recall(their_query, document),
    )


def _questions(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    found = [one for one in map(question_of, texts) if one]
    distinct = dict(found)  # a question that stands over two texts has no one answer
    if len(distinct) < 10:
        raise AdoptError(
            f"{len(distinct)} texts of the sample have two sentences or more, expected 10: name more"
        )
    return list(distinct), list(distinct.values())


def _parts(sample: Sequence[str], parts: Sequence[int]) -> list[str]:
    return [one for place, one in enumerate(sample) if place * PARTS // len(sample) in parts]


def _by_starter(starter: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Base vectors of the starter's own tier of English documents."""
    return normalize(starter.encode(texts, tier=starter.tier, on_truncate="ignore", progress=False))


def _manifest(origin: Mapping[str, Any], folder: Path, found: AdoptedModel, made: Bridged) -> dict[str, Any]:
    tiers = origin.get("tiers", {}) | {made.tier: encoder_entries(made.graphs.spec)}
    about = {key: value for key, value in origin.items() if key not in ("files", "sha256")}
    bridge = {
        "texts": made.fitted_on,
        "of": made.source,
        "recall at 10": asdict(made.recall),
    }
    return about | {
        "name": f"{origin['name']} with {found.name}",
        "id": file_hash(*graphs_and_tokenizers(folder)),
        "tiers": tiers,
        "document_tier": made.tier,
        "query_tier": made.tier,
        "licences": {found.name: found.licence} | origin["licences"],
        "scores": {"bridge": bridge},
    }
