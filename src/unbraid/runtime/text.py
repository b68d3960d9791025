"""Text and code to base vectors with onnxruntime: tokenize, batch by token budget, run, restore the order."""

from collections.abc import Sequence
from copy import copy
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from unbraid.bundle import TextSpec
from unbraid.errors import BundleError, ItemError
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.runtime.batching import run_batches, token_budget_batches
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.long_text import tokenize_heads
from unbraid.runtime.onnx_session import Session, open_graph, output_shape, pick_graph, run_graph
from unbraid.runtime.word_cache import library_counts, library_ids, word_cache


class TextRuntime:
    """One text or code encoder of a bundle, ready to run."""

    def __init__(
        self, folder: Path, spec: TextSpec, precision: str | None, *, tokens: Session | None = None
    ) -> None:
        """Open the graphs and the tokenizer; `tokens` is the token graph where another tier has opened it.

        Raises BundleError when one of them cannot be opened.
        """
        self.spec = spec
        shape = (None, None)
        self.tokens = tokens
        inputs: dict[str, tuple[int | None, ...]] = {"input_ids": shape, "attention_mask": shape}
        if spec.token_graphs:
            if self.tokens is None:
                token_graph = folder / pick_graph(spec.token_graphs, precision)
                self.tokens = open_graph(token_graph, {"input_ids": shape}, ["token_vectors"])
            inputs = {"token_vectors": output_shape(self.tokens, "token_vectors"), "attention_mask": shape}
        self.session = open_graph(folder / pick_graph(spec.graphs, precision), inputs, ["base_vector"])
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / spec.tokenizer))
        except BaseException as error:  # some faults are a pyo3 PanicException, which is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise BundleError(f"{folder / spec.tokenizer}: not a tokenizer: {error}") from error
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(spec.max_tokens)
        self.frame: list[int] = self.tokenizer.encode("").ids  # special tokens around every text
        self.words = word_cache(self.tokenizer, spec.max_tokens)

    def serves(self, spec: TextSpec) -> bool:
        """Whether `spec` runs the same graph on the same tokens."""
        return _files(spec) == _files(self.spec)

    def with_spec(self, spec: TextSpec) -> "TextRuntime":
        """The same open graph and tokenizer under another spec that they serve."""
        other = copy(self)
        other.spec = spec
        return other

    def tokenize(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text, and the positions of texts that were cut to max_tokens."""
        return tokenize_heads(self._tokenize, texts, self.spec.max_tokens)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before it is cut, without special tokens."""
        prepared = self._prepared(texts)
        return self.words.count(prepared) if self.words else library_counts(self.tokenizer, prepared)

    def _tokenize(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        prepared = self._prepared(texts)
        return self.words.tokenize(prepared) if self.words else library_ids(self.tokenizer, prepared)

    def _prepared(self, texts: Sequence[str]) -> list[str]:
        """The texts as the tokenizer gets them."""
        valid = map(replace_lone_surrogates, texts)
        return list(map(split_identifiers, valid) if self.spec.split_identifiers else valid)

    def check(self, ids: Sequence[int]) -> None:
        """Raise ItemError for ids that another tokenizer made.

        The special tokens that this tokenizer puts around every text tell. Without the check, ids of another vocabulary
        would silently give vectors of other words.
        """
        if len(ids) > self.spec.max_tokens:
            raise ItemError(f"{len(ids):,} token ids, at most {self.spec.max_tokens:,} fit: split them")
        size, frame = self.tokenizer.get_vocab_size(), self.frame
        framed = any(
            list(ids[:place]) == frame[:place] and list(ids[len(ids) - len(frame) + place :]) == frame[place:]
            for place in range(len(frame) + 1)
        )
        if len(ids) < max(1, len(frame)) or not framed or min(ids) < 0 or max(ids) >= size:
            raise ItemError(
                f"token ids that are not of this model's tokenizer: expected 0 to {size - 1:,} with its special tokens"
                f" {frame} around them; send the text itself (LangChain: check_embedding_ctx_length=False)"
            )

    def encode(self, ids: list[list[int]], *, threads: int, progress: bool | None) -> np.ndarray:
        """Base vectors float32 [n, dim] of token ids, in order; `threads` batches run at the same time."""

        def run(rows: list[int]) -> np.ndarray:
            lengths = np.fromiter((len(ids[row]) for row in rows), dtype=np.int64, count=len(rows))
            real = np.arange(lengths.max()) < lengths[:, None]
            padded = np.zeros(real.shape, dtype=np.int64)
            padded[real] = np.fromiter(
                chain.from_iterable(ids[row] for row in rows), dtype=np.int64, count=int(lengths.sum())
            )
            name, given = "input_ids", padded
            if self.tokens:
                name, given = "token_vectors", run_graph(self.tokens, "token_vectors", {"input_ids": padded})
            mask = real.astype(np.int64)
            return run_graph(self.session, "base_vector", {name: given, "attention_mask": mask})

        batches = token_budget_batches([len(one) for one in ids], budget=self.spec.batch_tokens)
        joined = run_batches(run, batches, "encode text", threads=threads, progress=progress)
        ordered = np.empty_like(joined)
        ordered[[row for batch in batches for row in batch]] = joined
        return ordered


def _files(spec: TextSpec) -> tuple[object, ...]:
    """What two specs that run the same graphs on the same tokens have in common."""
    return (spec.graphs, spec.token_graphs, spec.tokenizer, spec.max_tokens)
