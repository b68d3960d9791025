"""A torch encoder with the weights of a bundle's BERT graph: the way back from export's `export_text` and `export_layers`.

The graph is read from its inputs to its output, not by the names of its tensors: the exporter stores equal tensors once, and
names products by number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from unbraid.errors import DataError
from unbraid.training.torchvision_shim import ensure_torchvision

Pooling = Literal["mean", "cls"]
_ACTIVATIONS = {"Tanh", "Relu", "Sigmoid", "Gelu", "FastGelu", "BiasGelu", "Erf", "LayerNormalization"}


@dataclass(frozen=True)
class BertParts:
    """A transformers BertModel without pooler, how its last hidden states are pooled, and what is done to the result."""

    backbone: Any
    pooling: Pooling
    projection: np.ndarray | None  # float32 [dim, H]
    bias: np.ndarray | None  # float32 [dim]


def bert_parts(graph: Any, token_graph: Any | None, name: str) -> BertParts:
    """Read the float32 onnx models of an encoder; `token_graph` holds its embeddings where another graph has them.

    Raises DataError, which begins with `name`, for a graph that is no BERT, or one whose pooling is of another kind.
    """
    try:
        parts = _Graph(graph)
        embeddings = _embeddings(_Graph(token_graph) if token_graph else parts)
        layers = list(_layers(parts))
        pooling, projection, bias = _head(parts, layers[-1].output)
        backbone = _backbone(embeddings, layers)
    except (KeyError, IndexError, ValueError, RuntimeError, StopIteration) as error:
        raise DataError(
            f"{name}: not the graph of a BERT with mean or CLS pooling as unbraid writes it ({error!r}); its torch "
            "weights cannot be read from it: use the model that the bundle was made from"
        ) from error
    return BertParts(backbone, pooling, projection, bias)


class _Graph:
    """A graph with its stored tensors and the nodes that read each tensor."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self.nodes = list(model.graph.node)
        self.stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        self.stored |= {
            node.output[0]: numpy_helper.to_array(node.attribute[0].t)
            for node in self.nodes
            if node.op_type == "Constant"
        }

    def of_kind(self, *kinds: str) -> list[Any]:
        return [node for node in self.nodes if node.op_type in kinds]

    def reader(self, tensor: str, *kinds: str) -> Any:
        """The node of one of these kinds that reads `tensor`. Raises StopIteration where there is none."""
        return next(node for node in self.of_kind(*kinds) if tensor in node.input)

    def weight(self, node: Any) -> np.ndarray:
        """The stored input of a product."""
        return next(self.stored[name] for name in node.input if name in self.stored)


@dataclass(frozen=True)
class _Embeddings:
    words: np.ndarray
    positions: np.ndarray
    types: np.ndarray
    norm: tuple[np.ndarray, np.ndarray]
    epsilon: float


@dataclass(frozen=True)
class _Layer:
    heads: int
    attention: tuple[np.ndarray, np.ndarray]  # query, key and value side by side: weights [H, 3 H] and bias
    products: Sequence[tuple[np.ndarray, np.ndarray]]  # after attention, into the wide layer, out of it
    norms: Sequence[tuple[np.ndarray, np.ndarray]]
    output: str


def _embeddings(graph: _Graph) -> _Embeddings:
    if fused := graph.of_kind("EmbedLayerNormalization"):
        words, positions, types, scale, shift = (graph.stored[name] for name in fused[0].input[2:7])
        return _Embeddings(words, positions, types, (scale, shift), _epsilon(fused[0]))
    gathers = [
        node for node in graph.of_kind("Gather") if graph.stored.get(node.input[0], np.empty(0)).ndim == 2
    ]
    words = next(node for node in gathers if node.input[1] == "input_ids")
    # Two more tables: of the two token types, and of the positions.
    types, positions = sorted((graph.stored[node.input[0]] for node in gathers if node is not words), key=len)
    norm = graph.of_kind("LayerNormalization")[0]
    scale, shift = (graph.stored[name] for name in norm.input[1:])
    return _Embeddings(graph.stored[words.input[0]], positions, types, (scale, shift), _epsilon(norm))


def _layers(graph: _Graph) -> Iterator[_Layer]:
    for attention in graph.of_kind("Attention"):
        products, norms = [], []
        tensor = attention.output[0]
        for kind in ("SkipLayerNormalization", "BiasGelu", "SkipLayerNormalization"):
            product = graph.reader(tensor, "MatMul")
            after = graph.reader(product.output[0], kind)
            bias = graph.stored[after.input[4 if kind == "SkipLayerNormalization" else 1]]
            products.append((graph.weight(product), bias))
            if kind == "SkipLayerNormalization":
                norms.append((graph.stored[after.input[2]], graph.stored[after.input[3]]))
            tensor = after.output[0]
        heads = next(one.i for one in attention.attribute if one.name == "num_heads")
        qkv = graph.stored[attention.input[1]], graph.stored[attention.input[2]]
        yield _Layer(heads, qkv, products, norms, tensor)


def _head(graph: _Graph, hidden: str) -> tuple[Pooling, np.ndarray | None, np.ndarray | None]:
    """How the last hidden states [B, T, H] become one vector, and the matrix and bias of its projection."""
    pool = graph.reader(hidden, "Mul", "Gather", "GatherElements")
    pooling: Pooling = "mean" if pool.op_type == "Mul" else "cls"
    after = graph.nodes[graph.nodes.index(pool) :]
    if bent := sorted({node.op_type for node in after} & _ACTIVATIONS):
        raise ValueError(f"{', '.join(bent)} after the pooling")
    products = [node for node in after if node.op_type in ("MatMul", "Gemm")]
    if not products:
        return pooling, None, None
    [product] = products
    weight = graph.weight(product)
    if product.op_type == "Gemm":
        transposed = any(one.name == "transB" and one.i for one in product.attribute)
        weight, bias = weight if transposed else weight.T, graph.stored[product.input[2]]
    else:
        adds = [node for node in graph.of_kind("Add") if product.output[0] in node.input]
        weight, bias = weight.T, graph.weight(adds[0]) if adds else None
    return pooling, weight, bias


def _epsilon(node: Any) -> float:
    return next(one.f for one in node.attribute if one.name == "epsilon")


def _backbone(embeddings: _Embeddings, layers: Sequence[_Layer]) -> Any:
    ensure_torchvision()
    from transformers import BertConfig, BertModel

    words, width = embeddings.words.shape
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=layers[0].heads,
        intermediate_size=len(layers[0].products[1][1]),
        max_position_embeddings=len(embeddings.positions),
        type_vocab_size=len(embeddings.types),
        layer_norm_eps=embeddings.epsilon,
    )
    tensors = {
        "embeddings.word_embeddings.weight": embeddings.words,
        "embeddings.position_embeddings.weight": embeddings.positions,
        "embeddings.token_type_embeddings.weight": embeddings.types,
        "embeddings.LayerNorm.weight": embeddings.norm[0],
        "embeddings.LayerNorm.bias": embeddings.norm[1],
    }
    for number, layer in enumerate(layers):
        at = f"encoder.layer.{number}"
        weight, bias = layer.attention
        for place, name in enumerate(("query", "key", "value")):
            columns = slice(place * width, (place + 1) * width)
            tensors[f"{at}.attention.self.{name}.weight"] = weight[:, columns].T
            tensors[f"{at}.attention.self.{name}.bias"] = bias[columns]
        for name, (weight, bias) in zip(
            ("attention.output", "intermediate", "output"), layer.products, strict=True
        ):
            tensors[f"{at}.{name}.dense.weight"], tensors[f"{at}.{name}.dense.bias"] = weight.T, bias
        for name, (scale, shift) in zip(("attention.output", "output"), layer.norms, strict=True):
            tensors[f"{at}.{name}.LayerNorm.weight"], tensors[f"{at}.{name}.LayerNorm.bias"] = scale, shift
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.tensor(one) for name, one in tensors.items()})
    return model.eval()
