"""torch modules to ONNX graphs: pooling, projection and normalization inside, every axis that varies dynamic.

The legacy exporter and eager attention are chosen on purpose: theirs is the only graph of a BERT-type encoder
that onnxruntime's optimizer can fuse whole (attention, skip layer norm, bias GELU, embedding layer norm).
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unbraid.base_encoders.fixed_padding import with_fixed_padding
from unbraid.base_encoders.static_encoder import StaticEncoder
from unbraid.base_encoders.text_encoder import TextEncoder
from unbraid.export.token_table import store_in_four_bits
from unbraid.export.wide_products import WIDE, store_in_blocks, wide_products
from unbraid.mappers import GatedMapper, Mapper

OPSET = 17
LARGE = 1024  # numbers in a tensor that is worth rounding


def export_text(encoder: TextEncoder, path: Path) -> None:
    """Write input_ids, attention_mask int64 [B, T] -> base_vector float32 [B, D], fused where it is a BERT."""
    ids = torch.zeros((2, 8), dtype=torch.long)  # which tokens are traced does not matter
    _export_encoder(encoder, ids, "input_ids", path)


def export_tokens(embeddings: "Embeddings", path: Path) -> None:
    """Write input_ids int64 [B, T] -> token_vectors float32 [B, T, H]: what tiers with the same embeddings share."""
    ids = torch.zeros((2, 8), dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "token_vectors")}
    export_module(embeddings, (ids,), path, ["input_ids"], ["token_vectors"], axes)
    store_in_four_bits(path)


def export_layers(encoder: TextEncoder, path: Path) -> None:
    """Write token_vectors float32 [B, T, H], attention_mask int64 [B, T] -> base_vector float32 [B, D]."""
    hidden = encoder.backbone.config.hidden_size  # type: ignore[union-attr]
    _export_encoder(WithoutEmbeddings(encoder), torch.zeros((2, 8, hidden)), "token_vectors", path)


class Embeddings(nn.Module):
    """The embeddings of an encoder: token, position and type, normalized."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Share the weights of `encoder`."""
        super().__init__()
        self.embeddings = encoder.backbone.embeddings

    def forward(self, ids: Tensor) -> Tensor:
        """Token vectors float32 [B, T, H] of ids int64 [B, T]."""
        vectors: Tensor = self.embeddings(input_ids=ids)  # type: ignore[operator]
        return vectors


class WithoutEmbeddings(nn.Module):
    """The layers and the projection of an encoder, on token vectors [B, T, H]."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Share the weights of `encoder`, which stays as it is."""
        super().__init__()
        self.backbone = copy.copy(encoder.backbone)
        self.backbone._modules = {**encoder.backbone._modules, "embeddings": _Given()}
        self.inner = TextEncoder(_FromVectors(self.backbone), encoder.projection)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Base vectors [B, D] of token vectors and mask int64 [B, T]."""
        base: Tensor = self.inner(vectors, mask)
        return base


class _Given(nn.Module):
    """In place of a backbone's embeddings: gives back the vectors it is given."""

    def forward(self, *, inputs_embeds: Tensor, **rest: object) -> Tensor:
        return inputs_embeds


class _FromVectors(nn.Module):
    """A backbone whose `input_ids` are token vectors."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, *, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool) -> object:
        return self.backbone(
            inputs_embeds=input_ids, attention_mask=attention_mask, output_hidden_states=output_hidden_states
        )


def _export_encoder(encoder: nn.Module, tokens: Tensor, name: str, path: Path) -> None:
    export_unfused(encoder, tokens, name, path)
    backbone: Any = encoder.backbone
    if (config := backbone.config).model_type == "bert":
        fuse_bert(path, config.num_attention_heads, config.hidden_size)


def export_unfused(encoder: nn.Module, tokens: Tensor, name: str, path: Path) -> None:
    """Write the input `name`, an example of which is `tokens` [2, 8, ...], and attention_mask -> base_vector [B, D]."""
    mask = torch.ones((2, 8), dtype=torch.long)
    mask[1, 5:] = 0
    axes = {one: {0: "batch", 1: "tokens"} for one in (name, "attention_mask")}
    export_module(encoder, (tokens, mask), path, [name, "attention_mask"], ["base_vector"], axes)
    store_in_four_bits(path)


class _StaticGraph(nn.Module):
    """A static encoder in operators that ONNX has; with `int8`, rows are rounded to 8 bits, each on its own scale.

    A row is looked up and scaled, never multiplied by another int8, so nothing overflows. No activation is rounded, so a
    vector does not depend on its batch.
    """

    def __init__(self, encoder: StaticEncoder, *, int8: bool) -> None:
        super().__init__()
        table = encoder.table.detach()
        self.projection = encoder.projection
        self.scale: Tensor | None = None
        if int8:
            scale = table.abs().amax(1).clamp(min=1e-12) / 127
            table = (table / scale[:, None]).round().to(torch.int8)
            self.scale = nn.Parameter(scale, requires_grad=False)
        self.table = nn.Parameter(table, requires_grad=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        weights = mask.float() if self.scale is None else mask.float() * self.scale[ids]
        summed = torch.bmm(weights[:, None], self.table[ids].float())[:, 0]
        return nn.functional.normalize(self.projection(summed), dim=-1)


def export_static(encoder: StaticEncoder, path: Path, *, int8: bool = False) -> None:
    """Write input_ids, attention_mask int64 [B, T] -> base_vector float32 [B, D]; the table in int8 if asked for."""
    ids = torch.zeros((2, 8), dtype=torch.long)
    axes = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "tokens"}}
    graph = _StaticGraph(encoder, int8=int8)
    export_module(
        graph, (ids, torch.ones_like(ids)), path, ["input_ids", "attention_mask"], ["base_vector"], axes
    )


def export_image(encoder: nn.Module, path: Path, size: int) -> None:
    """Write pixel_values float32 [B, 3, size, size] -> base_vector float32 [B, D]."""
    axes = {"pixel_values": {0: "batch"}}
    encoder = with_fixed_padding(encoder, size)
    export_module(encoder, (torch.zeros(2, 3, size, size),), path, ["pixel_values"], ["base_vector"], axes)


class _MapperGraph(nn.Module):
    """A mapper with both of its outputs: what folds into a query, and the task vector."""

    def __init__(self, mapper: Mapper) -> None:
        super().__init__()
        self.mapper = mapper

    def forward(self, base: Tensor) -> tuple[Tensor, Tensor]:
        mapped = self.mapper(base)
        linear = base @ self.mapper.matrix().T if isinstance(self.mapper, GatedMapper) else mapped
        return linear, nn.functional.normalize(mapped, dim=-1)


def export_mapper(mapper: Mapper, path: Path, dim: int) -> None:
    """Write base float32 [B, D] -> mapped (the linear part W b) and task_vector (unit length), float32 [B, D] each."""
    example = nn.functional.normalize(torch.randn(2, dim), dim=-1)
    axes = {"base": {0: "batch"}}
    export_module(_MapperGraph(mapper), (example,), path, ["base"], ["mapped", "task_vector"], axes)


def quantize(
    source: Path, target: Path, inputs: Sequence[Mapping[str, np.ndarray]] = (), wide: float = WIDE
) -> None:
    """Write the graph with its MatMul weights in 7 bits of an int8, one scale a channel, activations dynamic.

    Embeddings take all 8 bits: they are looked up, not multiplied. Convolutions are left alone: their int8
    kernels are ten times slower on CPUs. Products that one scale cannot serve for `inputs` of the graph are stored in
    blocks (wide_products.py); a lower `wide` does so for more of them, which is slower and nearer to the float graph.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    in_blocks = wide_products(source, inputs, wide)
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul", "Gemm", "Attention", "Gather", "EmbedLayerNormalization"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        # x86 CPUs without VNNI add two products of a uint8 and an int8 in 16 bits and cut what does not fit.
        # Two times 255 x 64 fits, two times 255 x 127 does not (docs/decisions.md).
        reduce_range=True,
        nodes_to_exclude=in_blocks,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # fused nodes carry no type of their own
    )
    if in_blocks:
        store_in_blocks(target, in_blocks)


def store_in_half(path: Path) -> None:
    """Round the graph's weights to float16 and store them so: half the file, and the arithmetic stays float32.

    onnxruntime makes them float32 again once, when it opens the graph. Small tensors (biases, constants) are left.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LARGE:
            continue
        name, weights = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def export_module(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: Mapping[str, dict[int, str]],
) -> None:
    """Trace `module` with `arguments`; the first axis of every output, and `axes` of the inputs, may vary."""
    dynamic = {**{name: {0: "batch"} for name in outputs}, **axes}
    with warnings.catch_warnings():
        # The legacy exporter announces its removal, and tracing warns of shapes that it fixes; the parity
        # check runs other shapes than the traced one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            arguments,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )


def fuse_bert(path: Path, heads: int, width: int) -> None:
    """Join the operators of a BERT-type graph that onnxruntime has as one: attention, layer norm, GELU, embeddings."""
    from onnxruntime.transformers.optimizer import optimize_model

    fused = optimize_model(str(path), model_type="bert", num_heads=heads, hidden_size=width, opt_level=0)
    fused.save_model_to_file(str(path))
