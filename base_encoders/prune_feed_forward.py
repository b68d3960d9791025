"""Narrow the feed-forward layers of a BERT-type encoder by removing the neurons that matter least."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def narrow_feed_forward(model: nn.Module, width: int, ids: Tensor, mask: Tensor) -> None:
    """Keep `width` neurons of every feed-forward layer of `model`, in place.

    The score of a neuron is the mean size of its activation over the real tokens of ids and mask int64 [B, T], times the
    norm of its outgoing weights: the most that removing it can change the layer's output. The mean output of removed
    neurons is added to the bias. Raises ValueError for an encoder without BERT's feed-forward layers or with narrower
    ones.
    """
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if layers is None or not all(hasattr(layer, "intermediate") for layer in layers):
        raise ValueError(f"{type(model).__name__}: no feed-forward layers at encoder.layer[i].intermediate")
    real = mask.bool()
    for layer in layers:
        into, out = layer.intermediate.dense, layer.output.dense
        if width > into.out_features:
            raise ValueError(f"the feed-forward layers are {into.out_features} wide, asked to keep {width}")
        seen: list[Tensor] = []
        hook = layer.intermediate.register_forward_hook(lambda _, __, found, seen=seen: seen.append(found))
        model(input_ids=ids, attention_mask=mask)
        hook.remove()
        active = seen[0][real]
        score = active.abs().mean(0) * out.weight.norm(dim=0)
        kept = score.topk(width).indices.sort().values
        lost = torch.ones(len(score), dtype=torch.bool)
        lost[kept] = False
        bias = out.bias + out.weight[:, lost] @ active.mean(0)[lost]
        layer.intermediate.dense = _linear(into.weight[kept], into.bias[kept])
        layer.output.dense = _linear(out.weight[:, kept], bias)
    model.config.intermediate_size = width


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data = weight.clone()
    linear.bias.data = bias.clone()
    return linear
