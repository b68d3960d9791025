"""Items as a backbone reads them, one by one and padded to a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from unbraid.errors import ItemError, TeacherError
from unbraid.io.surrogates import replace_lone_surrogates
from unbraid.items import Code, Item
from unbraid.runtime.code_text import split_identifiers
from unbraid.teacher.routes import Route

Pooling: TypeAlias = Literal["mean", "cls", "last"]


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


class TextReader:
    """Texts for an encoder of texts and code: the prompt before each, cut at `max_tokens`.

    With `splits_code`, code has its camelCase names split, as a lower-case vocabulary needs.
    """

    def __init__(
        self, folder: Path, max_tokens: int, pooling: Pooling = "mean", *, splits_code: bool = True
    ) -> None:
        """Read tokenizer.json in `folder`. Raises TeacherError when there is none."""
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise TeacherError(f"{path}: no such file: the folder needs a fast tokenizer")
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
        self.pooling, self.splits_code = pooling, splits_code

    def read_texts(
        self, texts: Sequence[str], routes: Sequence[Route], rows: Sequence[int] | None = None
    ) -> list[Input]:
        """Inputs of `texts`, each with its route's prompt."""
        for row, text in zip(range(len(texts)) if rows is None else rows, texts, strict=True):
            if not text.strip():
                raise ItemError(f"item {row} is an empty text")
        written = [self._with_prompt(text, route) for text, route in zip(texts, routes, strict=True)]
        encodings = self.tokenizer.encode_batch_fast([replace_lone_surrogates(text) for text in written])
        return [Input(encoding.ids, self._pooled(len(encoding.ids))) for encoding in encodings]

    def read_picture(self, item: Item) -> Input:
        """Always raises ItemError."""
        raise ItemError("this teacher encodes text and code, not pictures")

    def picture_tokens(self, width: int, height: int) -> int:
        """Always raises ItemError."""
        raise ItemError("this teacher encodes text and code, not pictures")

    def _with_prompt(self, text: str, route: Route) -> str:
        if isinstance(text, Code):
            return route.code_prompt + (split_identifiers(text) if self.splits_code else text)
        return route.prompt + text

    def _pooled(self, tokens: int) -> tuple[int, int]:
        return {"mean": (0, tokens), "cls": (0, 1), "last": (tokens - 1, tokens)}[self.pooling]


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
