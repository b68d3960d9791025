"""The cosines that are usual in a model's space, which a search takes as its measure of what is near."""

from dataclasses import asdict
from typing import Any

import numpy as np

from unbraid.index.search.relevance import STARTER

LEAST_SPREAD = 1e-4  # of cosines: below, a model gives every picture the same vector


def relevance_of(
    queries: np.ndarray, documents: np.ndarray, pictures: np.ndarray | None = None
) -> dict[str, Any]:
    """The starter's map to relevance with the mean and spread of this model's cosines.

    `queries` and `documents` float32 [n, dim] are unit vectors of different texts. A CLIP-type model's cosines of a text and
    a picture are far below those of two texts. So one of `pictures` counts as that of a text that is as far above usual.
    """
    cosines = queries @ documents.T
    mean, spread = float(cosines.mean()), float(cosines.std())
    picture = (1.0, 0.0)
    if pictures is not None and float((of_pictures := queries @ pictures.T).std()) > LEAST_SPREAD:
        slope = spread / float(of_pictures.std())
        picture = (slope, mean - slope * float(of_pictures.mean()))
    return asdict(STARTER) | {"mean": mean, "spread": spread, "picture": picture}
