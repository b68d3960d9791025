"""The encoders in a bundle, back in torch, so that training can go on from them.

A bundle keeps a BERT-type encoder as a fused int8 graph. Its weights come back as they are there, rounded to 7 bits a
channel; the projection does not, since every training starts with a new one.
"""

import shutil
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from unbraid.base_encoders.image import ImageEncoder
from unbraid.bundle import read_bundle
from unbraid.errors import DataError
from unbraid.training.torchvision_shim import ensure_torchvision

Weights: TypeAlias = dict[str, Tensor]

EMBEDDING = ("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight")
NORM = ("LayerNorm.weight", "LayerNorm.bias")
DENSE = ("attention.output.dense.weight", "intermediate.dense.weight", "output.dense.weight")


def text_encoder_of_bundle(bundle: Path, folder: Path) -> None:
    """Write the small text tier of `bundle` to `folder`: a BERT in its published layout, and its tokenizer.

    Raises DataError when the bundle's int8 text graph is not a fused BERT or `folder` is a file, BundleError when
    `bundle` is none.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: a file, where the encoder needs a folder")
    spec = read_bundle(bundle).text["text"]
    if "int8" not in spec.graphs:
        raise DataError(f"{bundle}: its text encoder has no int8 graph, only {', '.join(spec.graphs)}")
    model = bert_of_graph(bundle / spec.graphs["int8"])
    model.save_pretrained(folder)
    shutil.copyfile(bundle / spec.tokenizer, folder / "tokenizer.json")


def bert_of_graph(path: Path) -> Any:
    """The transformers BertModel, without pooler, whose fused and quantised graph is at `path`.

    Raises DataError when that graph is of another kind.
    """
    ensure_torchvision()
    from transformers import BertConfig, BertModel

    graph = onnx.load(path).graph
    nodes: dict[str, list[Any]] = {}
    for node in graph.node:
        nodes.setdefault(node.op_type, []).append(node)
    if not all(kind in nodes for kind in ("QEmbedLayerNormalization", "QAttention", "BiasGelu")):
        raise DataError(f"{path}: no fused int8 BERT, whose attention is one node a layer")
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    embed = nodes["QEmbedLayerNormalization"][0]
    names = zip((*EMBEDDING, *NORM), embed.input[2:7], strict=True)
    weights = {f"embeddings.{name}": _exact(arrays, stored) for name, stored in names}
    attentions = nodes["QAttention"]
    for number, attention in enumerate(attentions):
        layer = {
            **_attention(arrays, attention),
            **_dense(arrays, nodes["MatMulInteger"][3 * number : 3 * number + 3]),
            **_norms(arrays, nodes["SkipLayerNormalization"][2 * number : 2 * number + 2]),
            "intermediate.dense.bias": _exact(arrays, nodes["BiasGelu"][number].input[1]),
        }
        weights |= {f"encoder.layer.{number}.{name}": weight for name, weight in layer.items()}
    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=len(attentions),
        num_attention_heads=_attribute(attentions[0], "num_heads"),
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
        type_vocab_size=len(weights["embeddings.token_type_embeddings.weight"]),
        layer_norm_eps=_attribute(embed, "epsilon"),
    )
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(weights)
    return model


def _attention(arrays: dict[str, np.ndarray], node: Any) -> Weights:
    weights, biases = _exact(arrays, node.input[1]).T.chunk(3), _exact(arrays, node.input[2]).chunk(3)
    found: Weights = {}
    for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        found |= {f"attention.self.{name}.weight": weight, f"attention.self.{name}.bias": bias}
    return found


def _dense(arrays: dict[str, np.ndarray], nodes: list[Any]) -> Weights:
    """In the order of a layer's products: after attention, into the feed-forward part, out of it."""
    return {name: _exact(arrays, node.input[1]).T for name, node in zip(DENSE, nodes, strict=True)}


def _norms(arrays: dict[str, np.ndarray], nodes: list[Any]) -> Weights:
    found: Weights = {}
    for part, node in zip(("attention.output", "output"), nodes, strict=True):
        scale, shift, bias = (_exact(arrays, name) for name in node.input[2:5])
        found |= {f"{part}.LayerNorm.weight": scale, f"{part}.LayerNorm.bias": shift}
        found[f"{part}.dense.bias"] = bias
    return found


def _exact(arrays: dict[str, np.ndarray], name: str) -> Tensor:
    """The float32 initialiser `name`; a quantised one times its scale. Raises DataError where a graph has none."""
    if name not in arrays:
        raise DataError(f"{name}: the graph computes this weight, where a fused BERT stores it")
    value = arrays[name]
    if name.endswith("_quantized"):
        stem = name.removesuffix("_quantized")
        zero = arrays[f"{stem}_zero_point"].astype(np.float32)
        value = (value.astype(np.float32) - zero) * arrays[f"{stem}_scale"]
    return torch.from_numpy(value.astype(np.float32))


def _attribute(node: Any, name: str) -> Any:
    return next(onnx.helper.get_attribute_value(one) for one in node.attribute if one.name == name)


def start_from_graph(encoder: ImageEncoder, path: Path, pixels: Tensor) -> None:
    """Give a convolutional `encoder` the weights of the image graph at `path`, so that training can go on from it.

    A graph has batch normalisation folded into its convolutions. Each one is set to the statistics that `pixels`
    float32 [B, 3, size, size] have before it, scaled back and shifted: then it changes nothing, in training neither.
    Raises DataError when the graph is of another tower.
    """
    graph = onnx.load(path).graph
    arrays = {one.name: numpy_helper.to_array(one).astype(np.float32) for one in graph.initializer}
    for node in graph.node:  # stored in float16, or once for two that are equal
        if node.op_type in {"Cast", "Identity"} and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    folded = [
        [torch.from_numpy(arrays[name].copy()) for name in node.input[1:]]
        for node in graph.node
        if node.op_type == "Conv"
    ]
    ran = _in_order(encoder, pixels[:1])
    convolutions = [number for number, module in enumerate(ran) if isinstance(module, nn.Conv2d)]
    shapes = [tuple(ran[number].weight.shape) for number in convolutions]
    if shapes != [tuple(weights[0].shape) for weights in folded]:
        raise DataError(
            f"{path}: not a graph of {encoder.name}: its {len(folded)} convolutions have other shapes"
        )
    handles = []
    for number, (weight, *rest) in zip(convolutions, folded, strict=True):
        convolution, after = ran[number], ran[number + 1] if number + 1 < len(ran) else None
        bias = rest[0] if rest else torch.zeros(len(weight))
        convolution.weight.data.copy_(weight)
        if convolution.bias is not None:
            convolution.bias.data.copy_(bias)
        elif isinstance(after, nn.BatchNorm2d):
            handles.append(after.register_forward_pre_hook(partial(_undo, bias)))
        elif bias.any():
            raise DataError(f"{path}: not a graph of {encoder.name}: convolution {number} has a bias there")
    encoder.projection.weight.data.copy_(torch.from_numpy(arrays["projection.weight"].copy()))
    encoder.projection.bias.data.copy_(torch.from_numpy(arrays["projection.bias"].copy()))
    encoder.mean.copy_(torch.from_numpy(arrays["mean"].copy()))
    with torch.inference_mode():
        encoder.eval()(pixels)
    for handle in handles:
        handle.remove()


def _in_order(encoder: ImageEncoder, pixels: Tensor) -> list[Any]:
    """The convolutions and batch normalisations of `encoder` as they run."""
    ran: list[Any] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    found = [module for module in encoder.modules() if isinstance(module, kinds)]
    handles = [module.register_forward_hook(lambda module, *_: ran.append(module)) for module in found]
    with torch.inference_mode():
        encoder.eval()(pixels)
    for handle in handles:
        handle.remove()
    return ran


def _undo(bias: Tensor, norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Set a batch normalisation, before it sees `inputs`, to add `bias` to them and do no more."""
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.data.copy_((variance + norm.eps).sqrt())
    norm.bias.data.copy_(bias + mean)
