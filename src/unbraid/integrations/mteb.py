"""A bundle as a model of mteb, the benchmark of embedding models: `mteb.evaluate(get_model(), tasks)`.

What mteb asks for chooses the task: queries and documents of a retrieval are query and document, both sides of a search
for code are code, and where there are no sides (STS, clustering, classification) all are symmetric.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import ItemError, MissingExtraError
from unbraid.items import Code
from unbraid.loading import load
from unbraid.mix import Mix, Query

try:
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import PromptType
except ModuleNotFoundError as error:
    raise MissingExtraError("mteb", "mteb") from error

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata

CODE = "code"
LANGUAGE_OF_CODE = "-Code"  # ends mteb's names of programming languages: python-Code


def get_model(
    source: str | Path | None = None,
    *,
    tier: str | None = None,
    language: str | None = None,
    dim: int | None = None,
) -> "BundleEncoder":
    """The bundle `source` (a folder, a hub id, None for the starter) as mteb takes a model.

    `tier`, `language` and `dim` are those of `unbraid.load` and `Embedder.encode`. Raises as those do.
    """
    return BundleEncoder(load(source, tier=tier, language=language), dim=dim)


class BundleEncoder(AbsEncoder):  # type: ignore[misc]
    """Encodes mteb's batches with an embedder."""

    def __init__(self, embedder: Embedder, *, dim: int | None = None) -> None:
        """Encode with `embedder`, in `dim` dimensions. Raises ItemError for a `dim` that the bundle does not have."""
        embedder.encode([], dim=dim)  # refuse before a long run
        self.model = embedder
        self.dim = dim
        self.mteb_model_meta = _meta(embedder, dim)

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: "TaskMetadata",
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        batch_size: int = 32,
        show_progress_bar: bool = False,
        precision: str = "float32",
    ) -> np.ndarray:
        """Task vectors float32 [n, dim] of the rows of mteb's batches, in their order.

        A row with a text and a picture has one vector of both. A text over the encoder's length is cut without a
        warning. The loader has made the batches, so `batch_size` changes nothing here. Raises ItemError for a modality
        that the bundle does not encode, and for another `precision`.
        """
        if precision != "float32":
            raise ItemError(f"precision {precision!r}: a bundle gives mteb float32 vectors")
        task = task_of(task_metadata, prompt_type)
        known = task if task in self.model.tasks else None
        as_code = task == CODE and prompt_type != PromptType.query and CODE in self.model.modalities
        parts = [
            self.model.encode(
                rows_of(batch, as_code=as_code),
                task=known,
                dim=self.dim,
                side=None if prompt_type is None else prompt_type.value,
                on_truncate="ignore",
                progress=False,
            )
            for batch in inputs
        ]
        return np.concatenate(parts)


def task_of(about: "TaskMetadata", prompt_type: PromptType | None) -> str:
    """The task of ours for one side of a task of mteb; `prompt_type` None is that of tasks without sides."""
    names = [name for names in about.hf_subsets_to_langscripts.values() for name in names]
    if any(name.endswith(LANGUAGE_OF_CODE) for name in names) or "Code retrieval" in (
        about.task_subtypes or []
    ):
        return CODE
    return "symmetric" if prompt_type is None else prompt_type.value


def rows_of(batch: Mapping[str, Sequence[Any]], *, as_code: bool) -> list[Query]:
    """The items of a batch: its texts, its pictures, or both of each row. Raises ItemError for another modality."""
    texts = [Code(text) if as_code else text for text in batch.get("text", [])]
    pictures = batch.get("image", [])
    if texts and pictures:
        return [
            Mix([text, picture]) if text else picture for text, picture in zip(texts, pictures, strict=True)
        ]
    if not texts and not len(pictures):
        raise ItemError(f"a batch of mteb with {', '.join(batch)}: a bundle encodes text and image")
    return list(texts or pictures)


def _meta(embedder: Embedder, dim: int | None) -> ModelMeta:
    """What mteb writes beside results. Nothing is said of what only the makers of a bundle know."""
    bundle = embedder.bundle
    named = {"tier": embedder.named_tier, "language": embedder.language, "dim": dim}
    return ModelMeta(
        loader=None,
        name=f"unbraid/{bundle.name}",
        revision=bundle.id,
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=round(sum(bundle.sizes.values()) / 2**20, 1),
        max_tokens=embedder.max_tokens,
        embed_dim=dim or embedder.dim,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["ONNX"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=any(spec.prefix for specs in bundle.tiers.values() for spec in specs.values()),
        training_datasets=None,
        modalities=["text", "image"] if bundle.image else ["text"],
        experiment_kwargs={key: value for key, value in named.items() if value is not None} or None,
    )
