"""The two shapes of a data set: `Retrieval` (queries, documents, judgements) and `Sts` (scored pairs)."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from unbraid.items import Item, Modality


class Scratch:
    """A temporary folder that is deleted with the last data set that uses it."""

    def __init__(self) -> None:
        """Make the folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="unbraid-images-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Retrieval:
    """Queries and documents (id -> item, in file order) and their relevance judgements.

    Pictures from a tar are files of a temporary folder, which is deleted with the data set.
    """

    name: str
    queries: Mapping[str, Item]
    documents: Mapping[str, Item]
    qrels: Mapping[str, Mapping[str, int]]  # query id -> document id -> relevance, 0 is judged not relevant
    query_modality: Modality = "text"
    document_modality: Modality = "text"
    mode: str = "retrieval"  # the search mode that the set is made for
    # query id -> the document that is the query itself
    ignored: Mapping[str, str] = field(default_factory=dict)
    scratch: Scratch | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Sts:
    """Sentence pairs and their similarity as people judged it: three lists of one length."""

    name: str
    a: list[str]
    b: list[str]
    scores: list[float]


def sample(dataset: Retrieval | Sts, limit: int, seed: int = 0) -> Retrieval | Sts:
    """The same set with at most `limit` queries (or STS rows), drawn by `seed`; the documents stay whole."""
    if limit < 1:
        raise ValueError(f"limit is {limit}, expected at least 1")
    n = len(dataset.queries if isinstance(dataset, Retrieval) else dataset.a)
    if n <= limit:
        return dataset
    rows = np.sort(np.random.default_rng(seed).choice(n, limit, replace=False)).tolist()
    if isinstance(dataset, Sts):
        a, b, scores = dataset.a, dataset.b, dataset.scores
        return Sts(dataset.name, [a[r] for r in rows], [b[r] for r in rows], [scores[r] for r in rows])
    ids = list(dataset.queries)
    return replace(dataset, queries={ids[r]: dataset.queries[ids[r]] for r in rows})
