"""The matrices of a bundle's static graph, and its tokenizer in the form that a StaticEmbedding reads.

The way back from `export_static`. A StaticEmbedding adds no special tokens, and a static encoder of ours reads them.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from unbraid.errors import DataError

START = "\N{SYMBOL FOR START OF TEXT}"  # no letter, no punctuation: a word of its own


@dataclass(frozen=True)
class StaticParts:
    """A row of numbers for every token [V, width], and the projection [dim, width] of their sum, if there is one."""

    table: np.ndarray
    projection: np.ndarray | None


def is_static(graph: Any) -> bool:
    """Whether an onnx model looks tokens up and has no layers."""
    kinds = {node.op_type for node in graph.graph.node}
    return "Gather" in kinds and not kinds & {"Attention", "QAttention", "Softmax", "LayerNormalization"}


def static_parts(graph: Any, name: str) -> StaticParts:
    """Read an onnx model of a static encoder; rows in int8 come back as the numbers that they stand for.

    Raises DataError, which begins with `name`, for a graph of another kind.
    """
    from onnx import numpy_helper

    stored = {one.name: numpy_helper.to_array(one) for one in graph.graph.initializer}
    looked_up = [
        stored[node.input[0]]
        for node in graph.graph.node
        if node.op_type == "Gather" and node.input[0] in stored and node.input[1] == "input_ids"
    ]
    tables = [one.astype(np.float32) for one in looked_up if one.ndim == 2]
    scales = [one for one in looked_up if one.ndim == 1]
    products = [
        stored[node.input[1]]
        for node in graph.graph.node
        if node.op_type == "MatMul" and node.input[1] in stored
    ]
    if len(tables) != 1 or len(scales) > 1 or len(products) > 1:
        raise DataError(f"{name}: not the graph of a static encoder as unbraid writes it")
    table = tables[0] * scales[0][:, None] if scales else tables[0]
    return StaticParts(table, products[0].T if products else None)


def without_special_tokens(
    tokenizer: Tokenizer, table: np.ndarray, max_tokens: int, name: str
) -> tuple[Tokenizer, np.ndarray]:
    """A tokenizer and table that give the same sums when no special tokens are added.

    The first of the special tokens becomes a word that the normalizer puts before every text, and its row the sum of all
    their rows. Raises DataError for a tokenizer that adds special tokens and is not of word pieces.
    """
    frame = tokenizer.encode("").ids
    about = json.loads(tokenizer.to_str())
    room = max_tokens - len(frame)
    if frame:
        if about["model"]["type"] != "WordPiece":
            raise DataError(
                f"{name}: its tokenizer adds special tokens and is of the kind {about['model']['type']}; a "
                "StaticEmbedding can only be made of one of the kind WordPiece, or without special tokens"
            )
        vocabulary = about["model"]["vocab"]
        del vocabulary[tokenizer.id_to_token(frame[0])]
        vocabulary[START] = frame[0]
        before = [about["normalizer"]] if about["normalizer"] else []
        about["normalizer"] = {
            "type": "Sequence",
            "normalizers": [*before, {"type": "Prepend", "prepend": f"{START} "}],
        }
        # They are cut out of a text before it is normalized: each piece would get a START.
        about["added_tokens"] = []
        about["post_processor"] = None
        table = table.copy()
        table[frame[0]] = table[frame].sum(0)
        room += 1
    changed = Tokenizer.from_str(json.dumps(about))
    changed.no_padding()
    changed.enable_truncation(room)
    return changed, table
