"""Items as a backbone reads them, one by one and padded to a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unbraid.items import Item
from unbraid.teacher.routes import Route


@dataclass(frozen=True)
class Picture:
    """Pixels of one picture, cut into patches, and how many patches it has in time, height and width."""

    patches: Tensor  # float32 [n, numbers of a patch]
    grid: tuple[int, int, int]


@dataclass(frozen=True)
class Input:
    """Token ids of one item, the span of them that is pooled (first, one past the last), and its picture."""

    ids: list[int]
    pooled: tuple[int, int]
    picture: Picture | None = None


@dataclass(frozen=True)
class Batch:
    """Padded inputs. `pictures` is None for texts: the two kinds are never in one batch."""

    ids: Tensor  # int64 [B, T]
    mask: Tensor  # bool [B, T], True on real tokens
    pooled: Tensor  # bool [B, T]
    patches: Tensor | None = None  # float [patches of all pictures, numbers of a patch]
    grids: Tensor | None = None  # int64 [B, 3]


class Reader(Protocol):
    """How a backbone reads items: everything before the first matrix product."""

    def read_texts(
        self, texts: Sequence[str], routes: Sequence[Route], rows: Sequence[int] | None = None
    ) -> list[Input]:
        """Inputs of texts and code snippets, each under its route's prompt.

        Raises ItemError naming the row of a text that cannot be read: its number in `rows`, else its place.
        """

    def read_picture(self, item: Item) -> Input:
        """Input of one picture. Raises ItemError."""

    def picture_tokens(self, width: int, height: int) -> int:
        """Tokens that `read_picture` would give a picture of this size. Raises ItemError."""


def collate(inputs: Sequence[Input], device: torch.device | str = "cpu") -> Batch:
    """`inputs`, all texts or all pictures, padded on the right and moved to `device`."""
    lengths = torch.tensor([len(one.ids) for one in inputs])
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(one.ids) for one in inputs], batch_first=True)
    place = torch.arange(ids.shape[1])
    first, last = torch.tensor([one.pooled for one in inputs]).unsqueeze(-1).unbind(1)
    pictures = [one.picture for one in inputs if one.picture is not None]
    return Batch(
        ids.to(device),
        (place < lengths[:, None]).to(device),
        ((place >= first) & (place < last)).to(device),
        torch.cat([picture.patches for picture in pictures]).to(device) if pictures else None,
        torch.tensor([picture.grid for picture in pictures], device=device) if pictures else None,
    )
