"""The modules of sentence-transformers for one text encoder of a bundle, with the weights that its graphs hold."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, normalizers
from torch import nn

from unbraid.bundle import TextSpec
from unbraid.runtime.onnx_session import pick_graph
from unbraid.stock_modules.bert_weights import bert_parts
from unbraid.stock_modules.float_graph import float_graph
from unbraid.stock_modules.static_weights import is_static, static_parts, without_special_tokens

# As runtime/code_text.py splits names.
_HUMP = "(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
_PADDING = ("[PAD]", "<pad>")


def encoder_modules(folder: Path, spec: TextSpec) -> list[nn.Module]:
    """From a text to a vector of unit length, as the encoder `spec` of the bundle in `folder` does in float32.

    Raises DataError for graphs that the weights cannot be read from.
    """
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

    name = f"{folder.name}/{pick_graph(spec.graphs, 'fp32')}"
    graph = float_graph(folder / pick_graph(spec.graphs, "fp32"))
    tokenizer = _tokenizer(folder, spec)
    if is_static(graph):
        static = static_parts(graph, name)
        changed, table = without_special_tokens(tokenizer, static.table, spec.max_tokens, name)
        projected = [] if static.projection is None else [dense(static.projection)]
        return [StaticEmbedding(changed, embedding_weights=table), *projected, Normalize()]
    tokens = float_graph(folder / pick_graph(spec.token_graphs, "fp32")) if spec.token_graphs else None
    bert = bert_parts(graph, tokens, name)
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # Transformer reads a folder
        bert.backbone.save_pretrained(scratch)
        _for_transformers(tokenizer, spec.max_tokens).save_pretrained(scratch)
        transformer = Transformer(scratch, max_seq_length=spec.max_tokens)
    pooling = Pooling(bert.backbone.config.hidden_size, bert.pooling)
    projected = [] if bert.projection is None else [dense(bert.projection, bert.bias)]
    return [transformer, pooling, *projected, Normalize()]


def dense(weight: np.ndarray, bias: np.ndarray | None = None) -> nn.Module:
    """The module W x, or W x + bias, of a matrix float32 [out, in]."""
    from sentence_transformers.base.modules import Dense

    module: nn.Module = Dense(
        weight.shape[1],
        weight.shape[0],
        bias=bias is not None,
        activation_function=nn.Identity(),
        init_weight=torch.tensor(weight),
        init_bias=None if bias is None else torch.tensor(bias),
    )
    return module


def _tokenizer(folder: Path, spec: TextSpec) -> Tokenizer:
    """The tokenizer of `spec`, which splits names itself where the runtime does so before it."""
    tokenizer = Tokenizer.from_file(str(folder / spec.tokenizer))
    tokenizer.no_padding()
    if spec.split_identifiers:
        split = normalizers.Replace(Regex(_HUMP), " ")
        after = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([split, *after])
    return tokenizer


def _for_transformers(tokenizer: Tokenizer, max_tokens: int) -> Any:
    from transformers import PreTrainedTokenizerFast

    # Padding is masked, so any token serves where none is known.
    padding = next(
        (one for one in _PADDING if tokenizer.token_to_id(one) is not None), tokenizer.id_to_token(0)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=padding,
        model_max_length=max_tokens,
        model_input_names=["input_ids", "attention_mask"],
    )
