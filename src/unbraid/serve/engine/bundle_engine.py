"""A bundle behind the server: one base pass over a batch, then one mapper call for each task in it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import ItemError
from unbraid.items import Modality
from unbraid.runtime.preprocess import decode
from unbraid.serve.engine.engine import BASE, DEFAULT, TEXTS, QueueItem, RequestItem, TextEncoder
from unbraid.serve.engine.errors import NoMultiVector
from unbraid.serve.engine.openai_tokens import OpenAITokens

# The image encoder takes as long as 40 tokens of text: 180 pictures a second beside 235 texts of 32 tokens.
PICTURE_COST = 40
PIXELS_PER_TOKEN = 25_000  # decoded in the time of a token


class BundleEngine:
    """The `Engine` of a bundle."""

    default_task = BASE

    def __init__(self, embedder: Embedder, workers: int, openai_tokens: OpenAITokens | None = None) -> None:
        """Load `embedder` with one thread: each batch has one thread, and `workers` batches run at a time."""
        self.embedder = embedder
        self.openai_tokens = openai_tokens or OpenAITokens()
        self.name = embedder.bundle.name
        self.tasks = (BASE, *embedder.tasks)
        self.modalities = embedder.modalities
        self.dims = tuple(sorted(embedder.bundle.dims, reverse=True))
        self.dim = embedder.dim
        self.workers = workers
        text = embedder.bundle.tiers[embedder.tier].get("text")
        self.batch_tokens = max(512, text.batch_tokens if text else 0)
        self.tiers = tuple(embedder.bundle.tiers)
        self.multi_vector = bool(embedder.multi_vector_dims)
        self.about: Mapping[str, object] = {
            "version": embedder.bundle.version,
            "base_id": embedder.base_id,
            "tier": embedder.tier,
            "query_tier": embedder.query_tier,
            "tiers": {
                tier: list(specs["text"].languages) if "text" in specs else []
                for tier, specs in embedder.bundle.tiers.items()
            },
            "multi_vector_dims": embedder.multi_vector_dims,
            "max_tokens": text.max_tokens if text else 0,
            "search_modes": {mode: list(pair) for mode, pair in embedder.search_modes.items()},
        }

    def read(
        self,
        items: Sequence[RequestItem],
        task: str,
        max_characters: int,
        encoder: TextEncoder = DEFAULT,
        *,
        multi: bool = False,
    ) -> tuple[list[QueueItem], list[int]]:
        """Tokenized texts; pictures and ids of the bundle's own tokenizer stay as they are.

        A tier with a prefix reads such ids as the text they stand for. Its own ids are those of the tier that an English text
        would go to. Multi-vectors have no task: queries go to the tier of documents, since those of two tiers must not be compared.
        """
        ready: list[QueueItem | None] = [None] * len(items)
        route = partial(
            self.embedder.route,
            task=None if multi or task == BASE else task,
            tier=encoder.tier,
            language=encoder.language,
            side=encoder.side,
        )
        texts_of: dict[Modality, dict[int, str]] = {kind: {} for kind in TEXTS}
        for row, item in enumerate(items):
            content = item.content
            if isinstance(content, bytes):
                cost = PICTURE_COST + item.size[0] * item.size[1] // PIXELS_PER_TOKEN
                ready[row] = QueueItem("image", content, task, 0, cost)
            elif isinstance(content, str):
                texts_of[item.kind][row] = content
            elif "text" in self.modalities and self._are_own(
                content, own := route([""], modality="text")[0].tier
            ):
                try:
                    self.embedder.check_tokens(content, tier=own)
                except ItemError as error:
                    raise ItemError(f"item {row}: {error}") from error
                if self.embedder.bundle.tiers[own]["text"].prefix:  # which stands in no ids of a client
                    texts_of["text"][row] = self.embedder.text_of_tokens(content, tier=own)
                else:
                    ready[row] = QueueItem("text", content, task, len(content), len(content), own)
            else:
                texts_of[item.kind][row] = self.openai_tokens.text_of_item(row, content, max_characters)
        cut: list[int] = []
        for kind in TEXTS:
            texts = texts_of[kind]
            alike: dict[str, list[int]] = {}
            for row, (tier, _) in zip(texts, route(list(texts.values()), modality=kind), strict=True):
                alike.setdefault(tier, []).append(row)
            for tier, rows in alike.items():
                ids, cut_places = self.embedder.tokenize([texts[row] for row in rows], kind, tier=tier)
                for row, one in zip(rows, ids, strict=True):
                    ready[row] = QueueItem(kind, one, task, len(one), len(one), tier)
                cut += [rows[place] for place in cut_places]
        read = [item for item in ready if item is not None]
        if multi:
            self._check_multi(read)
        return read, sorted(cut)

    def _check_multi(self, items: Sequence[QueueItem]) -> None:
        """Raise NoMultiVector for a picture, and for a text whose tier has no multi-vectors."""
        known = self.embedder.multi_vector_dims
        for row, item in enumerate(items):
            if item.kind == "image":
                raise NoMultiVector(f"item {row}: pictures have no multi-vectors")
            if item.tier not in known:
                raise NoMultiVector(
                    f"item {row} goes to tier {item.tier}, which has no multi-vectors: send tier: {' or '.join(known)}"
                )

    def encode(self, items: Sequence[QueueItem], multi: bool) -> Sequence[np.ndarray] | np.ndarray:
        """float32 [n, dim]; with `multi` n arrays float32 [tokens, D], pruned as by `Embedder.token_vectors`."""
        # By kind and tier: each may have its own graph.
        alike: dict[tuple[Literal["text", "code"], str], dict[int, list[int]]] = {}
        for row, item in enumerate(items):
            if item.kind != "image" and isinstance(item.content, list):
                alike.setdefault((item.kind, item.tier), {})[row] = item.content
        if multi:
            found: dict[int, np.ndarray] = {}
            for (kind, tier), ids in alike.items():
                tokens = self.embedder.token_vectors_of_ids(list(ids.values()), kind, tier=tier)
                found |= {row: one.vectors for row, one in zip(ids, tokens, strict=True)}
            return [found[row] for row in range(len(items))]
        base = np.empty((len(items), self.dim), dtype=np.float32)
        for (kind, tier), ids in alike.items():
            base[list(ids)] = self.embedder.encode_tokens(list(ids.values()), kind, tier=tier)
        image = self.embedder.bundle.image
        smallest = image.preprocess.at_least if image else None
        for row, item in enumerate(items):
            if isinstance(item.content, bytes):  # one at a time: a decoded picture takes up to 75 MB
                picture = decode(item.content, at_least=smallest)
                base[row] = self.embedder.encode([picture], progress=False)[0]
        for task in {item.task for item in items} - {BASE}:
            rows = [row for row, item in enumerate(items) if item.task == task]
            base[rows] = self.embedder.map(base[rows], task)
        return base

    def _are_own(self, ids: list[int], tier: str) -> bool:
        """Whether ids carry the special tokens of a tier's tokenizer; a tokenizer without any recognizes none.

        Ids of cl100k_base never look so: 101 and 102, the starter's [CLS] and [SEP], are continuation bytes there.
        """
        special = self.embedder.special_tokens(tier=tier)
        if not special:
            return False
        try:
            self.embedder.check_tokens([*ids[:special], *ids[-special:]], tier=tier)
        except ItemError:
            return False
        return True
