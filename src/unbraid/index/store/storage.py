"""How an index keeps its base vectors: how many of their dimensions, in which numbers, and how candidates are found."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from unbraid.errors import StoreError
from unbraid.index.protocol import Vectors

Numbers: TypeAlias = Literal["float32", "float16"]
Copy: TypeAlias = Literal["int8", "binary"]
CandidateSource: TypeAlias = Literal["auto", "exact", "int8", "binary"]
NUMBERS: tuple[Numbers, ...] = get_args(Numbers)
# Candidates from the copy for each one asked for. Of 100,000 real vectors 1.5 times as many in int8 hold all of the best 150
# and .9999 of the best 1,500; of 900,000, binary holds .94 of the ten best, and .78 with 1,200 (docs/experiments.md).
OVERSAMPLING: dict[Copy, float] = {"int8": 1.5, "binary": 12.8}
CANDIDATES: tuple[CandidateSource, ...] = get_args(CandidateSource)
# Chunks from which on "auto" has a copy: a scan of so many exact vectors takes 5 ms, of the copy 2.
COPIED_FROM = 50_000


@dataclass(frozen=True)
class Storage:
    """`dim` leading dimensions of each base vector in `numbers`; `candidates` from these, or from a smaller copy.

    "auto" has none in a small index and one in int8 in an index of COPIED_FROM chunks and more. The copy is made when much
    has been added (`Store.settle`), lies beside the vectors and is held in memory: 512 bytes an item in int8, 64 in binary
    at 512 dimensions. What it finds is scored again with the vectors. Raises StoreError for other values.
    """

    dim: int
    numbers: Numbers = "float32"
    candidates: CandidateSource = "auto"

    def __post_init__(self) -> None:
        """Check what a type cannot say."""
        if self.numbers not in NUMBERS or self.candidates not in CANDIDATES or self.dim < 1:
            raise StoreError(
                f"cannot store {self.dim} dimensions in {self.numbers!r} with {self.candidates!r} candidates: expected "
                f"1 or more, one of {', '.join(NUMBERS)}, one of {', '.join(CANDIDATES)}"
            )

    def __str__(self) -> str:
        """As a message says it."""
        return f"{self.dim} dimensions in {self.numbers} with {self.candidates} candidates"

    @property
    def copy(self) -> Copy | None:
        """The smaller copy that an index may have."""
        if self.candidates == "auto":
            return "int8"
        return None if self.candidates == "exact" else self.candidates

    def copy_of(self, chunks: int) -> Copy | None:
        """The smaller copy that an index of so many chunks is to have."""
        return None if self.candidates == "auto" and chunks < COPIED_FROM else self.copy

    def narrow(self, vectors: Vectors) -> Vectors:
        """Base vectors [n, any] as they come back from the store: float32 [n, dim], rounded to `numbers`."""
        rows = np.asarray(vectors, np.float32)[:, : self.dim]
        return rows if self.numbers == "float32" else rows.astype(np.float16).astype(np.float32)

    def widen(self, rows: Vectors, dim: int) -> Vectors:
        """Stored rows [n, self.dim] as base vectors float32 [n, dim]: what was not stored is 0.

        The dimensions of a base space are ordered by what they hold, so a prefix is the best guess of that length.
        """
        if rows.shape[1] == dim:
            return rows
        return np.pad(rows, ((0, 0), (0, dim - rows.shape[1])))
