"""Text and code to base vectors with onnxruntime: tokenize, batch by token budget, run, restore the order."""

from collections.abc import Sequence
from copy import copy
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from unbraid.bundle import TextSpec
from unbraid.runtime.batching import run_batches, token_budget_batches
from unbraid.runtime.onnx_session import Session, open_graph, output_shape, pick_graph, run_graph
from unbraid.runtime.text_tokenizer import TextTokenizer


class TextRuntime:
    """One text or code encoder of a bundle, ready to run."""

    def __init__(
        self,
        folder: Path,
        spec: TextSpec,
        precision: str | None,
        *,
        tokens: Session | None = None,
        reader: TextTokenizer | None = None,
    ) -> None:
        """Open the graphs and the tokenizer; `tokens` and `reader` are those that another tier has opened already.

        Raises BundleError when one of them cannot be opened.
        """
        self.spec = spec
        shape = (None, None)
        self.tokens = tokens
        self.inputs: dict[str, tuple[int | None, ...]] = {"input_ids": shape, "attention_mask": shape}
        if spec.token_graphs:
            if self.tokens is None:
                token_graph = folder / pick_graph(spec.token_graphs, precision)
                self.tokens = open_graph(token_graph, {"input_ids": shape}, ["token_vectors"])
            self.inputs = {
                "token_vectors": output_shape(self.tokens, "token_vectors"),
                "attention_mask": shape,
            }
        self.graph = folder / pick_graph(spec.graphs, precision)
        self.session = open_graph(self.graph, self.inputs, ["base_vector"])
        self.reader = reader or TextTokenizer(folder / spec.tokenizer, spec.max_tokens)

    @property
    def tokenizer(self) -> Tokenizer:
        """The library's tokenizer, which cuts at max_tokens and does not pad."""
        return self.reader.tokenizer

    def serves(self, spec: TextSpec) -> bool:
        """Whether `spec` runs the same graph on the same tokens."""
        return _files(spec) == _files(self.spec)

    def with_spec(self, spec: TextSpec) -> "TextRuntime":
        """The same open graph and tokenizer under another spec that they serve."""
        other = copy(self)
        other.spec = spec
        return other

    def tokenize(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text behind the prefix, and the positions of texts that were cut to max_tokens."""
        return self.reader.tokenize(texts, self.spec.split_identifiers, self.spec.prefix)

    def encode(self, ids: list[list[int]], *, threads: int, progress: bool | None) -> np.ndarray:
        """Base vectors float32 [n, dim] of token ids, in order; `threads` batches run at the same time."""

        def run(rows: list[int]) -> np.ndarray:
            return run_graph(self.session, "base_vector", self.feed([ids[row] for row in rows]))

        batches = token_budget_batches([len(one) for one in ids], budget=self.spec.batch_tokens)
        joined = np.concatenate(run_batches(run, batches, "encode text", threads=threads, progress=progress))
        ordered = np.empty_like(joined)
        ordered[[row for batch in batches for row in batch]] = joined
        return ordered

    def feed(self, ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """The inputs of the encoder's graph for one batch of token ids, padded to its longest."""
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        real = np.arange(lengths.max()) < lengths[:, None]
        padded = np.zeros(real.shape, dtype=np.int64)
        padded[real] = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))
        mask = real.astype(np.int64)
        if self.tokens is None:
            return {"input_ids": padded, "attention_mask": mask}
        vectors = run_graph(self.tokens, "token_vectors", {"input_ids": padded})
        return {"token_vectors": vectors, "attention_mask": mask}


def _files(spec: TextSpec) -> tuple[object, ...]:
    """What two specs that run the same graphs on the same tokens have in common."""
    return (spec.graphs, spec.token_graphs, spec.tokenizer, spec.max_tokens)
