"""Token ids to multi-vectors with onnxruntime: the graph of a text encoder with its head, then pruning."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from unbraid.bundle import MultiVectorSpec
from unbraid.errors import BundleError
from unbraid.multi_vector.token_vectors import TokenVectors, prune
from unbraid.runtime.batching import run_batches, token_budget_batches
from unbraid.runtime.onnx_session import open_graph
from unbraid.runtime.text import TextRuntime
from unbraid.stop_words import STOP_WORDS

_OUTPUTS = ["multi_vectors", "weights", "base_vector"]


class MultiVectorRuntime:
    """A text encoder with its multi-vector head, ready to run."""

    def __init__(self, folder: Path, encoder: TextRuntime, spec: MultiVectorSpec) -> None:
        """Open the graph. Raises BundleError when it cannot be opened, or when there is no head for this one."""
        precisions = [one for one, file in encoder.spec.graphs.items() if folder / file == encoder.graph]
        found = [spec.graphs[one] for one in precisions if one in spec.graphs]
        if not found:
            raise BundleError(
                f"{encoder.graph}: has no multi-vector head; the bundle has it for {', '.join(spec.graphs)}"
            )
        self.encoder = encoder
        head = (folder / found[0]).read_bytes()
        self.session = open_graph(encoder.graph, encoder.inputs, _OUTPUTS, head=head)
        self.special = np.asarray(encoder.reader.frame, np.int64)
        self.dropped = meaningless(encoder.tokenizer)

    def encode(
        self, ids: list[list[int]], *, pruned: bool, threads: int, progress: bool | None
    ) -> list[TokenVectors]:
        """The token vectors of each item, in order, with its base vector.

        Without special tokens, and `pruned` without those that say nothing.
        """

        def run(rows: list[int]) -> list[TokenVectors]:
            some = [ids[row] for row in rows]
            vectors, weights, base = self.session.run(_OUTPUTS, self.encoder.feed(some))
            found = (
                TokenVectors(
                    vectors[n, : len(one)], weights[n, : len(one)], np.asarray(one, np.int64), base[n]
                )
                for n, one in enumerate(some)
            )
            return [self._kept(one, pruned=pruned) for one in found]

        batches = token_budget_batches([len(one) for one in ids], budget=self.encoder.spec.batch_tokens)
        found = run_batches(run, batches, "encode tokens", threads=threads, progress=progress)
        by_row = {
            row: one
            for rows, some in zip(batches, found, strict=True)
            for row, one in zip(rows, some, strict=True)
        }
        return [by_row[row] for row in range(len(ids))]

    def _kept(self, tokens: TokenVectors, *, pruned: bool) -> TokenVectors:
        tokens = tokens.rows(~np.isin(tokens.ids, self.special))
        return prune(tokens, self.dropped) if pruned else tokens


def meaningless(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids of tokens that say nothing alone: English stop words, and what has no letter and no digit."""
    # A SentencePiece without ▁ is part of a word, as a WordPiece with ## is.
    words = {f"▁{word}" for word in STOP_WORDS} if is_sentence_piece(tokenizer) else STOP_WORDS
    return frozenset(
        token
        for piece, token in tokenizer.get_vocab().items()
        if piece.lower() in words or not any(map(str.isalnum, piece))
    )


def is_sentence_piece(tokenizer: Tokenizer) -> bool:
    """Whether a vocabulary is of SentencePieces: each has the space before a word, ▁, also as a piece of its own."""
    return tokenizer.token_to_id("▁") is not None and tokenizer.token_to_id("##s") is None
