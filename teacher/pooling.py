"""From token states to vectors. Always in float32: a bfloat16 mean of hundreds of tokens loses three digits."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize

from unbraid.errors import ItemError


def mean_vector(hidden: Tensor, pooled: Tensor) -> Tensor:
    """Unit vectors float32 [B, H]: the mean of hidden [B, T, H] over the tokens where pooled [B, T] is True.

    A text is pooled over all its tokens; a picture from its vision-start to its vision-end marker, both included.
    """
    weight = pooled.unsqueeze(-1).float()
    return normalize((hidden.float() * weight).sum(1) / weight.sum(1), dim=-1)


def token_vectors(projected: Tensor, mask: Tensor) -> Tensor:
    """Unit vectors float32 [B, T, D] of the projected token states, zero where mask [B, T] is False."""
    return normalize(projected.float(), dim=-1) * mask.unsqueeze(-1)


def truncate(vectors: Tensor, dim: int) -> Tensor:
    """The first `dim` dimensions of vectors [n, D], unit length again (Matryoshka)."""
    return normalize(vectors[:, :dim], dim=-1)


def check_dim(dim: int | None, dims: Sequence[int]) -> int:
    """`dim`, or the largest of the trained `dims` for None. Raises ItemError for one that was not trained."""
    if dim is None:
        return max(dims)
    if dim not in dims:
        raise ItemError(f"dim is {dim}: expected one of {', '.join(map(str, sorted(dims, reverse=True)))}")
    return dim
