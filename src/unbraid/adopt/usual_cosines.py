"""The cosines that are usual in a model's space, which a search takes as its measure of what is near."""

from dataclasses import asdict
from typing import Any

import numpy as np

from unbraid.index.search.relevance import STARTER


def relevance_of(queries: np.ndarray, documents: np.ndarray) -> dict[str, Any]:
    """The starter's map to relevance with the mean and spread of this model's cosines.

    `queries` and `documents` float32 [n, dim] are unit vectors of different texts.
    """
    cosines = queries @ documents.T
    return asdict(STARTER) | {"mean": float(cosines.mean()), "spread": float(cosines.std())}
