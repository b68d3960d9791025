"""Vectors of inputs under one adapter: without gradients for scores, with gradients for training."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unbraid.progress import track
from unbraid.runtime.batching import token_budget_batches
from unbraid.teacher.inputs import Input, collate
from unbraid.teacher.model import Backbone, TokenStates
from unbraid.teacher.pooling import mean_vector, token_vectors


@dataclass(frozen=True)
class Encoded:
    """Single vectors float32 [n, H], and multi-vectors [n, T, 128] (zero rows beyond an item) or None."""

    dense: Tensor
    tokens: Tensor | None


def encode_part(model: Backbone | PeftModel, inputs: Sequence[Input], *, project: bool) -> Encoded:
    """One batch through the adapter that is switched on, texts or pictures but not both."""
    batch = collate(inputs, next(model.parameters()).device)
    states: TokenStates = model(batch, project)
    tokens = None if states.projected is None else token_vectors(states.projected, batch.mask)
    return Encoded(mean_vector(states.hidden, batch.pooled), tokens)


@torch.no_grad()
def vectors_of(
    model: Backbone | PeftModel, inputs: Sequence[Input], *, batch_tokens: int, what: str = ""
) -> Tensor:
    """Single vectors float32 [n, H] of `inputs` on the CPU, in order, without gradients.

    `what` names the progress bar; without it there is none.
    """
    vectors: list[Tensor] = [torch.empty(0)] * len(inputs)
    for rows in track(_parts(inputs, batch_tokens), what, unit="batches", shown=None if what else False):
        part = encode_part(model, [inputs[row] for row in rows], project=False)
        for row, vector in zip(rows, part.dense.cpu(), strict=True):
            vectors[row] = vector
    return torch.stack(vectors)


def backward(
    model: PeftModel,
    inputs: Sequence[Input],
    loss: Callable[[Encoded], Tensor],
    *,
    batch_tokens: int,
    project: bool,
    cache: bool,
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:
    """Add the gradients of `loss`, a function of all `inputs` encoded together; returns its value.

    The inputs go through in parts of at most `batch_tokens` padded tokens. With `cache` only one part's activations
    are held at a time: all are encoded without gradients, the loss is differentiated by their vectors, and each
    part is encoded again to carry its share back (Gao et al. 2021). The gradients are the same, dropout included,
    for one more forward pass.
    """
    parts = _parts(inputs, batch_tokens)
    order = torch.tensor([row for rows in parts for row in rows]).argsort()

    def encode(rows: Sequence[int]) -> Encoded:
        with autocast():
            return encode_part(model, [inputs[row] for row in rows], project=project)

    if not cache:
        value = loss(_join([encode(rows) for rows in parts], order))
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()
    from sentence_transformers.base.losses.gradcache import RandContext

    device = next(model.parameters())
    states, found = [], []
    with torch.no_grad():
        for rows in parts:
            states.append(RandContext(device))
            found.append(encode(rows))
    leaves = [
        Encoded(part.dense.requires_grad_(), None if part.tokens is None else part.tokens.requires_grad_())
        for part in found
    ]
    value = loss(_join(leaves, order))
    value.backward()  # type: ignore[no-untyped-call]
    for rows, state, leaf in zip(parts, states, leaves, strict=True):
        with state:
            again = encode(rows)
        outputs, gradients = [], []
        for output, cached in ((again.dense, leaf.dense), (again.tokens, leaf.tokens)):
            if output is not None and cached is not None and cached.grad is not None:
                outputs.append(output)
                gradients.append(cached.grad)
        torch.autograd.backward(outputs, gradients)
    return value.detach()


def _parts(inputs: Sequence[Input], batch_tokens: int) -> list[list[int]]:
    """Rows of each part: by length, and never texts with pictures."""
    kinds = [
        [row for row, one in enumerate(inputs) if (one.picture is not None) == picture]
        for picture in (False, True)
    ]
    return [
        [rows[i] for i in part]
        for rows in kinds
        for part in token_budget_batches([len(inputs[row].ids) for row in rows], budget=batch_tokens)
    ]


def _join(parts: Sequence[Encoded], order: Tensor) -> Encoded:
    """The parts as one, in the order of the inputs."""
    dense = torch.cat([part.dense for part in parts])[order.to(parts[0].dense.device)]
    if parts[0].tokens is None:
        return Encoded(dense, None)
    rows = [row for part in parts if part.tokens is not None for row in part.tokens]
    return Encoded(dense, pad_sequence([rows[i] for i in order.tolist()], batch_first=True))
